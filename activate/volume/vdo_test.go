package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/vdo"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// vdoLab is a VDO LV of a corpus whose disk can be damaged.
type vdoLab struct {
	vg      *rebuild.VG
	lv      *metadata.LV
	disk    block.Device
	base    int64 // of the pool's data on the disk, bytes
	volume  *vdo.Volume
	off     int64 // of the LV in the virtual device, bytes
	healthy block.Device
}

func newVDOLab(t testing.TB, corpus, key string) *vdoLab {
	t.Helper()
	c := fixtures.Open(t, corpus)
	vg, lv, err := find(t, c, key, rebuild.Options{})
	require.NoError(t, err)
	l := &vdoLab{vg: vg, lv: lv, disk: vg.PVs[0].Dev}
	plan, dev := l.open(t, l.disk)
	target := plan.Root.Segments[0].Target.(activate.VDO)
	l.base = target.Data.Volume.Segments[0].Target.(activate.Linear).Input.Off
	l.volume, l.off = target.Volume, target.Off
	l.healthy = dev
	return l
}

// requireTruth wants every byte that dev delivers for sure to be the healthy LV's.
func (l *vdoLab) requireTruth(t testing.TB, dev block.Device) {
	t.Helper()
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); at < l.healthy.Size(); at += int64(len(got)) {
		n := min(int64(len(got)), l.healthy.Size()-at)
		_, err := l.healthy.ReadAt(want[:n], at)
		require.NoError(t, err)
		require.NoError(t, block.ReadRange(dev, got[:n], at, func(e block.Extent) {
			same := bytes.Equal(want[e.Off-at:e.End()-at], got[e.Off-at:e.End()-at])
			require.True(t, same || !e.State.Sure(), "of the %d bytes at %d that are called %s some are wrong", e.Len, e.Off, e.State)
		}))
	}
}

// requireSame wants dev to have all of the healthy LV's bytes, be they doubtful.
func (l *vdoLab) requireSame(t testing.TB, dev block.Device) {
	t.Helper()
	var sums [2][sha256.Size]byte
	for i, d := range []block.Device{l.healthy, dev} {
		h := sha256.New()
		_, err := io.Copy(h, io.NewSectionReader(d, 0, l.healthy.Size()))
		require.NoError(t, err)
		h.Sum(sums[i][:0])
	}
	require.Equal(t, sums[0], sums[1])
}

// open plans and opens the LV with another disk below.
func (l *vdoLab) open(t testing.TB, disk block.Device) (*activate.Plan, block.Device) {
	t.Helper()
	l.vg.PVs[0].Dev = disk
	plan, err := activate.New(l.vg, l.lv, OpenVolume)
	require.NoError(t, err)
	return plan, Open(plan)
}

// at is where a block of the volume begins on the disk.
func (l *vdoLab) at(pbn uint64) int64 { return l.base + l.volume.Offset(pbn) }

// read reads a block of the volume.
func (l *vdoLab) read(t testing.TB, pbn uint64) []byte {
	t.Helper()
	b := make([]byte, vdo.BlockSize)
	_, err := l.disk.ReadAt(b, l.at(pbn))
	require.NoError(t, err)
	return b
}

// pages finds the pages of the block map.
func (l *vdoLab) pages(t testing.TB) (pages []uint64) {
	t.Helper()
	for pbn := l.volume.RootOrigin; pbn < l.volume.FirstSlab+2000; pbn++ {
		b := l.read(t, pbn)
		if binary.LittleEndian.Uint64(b) == 4|1<<32 && binary.LittleEndian.Uint64(b[8:]) == l.volume.SuperBlock.Nonce {
			pages = append(pages, pbn)
		}
	}
	return pages
}

// withState is a disk on which the super block tells of another state.
func (l *vdoLab) withState(t testing.TB, s vdo.State) block.Device {
	t.Helper()
	const sum = 434
	b := l.read(t, l.volume.DataStart)[:vdo.SuperBlockSize]
	binary.LittleEndian.PutUint32(b[40:], uint32(s))
	binary.LittleEndian.PutUint32(b[sum:], crc32.Update(math.MaxUint32, crc32.IEEETable, b[:sum]))
	return patched{l.disk, l.at(l.volume.DataStart), b}
}

// vdoLVs are the corpora's.
var vdoLVs = [][2]string{{"vdo-clean", "vgv/v1"}, {"vdo-clean", "vgw/moved"}, {"vdo-crash", "vgv/v1"}, {"vdo-crash", "vgw/v2"}}

// eachVDO runs a test on each LV.
func eachVDO(t *testing.T, test func(t *testing.T, l *vdoLab)) {
	for _, lv := range vdoLVs {
		t.Run(lv[0]+"_"+lv[1][:3], func(t *testing.T) { test(t, newVDOLab(t, lv[0], lv[1])) })
	}
}

// TestVDODamagedBlockMap breaks each page of the block map in turn.
func TestVDODamagedBlockMap(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, lv := range vdoLVs {
		l := newVDOLab(t, lv[0], lv[1])
		for i, pbn := range l.pages(t) {
			noise := make([]byte, vdo.BlockSize)
			_, err := rand.NewChaCha8([32]byte{byte(pbn)}).Read(noise)
			require.NoError(t, err)
			disks := []block.Device{
				patched{l.disk, l.at(pbn), make([]byte, vdo.BlockSize)},
				patched{l.disk, l.at(pbn), noise},
				refusing{l.disk, []block.Extent{{Off: l.at(pbn) + 512, Len: 512}}},
			}
			_, dev := l.open(t, disks[i%len(disks)])
			l.requireTruth(t, dev)
		}
	}
}

// TestVDOOnADoubtfulDisk: where it is not certain that what says that blocks are zeros is the
// pool's, that they are zeros is not, either.
func TestVDOOnADoubtfulDisk(t *testing.T) {
	l := newVDOLab(t, "vdo-clean", "vgv/v1")
	_, dev := l.open(t, block.NewDoubtful(l.disk, "perhaps another disk"))
	require.Equal(t, dev.Size(), block.Summarise(dev).Doubtful)
}

// TestVDOBadSectors scratches the blocks with data, half of them so that only reading shows.
func TestVDOBadSectors(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	eachVDO(t, func(t *testing.T, l *vdoLab) {
		rnd := rand.New(rand.NewPCG(1, 2))
		var known, hidden []block.Extent
		pages := l.pages(t)
		for pbn := l.volume.FirstSlab; pbn < l.volume.FirstSlab+1500; pbn++ {
			e := block.Extent{Off: l.at(pbn) + 512*rnd.Int64N(8), Len: 512, State: block.Bad, Why: "scratched"}
			switch {
			case slices.Contains(pages, pbn):
			case rnd.IntN(8) == 0:
				known = append(known, e)
			case rnd.IntN(8) == 0:
				hidden = append(hidden, e)
			}
		}
		disk, err := block.NewOverlay(l.disk, known)
		require.NoError(t, err)
		_, dev := l.open(t, refusing{disk, hidden})
		l.requireTruth(t, dev)
		lost := int64(0)
		buf := make([]byte, 16*vdo.BlockSize)
		for at := int64(0); at < dev.Size(); at += int64(len(buf)) {
			require.NoError(t, block.ReadRange(dev, buf[:min(int64(len(buf)), dev.Size()-at)], at, func(e block.Extent) {
				if e.State == block.Bad {
					require.Contains(t, []string{"scratched", "refused"}, e.Why)
					lost += e.Len
				}
			}))
		}
		require.Positive(t, lost)
		require.Less(t, lost, int64(2<<20))
	})
}

// packed is a compressed block, and the runs that are its fragments.
func (l *vdoLab) packed(t *testing.T) (pbn uint64, runs []vdo.Run) {
	t.Helper()
	for r := range l.volume.Runs(0, l.volume.LogicalBlocks-1) {
		if r.State == vdo.Packed && pbn == 0 {
			pbn = r.PBN
		}
		if r.State == vdo.Packed && r.PBN == pbn {
			runs = append(runs, r)
		}
	}
	require.Greater(t, len(runs), 2)
	return pbn, runs
}

func TestVDOCompressedBlockLosesOnlyWhatIsHit(t *testing.T) {
	l := newVDOLab(t, "vdo-clean", "vgv/v1")
	pbn, runs := l.packed(t)
	raw := l.read(t, pbn)
	used := 0
	for _, r := range runs {
		off, n, err := vdo.FragmentRange(raw, r.Slot)
		require.NoError(t, err)
		used = max(used, off+n)
	}
	for _, c := range []struct {
		name  string
		off   int64 // in the block
		n     int64
		state block.State
		hit   func(off, n int) bool
	}{
		{"the header", 0, 512, block.Bad, func(int, int) bool { return true }},
		{"a sector", 1024, 512, block.Bad, func(off, n int) bool { return off < 1536 && 1024 < off+n }},
		{"what nothing uses", int64(used), 4096 - int64(used), block.Bad, func(int, int) bool { return false }},
		{"a doubtful sector", 1024, 512, block.Doubtful, func(off, n int) bool { return off < 1536 && 1024 < off+n }},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk, err := block.NewOverlay(l.disk, []block.Extent{{Off: l.at(pbn) + c.off, Len: c.n, State: c.state, Why: "scratched"}})
			require.NoError(t, err)
			_, dev := l.open(t, disk)
			l.requireTruth(t, dev)
			for _, r := range runs {
				off, n, err := vdo.FragmentRange(raw, r.Slot)
				require.NoError(t, err)
				want := block.Data
				if c.hit(off, n) {
					want = c.state
				}
				at := int64(r.First)*vdo.BlockSize - l.off
				for e := range dev.Extents(at, vdo.BlockSize) {
					require.Equal(t, want, e.State, "fragment %d", r.Slot)
				}
				_, err = dev.ReadAt(make([]byte, 10), at+50)
				require.Equal(t, want == block.Bad, err != nil)
			}
		})
	}
}

func TestVDOCompressedBlockThatCannotBeDecompressed(t *testing.T) {
	l := newVDOLab(t, "vdo-clean", "vgv/v1")
	pbn, runs := l.packed(t)
	for name, disk := range map[string]block.Device{
		"version":  patched{l.disk, l.at(pbn), []byte{9}},
		"fragment": patched{l.disk, l.at(pbn) + vdo.FragmentTable, make([]byte, 4000)},
	} {
		t.Run(name, func(t *testing.T) {
			_, dev := l.open(t, disk)
			var bad *block.BadRangeError
			at := int64(runs[0].First)*vdo.BlockSize - l.off
			_, err := dev.ReadAt(make([]byte, 100), at+7)
			require.ErrorAs(t, err, &bad)
			require.Equal(t, at+7, bad.Off)
			require.Equal(t, int64(100), bad.Len)
			require.Contains(t, bad.Why, "compressed block")
			l.requireTruth(t, dev)
		})
	}
}

// TestVDOStates has the super block tell of states that no corpus shows.
func TestVDOStates(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, c := range []struct {
		corpus string
		state  vdo.State
		want   Health
	}{
		{"vdo-clean", vdo.ReadOnly, Doubt},
		{"vdo-clean", vdo.ForceRebuild, Doubt},
		{"vdo-clean", vdo.Dirty, Complete}, // nothing to replay
		{"vdo-crash", vdo.ReadOnly, Doubt},
		{"vdo-crash", vdo.RebuildForUpgrade, Doubt},
		{"vdo-crash", vdo.Recovering, Complete},
		{"vdo-crash", vdo.Replaying, Complete},
		{"vdo-crash", vdo.State(99), Doubt},
		{"vdo-crash", vdo.Clean, Doubt},
	} {
		t.Run(fmt.Sprintf("%s %v", c.corpus, c.state), func(t *testing.T) {
			l := newVDOLab(t, c.corpus, "vgv/v1")
			plan, dev := l.open(t, l.withState(t, c.state))
			require.Equal(t, c.want, Assess(plan, block.Summarise(dev)))
			l.requireSame(t, dev)
		})
	}
}

// TestVDOLostJournal loses blocks of the recovery journal.
func TestVDOLostJournal(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, key := range []string{"vgv/v1", "vgw/v2"} {
		l := newVDOLab(t, "vdo-crash", key)
		j := l.volume.Journal
		require.Greater(t, j.Last, j.First)
		for s := j.First; s <= j.Last; s++ {
			_, dev := l.open(t, refusing{l.disk, []block.Extent{{Off: l.at(l.volume.SuperBlock.Journal.Start + s), Len: 512}}})
			l.requireTruth(t, dev)
			require.Equal(t, Doubt, Judge(block.Summarise(dev)), "block %d", s)
		}
	}
}

// TestVDOThatCannotBeOpened says why, and everything is lost.
func TestVDOThatCannotBeOpened(t *testing.T) {
	l := newVDOLab(t, "vdo-clean", "vgv/v1")
	for _, c := range []struct {
		name string
		disk block.Device
		why  string
	}{
		{"no geometry", patched{l.disk, l.at(0), make([]byte, 4096)}, "VDO geometry block at byte 0: vdo.geometry_block.magic_number"},
		{"no super block", patched{l.disk, l.at(l.volume.DataStart), make([]byte, 512)}, "VDO super block at byte"},
		{"unreadable", refusing{l.disk, []block.Extent{{Off: l.at(0), Len: 512}}}, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, dev := l.open(t, c.disk)
			totals := block.Summarise(dev)
			require.Equal(t, Lost, Assess(plan, totals))
			require.Contains(t, plan.Root.Segments[0].Target.String(), c.why)
		})
	}
}

// TestVDOShorterThanItsLV is what a power cut in lvextend leaves.
func TestVDOShorterThanItsLV(t *testing.T) {
	l := newVDOLab(t, "vdo-clean", "vgw/moved")
	plan, _ := l.open(t, l.disk)
	target := plan.Root.Segments[0].Target.(activate.VDO)
	const more = 1 << 20
	size := l.healthy.Size() + more
	dev := OpenVolume(&activate.Volume{LV: l.lv, Size: size, Segments: []activate.Segment{{Len: size, Target: target}}})
	l.requireSame(t, dev)
	require.Equal(t, int64(more), block.Summarise(dev).Bad)
	_, err := dev.ReadAt(make([]byte, 10), size-5)
	require.ErrorContains(t, err, "beyond the end of the VDO volume")
}

// TestVDOPoolReadsAsItsData reads the pool's own name.
func TestVDOPoolReadsAsItsData(t *testing.T) {
	c := fixtures.Open(t, "vdo-clean")
	vg, lv, err := find(t, c, "vgv/vp", rebuild.Options{})
	require.NoError(t, err)
	plan, err := activate.New(vg, lv, OpenVolume)
	require.NoError(t, err)
	magic := make([]byte, 8)
	_, err = Open(plan).ReadAt(magic, 0)
	require.NoError(t, err)
	require.Equal(t, "dmvdo001", string(magic))
}

// TestVDOReadsAnywhere holds reads that begin and end anywhere against the whole.
func TestVDOReadsAnywhere(t *testing.T) {
	l := newVDOLab(t, "vdo-crash", "vgw/v2")
	_, dev := l.open(t, l.disk)
	whole := content(t, dev)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		off := rnd.Int64N(6000 * vdo.BlockSize)
		p := make([]byte, rnd.Int64N(20000))
		_, err := dev.ReadAt(p, off)
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole[off:off+int64(len(p))], p), "%d bytes at %d", len(p), off)
	}
	n, err := dev.ReadAt(make([]byte, 100), dev.Size()-60)
	require.Equal(t, 60, n)
	require.ErrorIs(t, err, io.EOF)
}

// BenchmarkVDOCompressed reads 300 compressed blocks.
func BenchmarkVDOCompressed(b *testing.B) {
	l := newVDOLab(b, "vdo-clean", "vgv/v1")
	_, dev := l.open(b, l.disk)
	p := make([]byte, 300*vdo.BlockSize)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := dev.ReadAt(p, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVDOPlain reads 40 blocks that are not compressed.
func BenchmarkVDOPlain(b *testing.B) {
	l := newVDOLab(b, "vdo-clean", "vgw/moved")
	_, dev := l.open(b, l.disk)
	p := make([]byte, 40*vdo.BlockSize)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := dev.ReadAt(p, 7360*vdo.BlockSize); err != nil {
			b.Fatal(err)
		}
	}
}
