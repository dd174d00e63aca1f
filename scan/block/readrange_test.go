package block

import (
	"io"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"
)

// readAll is ReadRange with its report as a list.
func readAll(t *testing.T, dev Device, off int64, n int) ([]byte, []Extent) {
	t.Helper()
	p := noise(n) // so that bytes that are not set are seen
	var got []Extent
	require.NoError(t, ReadRange(dev, p, off, func(e Extent) { got = append(got, e) }))
	return p, got
}

func TestReadRangeLosesOneSectorForOneBadSector(t *testing.T) {
	const size = 1 << 20
	data := noise(size)
	disk := &medium{data: data, bad: map[int64]bool{0: true, 777: true, 778: true, size/SectorSize - 1: true}}
	why := "medium: input/output error"

	p, got := readAll(t, disk, 0, size)
	require.Equal(t, []Extent{
		{0, 512, Bad, why},
		{512, 777*512 - 512, Data, ""},
		{777 * 512, 1024, Bad, why},
		{779 * 512, size - 512 - 779*512, Data, ""},
		{size - 512, 512, Bad, why},
	}, got)
	want := append([]byte(nil), data...)
	for _, e := range got {
		if e.State == Bad {
			clear(want[e.Off:e.End()])
		}
	}
	require.Equal(t, want, p)
	require.Less(t, disk.reads, 20, "a bad sector costs few refused reads")
}

func TestReadRangeUnaligned(t *testing.T) {
	data := noise(8192)
	disk := &medium{data: data, bad: map[int64]bool{3: true}}
	p, got := readAll(t, disk, 100, 5000)
	require.Equal(t, []Extent{
		{100, 1436, Data, ""},
		{1536, 512, Bad, "medium: input/output error"},
		{2048, 3052, Data, ""},
	}, got)
	require.Equal(t, data[100:1536], p[:1436])
	require.Equal(t, data[2048:5100], p[1948:])
}

func TestReadRangeMixed(t *testing.T) {
	data := noise(4096)
	dev, err := NewOverlay(&medium{data: data, bad: map[int64]bool{1: true}}, []Extent{
		{Off: 0, Len: 1000, State: Doubtful, Why: "old"},
		{Off: 2000, Len: 1000, State: Bad, Why: "gone"},
	})
	require.NoError(t, err)
	p, got := readAll(t, dev, 0, 5000)
	require.Equal(t, []Extent{
		{0, 512, Doubtful, "old"},
		{512, 512, Bad, "medium: input/output error"},
		{1024, 976, Data, ""},
		{2000, 1000, Bad, "gone"},
		{3000, 1096, Data, ""},
		{4096, 904, Bad, "beyond the end of the device"},
	}, got)
	require.Equal(t, data[:512], p[:512])
	require.Equal(t, make([]byte, 1000), p[2000:3000])
	require.Equal(t, data[3000:], p[3000:4096])
	require.Equal(t, make([]byte, 904), p[4096:])
}

func TestReadRangeZeros(t *testing.T) {
	p, got := readAll(t, NewZero(100), 10, 50)
	require.Equal(t, []Extent{{10, 50, Zero, ""}}, got)
	require.Equal(t, make([]byte, 50), p)
}

func TestReadRangeFailsOnOtherErrors(t *testing.T) {
	ignore := func(Extent) {}
	require.ErrorIs(t, ReadRange(&medium{data: noise(10), err: io.ErrClosedPipe}, make([]byte, 5), 0, ignore), io.ErrClosedPipe)
	require.Error(t, ReadRange(NewZero(5), make([]byte, 5), -1, ignore))
	require.ErrorContains(t, ReadRange(shortReader{NewZero(5)}, make([]byte, 5), 0, ignore), "got 1")
	require.ErrorContains(t, ReadRange(liar{NewZero(5)}, make([]byte, 5), 0, ignore), "extent of 6 bytes")
}

// shortReader breaks the contract of ReaderAt, and liar that of Extents.
type shortReader struct{ Device }

func (shortReader) ReadAt([]byte, int64) (int, error) { return 1, nil }
func (s shortReader) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) { yield(Extent{Off: off, Len: n}) }
}

type liar struct{ Device }

func (liar) Extents(int64, int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) { yield(Extent{Len: 6}) }
}

func FuzzReadRange(f *testing.F) {
	f.Add([]byte{3, 9}, uint16(100), uint16(5000), uint16(600), uint16(700))
	f.Add([]byte{}, uint16(0), uint16(0xffff), uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, badSectors []byte, off, n, markOff, markLen uint16) {
		data := noise(128 << 10)
		disk := &medium{data: data, bad: map[int64]bool{}}
		for _, s := range badSectors {
			disk.bad[int64(s)] = true
		}
		var dev Device = disk
		if markLen > 0 {
			var err error
			dev, err = NewOverlay(disk, []Extent{{int64(markOff), int64(markLen), Bad, "mark"}})
			require.NoError(t, err)
		}
		p, got := readAll(t, dev, int64(off), int(n))
		pos := int64(off)
		for _, e := range got {
			require.Equal(t, pos, e.Off)
			pos = e.End()
			part := p[e.Off-int64(off) : e.End()-int64(off)]
			if e.State == Bad {
				require.Equal(t, make([]byte, e.Len), part)
				continue
			}
			require.Equal(t, data[e.Off:e.End()], part)
		}
		require.Equal(t, int64(off)+int64(n), pos)
		require.Equal(t, wantBad(disk, int64(off), int64(n), int64(markOff), int64(markLen)), lost(got))
	})
}

// wantBad counts the bytes of [off, off+n) that are marked or in a bad sector.
func wantBad(disk *medium, off, n, markOff, markLen int64) int64 {
	count := int64(0)
	for i := off; i < off+n; i++ {
		if disk.bad[i/SectorSize] || i >= markOff && i < markOff+markLen {
			count++
		}
	}
	return count
}

func lost(list []Extent) int64 {
	var sum Totals
	for _, e := range list {
		sum.Add(e)
	}
	return sum.Bad
}
