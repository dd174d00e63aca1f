package volume

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// raidCase is a corpus of RAID LVs, scanned once.
type raidCase struct {
	*fixtures.Corpus
	evidence *scan.Evidence
}

func openRAID(t testing.TB, corpus string) raidCase {
	c := fixtures.Open(t, corpus)
	ev, err := scan.Run(context.Background(), c.Paths(), scan.Options{})
	require.NoError(t, err)
	return raidCase{c, ev}
}

// vg puts the VG together from what is left without some disks.
func (c raidCase) vg(t testing.TB, without ...string) *rebuild.VG {
	var opt rebuild.Options
	for _, disk := range without {
		opt.Without = append(opt.Without, c.Disk(disk))
	}
	res, err := rebuild.Build(c.evidence, opt)
	require.NoError(t, err)
	require.Len(t, res.Groups, 1)
	return res.Groups[0].At(nil)
}

// plan plans an LV that Golden names.
func plan(t testing.TB, vg *rebuild.VG, key string) *activate.Plan {
	_, name, _ := strings.Cut(key, "/")
	lv, err := vg.LV(name)
	require.NoError(t, err)
	p, err := activate.New(vg, lv, OpenVolume)
	require.NoError(t, err)
	return p
}

// lostLegsOf counts by their positions the legs of an LV that lie on missing PVs.
func lostLegsOf(vg *rebuild.VG, lv *metadata.LV) (lost []int, total int) {
	r, err := lv.Segments[0].RAID()
	if err != nil {
		return nil, 0
	}
	for i, leg := range r.Legs {
		image, _ := vg.LV(leg.Image)
		if slices.ContainsFunc(image.Segments, func(s *metadata.Segment) bool { return vg.PV(s.Areas[0].Name).Missing() }) {
			lost = append(lost, i)
		}
	}
	return lost, len(r.Legs)
}

// survives tells by the type alone whether an array can lose these legs.
func survives(segType string, lost []int, total int) bool {
	switch {
	case segType == "raid1":
		return len(lost) < total
	case segType == "raid10":
		return len(lost) < 2 || lost[0]/2 != lost[1]/2
	case segType == "raid4", strings.HasPrefix(segType, "raid5"):
		return len(lost) <= 1
	case strings.HasPrefix(segType, "raid6"):
		return len(lost) <= 2
	}
	return len(lost) == 0
}

// TestRAIDWithoutDisks takes away each disk and each pair of disks. What can survive that
// must come out as the kernel read it, degraded; of all else each byte that is not called
// bad must be right.
func TestRAIDWithoutDisks(t *testing.T) {
	c := openRAID(t, "raid-levels")
	whole := map[string][]byte{}
	for key := range c.Golden {
		dev := Open(plan(t, c.vg(t), key))
		whole[key] = make([]byte, dev.Size())
		_, err := dev.ReadAt(whole[key], 0)
		require.NoError(t, err)
	}
	tried := map[string]int{}
	for _, first := range c.Disks {
		for _, second := range c.Disks {
			if first.Name > second.Name {
				continue
			}
			vg := c.vg(t, first.Name, second.Name)
			for key, golden := range c.Golden {
				p := plan(t, vg, key)
				segType := p.LV.Segments[0].Type
				lost, total := lostLegsOf(vg, p.LV)
				if len(lost) == 0 {
					continue
				}
				dev := Open(p)
				totals := block.Summarise(dev)
				if survives(segType, lost, total) {
					require.Equal(t, Degraded, Assess(p, totals), "%s without %v: %v", key, lost, totals.Causes())
					requireHash(t, golden.SHA256, dev)
					tried[fmt.Sprint(segType, len(lost))]++
					continue
				}
				require.Contains(t, []Health{Partial, Lost}, Assess(p, totals), "%s without %v", key, lost)
				requireRight(t, whole[key], dev)
			}
		}
	}
	for _, kind := range []string{"raid11", "raid12", "raid41", "raid5_ls1", "raid5_n1", "raid6_zr2", "raid6_ls_62", "raid6_n_62", "raid102"} {
		require.Positive(t, tried[kind], kind)
	}
}

// requireRight wants every byte that dev delivers for sure to be the healthy one.
func requireRight(t testing.TB, want []byte, dev block.Device) {
	t.Helper()
	require.Equal(t, int64(len(want)), dev.Size())
	got := make([]byte, len(want))
	err := block.ReadRange(dev, got, 0, func(e block.Extent) {
		if e.State.Sure() {
			require.Equal(t, want[e.Off:e.End()], got[e.Off:e.End()], "%d bytes at %d", e.Len, e.Off)
		}
	})
	require.NoError(t, err)
}

// refusing is a disk that looks whole, but refuses to read some ranges.
type refusing struct {
	block.Device
	bad []block.Extent
}

func (r refusing) ReadAt(p []byte, off int64) (int, error) {
	for _, b := range r.bad {
		if b.Off < off+int64(len(p)) && off < b.End() {
			n, err := r.Device.ReadAt(p[:max(b.Off-off, 0)], off)
			if err != nil && !errors.Is(err, io.EOF) {
				return n, err
			}
			return n, &block.BadRangeError{Off: max(b.Off, off), Len: b.End() - max(b.Off, off), Why: "refused", Coarse: true}
		}
	}
	return r.Device.ReadAt(p, off)
}

func (r refusing) Extents(off, n int64) iter.Seq[block.Extent] { return r.Device.Extents(off, n) }

// TestRAIDHealsBadSectors spreads bad sectors over the disks so that no row of any array
// loses more than it can spare: some known beforehand, some that only reading finds. All
// must come out as the kernel read it.
func TestRAIDHealsBadSectors(t *testing.T) {
	c := openRAID(t, "raid-levels")
	for _, found := range []bool{false, true} {
		t.Run(fmt.Sprintf("found by reading %v", found), func(t *testing.T) {
			vg := c.vg(t)
			for i, pv := range vg.PVs {
				var bad []block.Extent
				// Every leg starts at an extent of 128 KiB; each disk has its own places in
				// them, sectors apart from those of all others.
				start := pv.Meta.PEStart * block.SectorSize
				for at := start + int64(i)*2048 + 512; at < pv.Dev.Size(); at += 16384 {
					bad = append(bad, block.Extent{Off: at, Len: 1024, State: block.Bad, Why: "bad sectors"})
				}
				if found {
					pv.Dev = refusing{pv.Dev, bad}
					continue
				}
				dev, err := block.NewOverlay(pv.Dev, bad)
				require.NoError(t, err)
				pv.Dev = dev
			}
			healed := 0
			for key, golden := range c.Golden {
				p := plan(t, vg, key)
				if s := p.LV.Segments[0]; s.Type == "striped" || strings.HasPrefix(s.Type, "raid0") {
					continue
				}
				requireHash(t, golden.SHA256, Open(p))
				healed++
			}
			require.Greater(t, healed, 15)
		})
	}
}

// TestRAIDTruthUnderNoise damages whole disks at random, known beforehand or not, and holds
// everything that is delivered against the healthy bytes.
func TestRAIDTruthUnderNoise(t *testing.T) {
	c := openRAID(t, "raid-levels")
	whole := map[string][]byte{}
	for key := range c.Golden {
		dev := Open(plan(t, c.vg(t), key))
		whole[key] = make([]byte, dev.Size())
		_, err := dev.ReadAt(whole[key], 0)
		require.NoError(t, err)
	}
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		vg := c.vg(t)
		for _, pv := range vg.PVs {
			var known, unknown []block.Extent
			for at := rnd.Int64N(1 << 20); at < pv.Dev.Size(); at += rnd.Int64N(1 << 20) {
				e := block.Extent{Off: at, Len: 1 + rnd.Int64N(100_000), State: block.Bad, Why: "noise"}
				if rnd.IntN(2) == 0 {
					known = append(known, e)
				} else {
					unknown = append(unknown, e)
				}
				at = e.End() + 1
			}
			dev, err := block.NewOverlay(pv.Dev, known)
			require.NoError(t, err)
			pv.Dev = refusing{dev, unknown}
		}
		for key := range c.Golden {
			requireRight(t, whole[key], Open(plan(t, vg, key)))
		}
	}
}

// TestStaleLegs: disk b missed writes. It is not used where another leg has the data, and
// doubtful where it is the only one, unless the bitmap says that nothing was written there.
func TestStaleLegs(t *testing.T) {
	c := openRAID(t, "raid-stale")
	for _, k := range []struct {
		lv, without string
		want        Health
	}{
		{"vgs/mirror", "", Degraded},
		{"vgs/three", "a", Degraded},
		{"vgs/five", "", Degraded},
		{"vgs/five", "c", Doubt},
		{"vgs/six", "c", Degraded},
		{"vgs/six", "e", Degraded},
		{"vgs/ten", "c", Degraded},
		{"vgs/ten", "a", Doubt},
		{"vgs/idle", "", Complete},
		{"vgs/idle", "c", Degraded},
	} {
		t.Run(strings.ReplaceAll(k.lv, "/", "_")+" without "+k.without, func(t *testing.T) {
			vg := c.vg(t)
			if k.without != "" {
				vg = c.vg(t, k.without)
			}
			p := plan(t, vg, k.lv)
			dev := Open(p)
			totals := block.Summarise(dev)
			require.Equal(t, k.want, Assess(p, totals), "%v %v", totals.Causes(), p.Notes)
			if k.want != Doubt {
				requireHash(t, c.Golden[k.lv].SHA256, dev)
				return
			}
			require.Less(t, totals.Doubtful, dev.Size()/2+1, "only what was written while b was away")
			require.Contains(t, totals.Causes()[0].Why, "stale")
		})
	}
}

// TestRAIDStoppedAtWork: legs were being rebuilt on disk b, or the array was in its first
// sync. A leg counts as far as it was rebuilt; parity and second copies that were never in
// sync can only be doubted.
func TestRAIDStoppedAtWork(t *testing.T) {
	c := openRAID(t, "raid-sync")
	for _, k := range []struct {
		lv, without string
		want        Health
		why         string
	}{
		{"vgy/r1", "a", Partial, "not rebuilt to here"},
		{"vgy/r1", "b", Degraded, ""},
		{"vgy/r5", "a", Partial, "not rebuilt to here"},
		{"vgy/r5", "b", Degraded, ""},
		{"vgy/r5", "c", Partial, "not rebuilt to here"},
		{"vgy/r6", "a", Degraded, ""},
		{"vgy/r6", "b", Degraded, ""},
		{"vgy/r10", "a", Partial, "not rebuilt to here"},
		{"vgy/r10", "c", Degraded, ""},
		{"vgy/i1", "a", Doubt, "not in sync here"},
		{"vgy/i1", "b", Degraded, ""},
		{"vgy/i5", "a", Doubt, "not in sync here"},
		{"vgy/i5", "b", Doubt, "not in sync here"},
		{"vgy/i10", "a", Doubt, "not in sync here"},
		{"vgy/i10", "b", Degraded, ""},
	} {
		t.Run(strings.ReplaceAll(k.lv, "/", "_")+" without "+k.without, func(t *testing.T) {
			whole := Open(plan(t, c.vg(t), k.lv))
			want := make([]byte, whole.Size())
			_, err := whole.ReadAt(want, 0)
			require.NoError(t, err)
			p := plan(t, c.vg(t, k.without), k.lv)
			dev := Open(p)
			totals := block.Summarise(dev)
			require.Equal(t, k.want, Assess(p, totals), "%v %v", totals.Causes(), p.Notes)
			requireRight(t, want, dev)
			if k.want == Degraded {
				requireHash(t, c.Golden[k.lv].SHA256, dev)
				return
			}
			require.Contains(t, totals.Causes()[0].Why, k.why)
			require.Less(t, totals.Bad+totals.Doubtful, dev.Size(), "some of it was done")
		})
	}
}

// TestRAIDReshape: arrays stopped while they are reshaped have two layouts. Without any one
// disk the rest makes up for it on both sides of the reshape's position.
func TestRAIDReshape(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	c := openRAID(t, "raid-reshape")
	var prefix map[string]string
	require.NoError(t, json.Unmarshal([]byte(c.Files["prefix.json"]), &prefix))
	sizes := map[string]int64{"vgh/wider": 24 << 20, "vgh/narrower": 16 << 20}
	require.Len(t, prefix, len(sizes))
	for _, without := range []string{"", "a", "b", "c", "d", "e"} {
		vg := c.vg(t)
		if without != "" {
			vg = c.vg(t, without)
		}
		two := 0
		for lv, want := range prefix {
			p := plan(t, vg, lv)
			two += len(p.Root.Segments[0].Target.(activate.RAID).Parts) - 1
			requireHash(t, digest(t, want), block.NewSection(Open(p), 0, sizes[lv], ""))
			rest := block.NewSection(Open(p), sizes[lv], p.Root.Size-sizes[lv], "")
			require.Equal(t, rest.Size(), block.Summarise(rest).Bad, "what the array does not have yet, or any more")
		}
		for lv, golden := range c.Golden {
			p := plan(t, vg, lv)
			two += len(p.Root.Segments[0].Target.(activate.RAID).Parts) - 1
			dev := Open(p)
			require.Zero(t, block.Summarise(dev).Doubtful, "%s without %s", lv, without)
			requireHash(t, golden.SHA256, dev)
		}
		require.Positive(t, two, "of the LVs some must be between two layouts")
	}
}

func digest(t *testing.T, s string) [32]byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return [32]byte(b)
}
