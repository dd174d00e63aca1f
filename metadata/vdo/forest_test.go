package vdo

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// runs are those of all logical blocks of leaf page 0.
func runs(v *Volume) []Run { return slices.Collect(v.Runs(0, entriesPerPage-1)) }

const last = entriesPerPage - 1

// wiped is what the kernel would read as zeros.
const wiped = "the page of the block map for this range was never written, or it was wiped: the kernel reads zeros"

func TestRealCrash(t *testing.T) {
	v := open(t, realCrash(t))
	require.Equal(t, uint64(4), v.Journal.First)
	require.Equal(t, uint64(5), v.Journal.Last)
	require.Equal(t, 347, v.Journal.Len())
	require.Empty(t, v.Journal.Doubt)
	require.Empty(t, v.Check(nil))
	require.Equal(t, int64(realLogical*BlockSize), v.Size())
	count := map[RunState]uint64{}
	for r := range v.Runs(0, realLogical-1) {
		count[r.State] += r.Last - r.First + 1
	}
	require.Equal(t, map[RunState]uint64{Hole: realLogical - 731, Mapped: 410, Packed: 321}, count,
		"750 blocks were written, then 9 with zeros, and 10 discarded")
	require.Empty(t, slices.Collect(v.Runs(5, 4)))
}

func TestFragmentsAreFoundInTheirBlocks(t *testing.T) {
	d := realCrash(t)
	const header = 128 // blocks of the virtual device before the LV
	found, got := 0, make([]byte, BlockSize)
	for r := range open(t, d).Runs(0, realLogical-1) {
		b := d.blocks[r.PBN]
		if r.State != Packed || b == nil {
			continue
		}
		off, n, err := FragmentRange(b, r.Slot)
		require.NoError(t, err)
		require.NoError(t, Decompress(got, b[off:off+n]))
		require.Contains(t, string(got), fmt.Sprintf(" block %d of the lab content", r.First-header))
		found++
	}
	require.Greater(t, found, 2)
}

func TestRuns(t *testing.T) {
	for _, c := range []struct {
		name   string
		leaf   map[int]Location
		change func(d *disk, leaf []byte)
		want   []Run
	}{
		{"nothing", nil, nil, []Run{{Last: last}}},
		{"two that follow each other", map[int]Location{0: {20, plain}, 1: {21, plain}, 2: {23, plain}}, nil, []Run{
			{Last: 1, State: Mapped, PBN: 20}, {First: 2, Last: 2, State: Mapped, PBN: 23}, {First: 3, Last: last}}},
		{"zero blocks are holes", map[int]Location{4: {0, plain}}, nil, []Run{{Last: last}}},
		{"fragments", map[int]Location{0: {20, 2}, 1: {20, 15}}, nil, []Run{
			{State: Packed, PBN: 20, Slot: 0}, {First: 1, Last: 1, State: Packed, PBN: 20, Slot: 13}, {First: 2, Last: last}}},
		{"not in a slab's data", map[int]Location{0: {4, plain}, 1: {95, plain}, 2: {205, 3}, 3: {0, 2}, 4: {20, unmapped}}, nil, []Run{
			{Last: 4, State: Lost, Why: "an entry of the block map's page 9 points to where no data is"}, {First: 5, Last: last}}},
		{"wiped", nil, func(_ *disk, leaf []byte) { clear(leaf) }, []Run{{Last: last, State: Unsure, Why: wiped}}},
		{"written once", nil, func(_ *disk, leaf []byte) { leaf[32] = 0 }, []Run{{Last: last, State: Unsure, Why: wiped}}},
		{"another page", nil, func(_ *disk, leaf []byte) { leaf[16] = 10 }, []Run{
			{Last: last, State: Lost, Why: "where the block map's page 9 ought to be is page 10"}}},
		{"of another volume", nil, func(_ *disk, leaf []byte) { leaf[8]++ }, []Run{
			{Last: last, State: Lost, Why: "the block map's page 9 is not one of this volume"}}},
		{"unreadable", nil, func(d *disk, _ []byte) { d.lost[9] = true }, []Run{
			{Last: last, State: Lost, Why: "the block map's page 9 cannot be read: scratched"}}},
		{"interior page wiped", nil, func(d *disk, _ []byte) { delete(d.blocks, 7) }, []Run{{Last: last, State: Unsure, Why: wiped}}},
		{"interior page unreadable", nil, func(d *disk, _ []byte) { d.lost[7] = true }, []Run{
			{Last: last, State: Lost, Why: "the block map's page 7 cannot be read: scratched"}}},
		{"root broken", nil, func(d *disk, _ []byte) { d.blocks[rootsAt][0] = 5 }, []Run{
			{Last: last, State: Lost, Why: "the block map's page 3 is not one of this volume"}}},
		{"compressed page", nil, func(d *disk, _ []byte) { d.mapPage(7, map[int]Location{0: {8, 2}}) }, []Run{
			{Last: last, State: Lost, Why: "an entry of the block map's page 7 points to where no data is"}}},
		{"page outside of slabs", nil, func(d *disk, _ []byte) { d.mapPage(7, map[int]Location{0: {210, plain}}) }, []Run{
			{Last: last, State: Lost, Why: "an entry of the block map's page 7 points to where no data is"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk()
			d.tree()
			leaf := d.mapPage(9, c.leaf)
			if c.change != nil {
				c.change(d, leaf)
			}
			require.Equal(t, c.want, runs(open(t, d)))
		})
	}
}

func TestLeavesAreDealtToTheRoots(t *testing.T) {
	d := newDisk()
	d.tree()
	d.mapPage(8, map[int]Location{0: {9, plain}, 1: {10, plain}}) // leaf pages 0 and 2: root 0
	d.mapPage(9, map[int]Location{last: {50, plain}})
	d.mapPage(10, map[int]Location{0: {51, plain}})
	got := slices.Collect(open(t, d).Runs(800, 3999))
	require.Equal(t, []Run{
		{First: 800, Last: 810}, {First: 811, Last: 811, State: Mapped, PBN: 50}, {First: 812, Last: 1623},
		{First: 1624, Last: 1624, State: Mapped, PBN: 51}, {First: 1625, Last: 3999},
	}, got)
}

func TestWhatWasNeverUsedCostsNothing(t *testing.T) {
	d := newDisk(func(sb *SuperBlock) { sb.LogicalBlocks = maxLogical })
	d.tree()
	d.mapPage(9, map[int]Location{5: {20, plain}})
	const far = entriesPerPage * entriesPerPage * 2 * entriesPerPage * 3 // rows that another page of level 2 tells of
	d.mapPage(6, map[int]Location{0: {7, plain}, 3: {11, plain}})
	d.mapPage(11, map[int]Location{0: {12, plain}})
	d.mapPage(12, map[int]Location{0: {13, plain}})
	d.mapPage(13, map[int]Location{7: {21, plain}})
	got := slices.Collect(open(t, d).Runs(0, maxLogical-1))
	require.Equal(t, []Run{
		{Last: 4}, {First: 5, Last: 5, State: Mapped, PBN: 20}, {First: 6, Last: far + 6},
		{First: far + 7, Last: far + 7, State: Mapped, PBN: 21}, {First: far + 8, Last: maxLogical - 1},
	}, got)
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(d *disk)
		pages  uint64
		want   string
	}{
		{"sound", func(*disk) {}, 4, ""},
		{"a root wiped", func(d *disk) { delete(d.blocks, rootsAt) }, 4, "the block map has 0 pages, the volume says 4"},
		{"an old page", func(d *disk) { d.mapPage(8, nil) }, 4, "the block map has 3 pages, the volume says 4"},
		{"a page too many", func(d *disk) { d.mapPage(8, map[int]Location{0: {9, plain}, 1: {10, plain}}) }, 4, "more pages than the 4"},
		{"a loop", func(d *disk) {
			d.mapPage(8, map[int]Location{0: {9, plain}})
			d.mapPage(7, map[int]Location{0: {6, plain}})
		}, 9, "the block map uses page 6 twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(func(sb *SuperBlock) { sb.BlockMapPages = c.pages })
			d.tree()
			d.mapPage(9, nil)
			c.change(d)
			got := open(t, d).Check(nil)
			if c.want == "" {
				require.Empty(t, got)
			}
			require.Contains(t, got, c.want)
		})
	}
}

func TestJournal(t *testing.T) {
	at := func(slot int, pbn uint64) Run {
		return Run{First: uint64(slot), Last: uint64(slot), State: Mapped, PBN: pbn}
	}
	for _, c := range []struct {
		name  string
		write func(d *disk)
		want  []Run // but for holes
		doubt string
	}{
		{"nothing", func(*disk) {}, nil, ""},
		{"the last change counts", func(d *disk) { d.journalBlock(11, 11, data(3, 30), data(4, 40), data(3, 33)) },
			[]Run{at(3, 33), at(4, 40)}, ""},
		{"unmapped again", func(d *disk) { d.journalBlock(11, 11, data(3, 30), record{page: 9, slot: 3}) }, nil, ""},
		{"round the end of the ring", func(d *disk) {
			d.journalBlock(15, 15, full(data(1, 20))...)
			d.journalBlock(16, 15, data(2, 30))
		}, []Run{at(1, 20), at(2, 30), at(700, 50)}, ""},
		{"what the pages on disk have already", func(d *disk) {
			d.journalBlock(15, 11, full(data(1, 20))...)
			d.journalBlock(16, 16, data(2, 30))
		}, []Run{at(2, 30)}, ""},
		{"of before the last shutdown", func(d *disk) { d.journalBlock(10, 10, data(1, 20)) }, nil, ""},
		{"of before the last recovery", func(d *disk) { d.journalBlock(11, 11, data(1, 20))[52] = 2 }, nil, ""},
		{"of another volume", func(d *disk) { d.journalBlock(11, 11, data(1, 20))[24]++ }, nil, ""},
		{"at another's place", func(d *disk) {
			b := d.journalBlock(11, 11, data(1, 20))
			delete(d.blocks, journalAt+11%8)
			d.blocks[journalAt] = b
		}, nil, ""},
		{"too many entries", func(d *disk) { binary.LittleEndian.PutUint16(d.journalBlock(11, 11, data(1, 20))[33:], 218) }, nil, ""},
		{"not full, so the last", func(d *disk) {
			d.journalBlock(11, 11, data(1, 20))
			d.journalBlock(12, 11, data(2, 30))
		}, []Run{at(1, 20)}, "the recovery journal ends at block 11, but there are later blocks up to 12"},
		{"missing", func(d *disk) {
			d.journalBlock(11, 11, full(data(1, 20))...)
			d.journalBlock(13, 11, data(2, 30))
		}, []Run{at(1, 20), at(700, 50)}, "the recovery journal ends at block 12, but there are later blocks up to 13"},
		{"torn", func(d *disk) { d.journalBlock(11, 11, full(data(1, 20))...)[2*512]++ }, []Run{at(1, 20), at(700, 50)}, ""},
		{"torn by an old sector", func(d *disk) { d.journalBlock(11, 11, full(data(1, 20))...)[512+1]++ }, nil, ""},
		{"a short sector", func(d *disk) { d.journalBlock(11, 11, full(data(1, 20))...)[512+2] = 1 }, []Run{at(1, 20)}, ""},
		{"unreadable", func(d *disk) {
			d.journalBlock(11, 11, full(data(1, 20))...)
			d.journalBlock(12, 11, data(2, 30))
			d.lost[journalAt+12%8] = true
		}, []Run{at(1, 20), at(700, 50)}, "a part of the recovery journal is lost: block 209: scratched"},
		{"head behind the tail", func(d *disk) { d.journalBlock(11, 12, data(1, 20)) }, nil, "begins at block 12, but ends at 11"},
		{"page that cannot be", func(d *disk) {
			r := data(1, 20)
			r.page = 213
			d.journalBlock(11, 11, r, data(2, 30))
		}, []Run{at(2, 30)}, "an entry in block 11 of the recovery journal is not a valid one"},
		{"slot that cannot be", func(d *disk) { d.journalBlock(11, 11, data(812, 20)) }, nil, "is not a valid one"},
		{"place that cannot be", func(d *disk) { d.journalBlock(11, 11, data(1, 4)) }, nil, "is not a valid one"},
		{"old place that cannot be", func(d *disk) {
			r := data(1, 20)
			r.from = Location{0, 3}
			d.journalBlock(11, 11, r)
		}, nil, "is not a valid one"},
		{"page that replaces another", func(d *disk) {
			r := data(1, 20)
			r.op, r.from = opPage, Location{21, plain}
			d.journalBlock(11, 11, r)
		}, nil, "is not a valid one"},
		{"old format", func(d *disk) { d.journalBlock(11, 11, data(1, 20))[32] = oldJournalType }, nil, "is in an old format"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(dirty)
			d.tree()
			d.mapPage(9, nil)
			c.write(d)
			v := open(t, d)
			var got []Run
			for _, r := range runs(v) {
				if r.State == Hole {
					continue
				}
				if r.First >= 700 {
					r.Last = r.First
				}
				got = append(got, r)
			}
			require.Equal(t, c.want, got)
			if c.doubt == "" {
				require.Empty(t, v.Journal.Doubt)
			}
			require.Contains(t, v.Journal.Doubt, c.doubt)
		})
	}
}

func TestRebuildTakesWhateverIsThere(t *testing.T) {
	d := newDisk(dirty, func(sb *SuperBlock) { sb.State = ReadOnly })
	d.tree()
	d.mapPage(9, nil)
	d.journalBlock(11, 11, full(data(1, 20))...)[512+1]++
	d.journalBlock(13, 11, data(2, 30))
	v := open(t, d)
	require.Equal(t, []Run{
		{Last: 1}, {First: 2, Last: 2, State: Mapped, PBN: 30}, {First: 3, Last: 699},
		{First: 700, Last: 700, State: Mapped, PBN: 50}, {First: 701, Last: last},
	}, runs(v))
}

func TestSuperBlockOlderThanTheJournal(t *testing.T) {
	d := newDisk(func(sb *SuperBlock) { sb.BlockMapPages = 4 })
	d.tree()
	d.mapPage(9, nil)
	d.journalBlock(11, 11, data(1, 20))
	v := open(t, d)
	require.Equal(t, "the super block says that it is clean, but its recovery journal goes on", v.Journal.Doubt)
	require.Equal(t, []Run{{}, {First: 1, Last: 1, State: Mapped, PBN: 20}, {First: 2, Last: last}}, runs(v))
	d.lost[journalAt+11%8] = true
	require.Empty(t, open(t, d).Journal.Doubt, "a place that a closed volume has no need of")
}

// TestPagesKnownFromTheJournal has pages of which the disk has nothing yet.
func TestPagesKnownFromTheJournal(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(d *disk)
		records []record
		want    []Run
	}{
		{"allocated", func(d *disk) { d.mapPage(8, nil); d.blocks[9] = []byte("what the block held before it was freed") },
			[]record{{op: opPage, page: 8, to: Location{9, plain}}, data(1, 20)},
			[]Run{{}, {First: 1, Last: 1, State: Mapped, PBN: 20}, {First: 2, Last: last}}},
		{"allocated, unreadable", func(d *disk) { d.mapPage(8, nil); d.lost[9] = true },
			[]record{{op: opPage, page: 8, to: Location{9, plain}}, data(1, 20)},
			[]Run{{}, {First: 1, Last: 1, State: Mapped, PBN: 20}, {First: 2, Last: last}}},
		{"written once", func(d *disk) { d.mapPage(9, nil)[32] = 0 }, []record{data(1, 20)},
			[]Run{{}, {First: 1, Last: 1, State: Mapped, PBN: 20}, {First: 2, Last: last}}},
		{"wiped", func(d *disk) { delete(d.blocks, 9) }, []record{data(1, 20)},
			[]Run{{State: Unsure, Why: wiped}, {First: 1, Last: 1, State: Mapped, PBN: 20}, {First: 2, Last: last, State: Unsure, Why: wiped}}},
		{"unreadable", func(d *disk) { d.lost[9] = true }, []record{data(1, 20), {page: 9, slot: 2}},
			[]Run{{State: Lost, Why: "the block map's page 9 cannot be read: scratched"}, {First: 1, Last: 1, State: Mapped, PBN: 20}, {First: 2, Last: 2},
				{First: 3, Last: last, State: Lost, Why: "the block map's page 9 cannot be read: scratched"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(dirty)
			d.tree()
			d.mapPage(9, nil)
			c.change(d)
			d.journalBlock(11, 11, c.records...)
			v := open(t, d)
			require.Equal(t, c.want, runs(v))
		})
	}
}

func TestPagesAreCountedOn(t *testing.T) {
	d := newDisk(dirty, func(sb *SuperBlock) { sb.BlockMapPages = 0 })
	d.tree()
	d.mapPage(9, nil)
	d.journalBlock(11, 11, record{op: opPage, page: 8, slot: 1, to: Location{10, plain}})
	v := open(t, d)
	require.Equal(t, uint64(5), v.Journal.Pages, "4 when the block was begun")
	require.Empty(t, v.Check(nil))
}

func TestTheCacheIsBounded(t *testing.T) {
	d := newDisk()
	v := open(t, d)
	for pbn := range uint64(3 * cachedPages) {
		v.page(pbn, nil, 0)
	}
	require.Len(t, v.pages, cachedPages)
	require.Len(t, v.queue, cachedPages)
}

// FuzzOpen reads volumes of which the super block, any page and any journal block are as
// given. The super block's checksum is mended so that its fields are reached.
func FuzzOpen(f *testing.F) {
	real := realCrash(f)
	f.Add(real.blocks[679128][:512], real.blocks[679129], real.blocks[1277892])
	d := newDisk(dirty)
	f.Add(d.blocks[superAt][:512], d.mapPage(rootsAt, map[int]Location{0: {6, plain}, 1: {7, 3}}), d.journalBlock(11, 11, data(1, 20)))
	f.Fuzz(func(t *testing.T, super, page, journal []byte) {
		d := newDisk()
		b := make([]byte, BlockSize)
		copy(b, super)
		binary.LittleEndian.PutUint32(b[434:], checksum(b[:434]))
		binary.LittleEndian.PutUint64(d.blocks[0][32:], binary.LittleEndian.Uint64(b[100:]))
		binary.LittleEndian.PutUint32(d.blocks[0][97:], checksum(d.blocks[0][:97]))
		d.blocks[superAt] = b
		for pbn := uint64(rootsAt); pbn < 213; pbn++ {
			b := append([]byte{}, append(page, make([]byte, BlockSize)...)[:BlockSize]...)
			binary.LittleEndian.PutUint64(b[16:], pbn)
			if pbn >= journalAt {
				copy(b, journal)
			}
			d.blocks[pbn] = b
		}
		v, err := Open(d, d.size)
		if err != nil {
			return
		}
		v.Check(nil)
		next := uint64(0)
		for r := range v.Runs(0, 9999) {
			require.Equal(t, next, r.First)
			require.GreaterOrEqual(t, r.Last, r.First)
			next = r.Last + 1
			if r.State == Mapped || r.State == Packed {
				require.True(t, v.IsData(r.PBN))
			}
			if r.State == Mapped {
				require.True(t, v.IsData(r.PBN+r.Last-r.First))
			}
			if r.State == Lost || r.State == Unsure {
				require.NotEmpty(t, r.Why)
			}
		}
		require.Equal(t, uint64(10000), next)
	})
}

func FuzzGeometry(f *testing.F) {
	f.Add(realCrash(f).blocks[0][:128])
	f.Add(geometryBlock(4)[:128])
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := ParseGeometry(b); err == nil {
			require.Less(t, g.BioOffset, g.DataStart)
		}
	})
}

func FuzzFragment(f *testing.F) {
	f.Add(realCrash(f).blocks[679215], 1)
	f.Fuzz(func(t *testing.T, b []byte, slot int) {
		off, n, err := FragmentRange(b, slot)
		if err != nil || len(b) < BlockSize {
			return
		}
		_ = Decompress(make([]byte, BlockSize), b[off:off+n])
	})
}

func BenchmarkRuns(b *testing.B) {
	d := newDisk()
	d.tree()
	leaf := map[int]Location{}
	for slot := range entriesPerPage {
		leaf[slot] = Location{uint64(10 + slot*7%80), plain}
	}
	d.mapPage(9, leaf)
	v := open(b, d)
	b.SetBytes(entriesPerPage * BlockSize)
	for b.Loop() {
		for r := range v.Runs(0, entriesPerPage-1) {
			if r.State != Mapped {
				b.Fatal(r)
			}
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	d := realCrash(b)
	for b.Loop() {
		open(b, d)
	}
}
