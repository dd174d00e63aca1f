package volume

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// outlives tells whether an array of raid10 has a copy of each chunk left.
func outlives(l dmraid.Layout, size int64, lost []int) bool {
	for c := range l.Spread(size).Chunks() {
		gone := 0
		for _, p := range l.Spread(size).Places(c) {
			if slices.Contains(lost, p.Device) {
				gone++
			}
		}
		if gone == l.Copies() {
			return false
		}
	}
	return true
}

// TestRAID10WithoutAnySetOfDisks takes away each set of disks. What has a copy of everything
// left comes out as the kernel read it, of all else each byte is right or called bad.
func TestRAID10WithoutAnySetOfDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, corpus := range []string{"raid-levels", "raid10-layouts"} {
		c := fixtures.Open(t, corpus)
		disks := []string{"a", "b", "c", "d", "e", "f"}
		whole := map[string][]byte{}
		survived := map[string]int{}
		for set := range 1 << len(disks) {
			var without []string
			for i, d := range disks {
				if set>>i&1 != 0 {
					without = append(without, d)
				}
			}
			var opt rebuild.Options
			for _, disk := range without {
				opt.Without = append(opt.Without, c.Disk(disk))
			}
			if bits.OnesCount(uint(set)) > 4 {
				continue // then nothing survives
			}
			vg, _, err := find(t, c, map[string]string{"raid-levels": "vgr/r10", "raid10-layouts": "vgx/far"}[corpus], opt)
			require.NoError(t, err)
			for _, key := range slices.Sorted(maps.Keys(c.Golden)) {
				p, err := activatePlan(vg, key)
				if err != nil || p.LV.Segments[0].Type != "raid10" {
					continue
				}
				dev := Open(p)
				lost, _ := lostLegsOf(vg, p.LV)
				l := p.Root.Segments[0].Target.(activate.RAID).Parts[0].Layout
				if set == 0 {
					whole[key] = content(t, dev)
					requireHash(t, c.Golden[key].SHA256, dev)
					continue
				}
				totals := block.Summarise(dev)
				if !outlives(l, dev.Size(), lost) {
					require.Contains(t, []Health{Partial, Lost}, Assess(p, totals), "%s without %v", key, lost)
					requireRight(t, whole[key], dev)
					continue
				}
				if len(lost) > 0 {
					require.Equal(t, Degraded, Assess(p, totals), "%s without %v", key, lost)
					survived[key] = max(survived[key], len(lost))
				}
				require.Equal(t, whole[key], content(t, dev), "%s without %v", key, lost)
			}
		}
		want := map[string]int{"vgr/r10": 2, "vgr/r10six": 3}
		if corpus == "raid10-layouts" {
			want = map[string]int{"vgx/far": 2, "vgx/farnear": 2, "vgx/far5": 2, "vgx/far6": 3, "vgx/far3": 4, "vgx/offset": 2, "vgx/offset5": 2,
				"vgx/offset6": 3, "vgx/offset3": 4, "vgx/near3": 4, "vgx/near5": 2, "vgx/three5": 3}
		}
		require.Equal(t, want, survived)
	}
}

// activatePlan plans an LV that Golden names, if the VG has it.
func activatePlan(vg *rebuild.VG, key string) (*activate.Plan, error) {
	name, lvName, _ := strings.Cut(key, "/")
	if name != vg.Meta.Name {
		return nil, fmt.Errorf("another VG")
	}
	lv, err := vg.LV(lvName)
	if err != nil {
		return nil, err
	}
	return activate.New(vg, lv, OpenVolume)
}

// TestStaleLegsOfSpreadRAID10 takes each disk away beside the one that was away already.
func TestStaleLegsOfSpreadRAID10(t *testing.T) {
	c := fixtures.Open(t, "raid10-layouts")
	for _, key := range []string{"vgy/yfar5", "vgy/ynear5", "vgy/yoffset5"} {
		_, dev := found(t, c, key)
		healthy := content(t, dev)
		doubtful := 0
		for _, disk := range []string{"h", "i", "j", "k"} {
			_, dev := found(t, c, key, disk)
			requireNoLie(t, healthy, dev)
			if block.Summarise(dev).Doubtful > 0 {
				doubtful++
			}
		}
		require.Positive(t, doubtful, key)
	}
}

// TestSpreadExtentsAgreeWithReads holds reads and extents of the spread layouts, in and out of sync,
// with legs that suffer, against copies taken one by one.
func TestSpreadExtentsAgreeWithReads(t *testing.T) {
	for i, algorithm := range []int{0x102, 2<<17 | 0x201, 0x201, 1<<16 | 0x201, 2<<17 | 1<<16 | 0x301, 0x202} {
		l := dmraid.Layout{Level: 10, Algorithm: algorithm, Devices: 5, Chunk: 1024}
		size := int64(40 << 10)
		legSize := l.LegSize(size)
		legs := make([]block.Device, l.Devices)
		for d := range legs {
			b := make([]byte, legSize)
			for j := range b {
				b[j] = byte(d)
			}
			legs[d] = memory(b)
			marks := []block.Extent{{Off: int64(d+i) * 512, Len: 1536, State: block.Bad, Why: "scratch"}, {Off: 9<<10 + int64(d)*512, Len: 512, State: block.Doubtful, Why: "old"}}
			var err error
			legs[d], err = block.NewOverlay(legs[d], marks)
			require.NoError(t, err)
		}
		unsynced := []block.Extent{{Off: 20 << 10, Len: 1 << 40, State: block.Doubtful, Why: "never synced"}}
		dev := openArray(activate.Part{Len: size, Layout: l}, legs, unsynced)
		s := l.Spread(size)
		at := int64(0)
		for e := range dev.Extents(0, size) {
			require.Equal(t, at, e.Off)
			at = e.End()
			for off := e.Off; off < e.End(); off += 512 {
				want, from := block.Extent{State: block.Bad}, -1
				for n, p := range s.Places(off / l.Chunk) {
					for below := range legs[p.Device].Extents(p.Off+off%l.Chunk, 1) {
						if n > 0 && off >= 20<<10 {
							below = doubt(below, "never synced")
						}
						if cost(below.State) < cost(want.State) {
							want, from = below, p.Device
						}
					}
				}
				require.Equal(t, want.State, e.State, "layout %#x byte %d: %s", algorithm, off, e.Why)
				b := make([]byte, 512)
				n, err := dev.ReadAt(b, off)
				if want.State == block.Bad {
					require.Error(t, err)
					continue
				}
				require.Equal(t, 512, n)
				require.Equal(t, byte(from), b[0], "layout %#x byte %d", algorithm, off)
			}
		}
		require.Equal(t, size, at)
	}
}
