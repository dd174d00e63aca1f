package block

import (
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClip(t *testing.T) {
	for _, c := range []struct{ size, off, n, lo, hi int64 }{
		{100, 0, 100, 0, 100},
		{100, 10, 20, 10, 30},
		{100, 90, 20, 90, 100},
		{100, 100, 1, 100, 100},
		{100, 101, 1, 100, 100},
		{100, -10, 20, 0, 10},
		{100, -10, 5, 0, 0},
		{100, 50, -1, 50, 50},
		{100, math.MinInt64, math.MaxInt64, 0, 0},
		{100, math.MaxInt64, math.MaxInt64, 100, 100},
		{100, 1, math.MaxInt64, 1, 100},
		{math.MaxInt64, 1, math.MaxInt64, 1, math.MaxInt64},
		{0, 0, 1, 0, 0},
	} {
		lo, hi := Clip(c.size, c.off, c.n)
		require.Equal(t, [2]int64{c.lo, c.hi}, [2]int64{lo, hi}, "%+v", c)
	}
}

func TestConstants(t *testing.T) {
	for _, dev := range []Device{NewZero(1000), NewBad(1000, "missing"), NewZero(0), NewBad(-1, "missing")} {
		requireContract(t, dev)
	}
	require.Equal(t, []Extent{{Off: 10, Len: 990, State: Bad, Why: "missing"}}, extents(NewBad(1000, "missing"), 10, 5000))
}

func TestSection(t *testing.T) {
	data := noise(1000)
	under, err := NewOverlay(&medium{data: data}, []Extent{{Off: 300, Len: 50, State: Bad, Why: "scratch"}})
	require.NoError(t, err)

	for name, c := range map[string]struct {
		off, n int64
		want   []Extent
	}{
		"within":      {100, 100, []Extent{{Off: 0, Len: 100}}},
		"with a hole": {290, 100, []Extent{{Off: 0, Len: 10}, {Off: 10, Len: 50, State: Bad, Why: "scratch"}, {Off: 60, Len: 40}}},
		"past the end": {900, 200, []Extent{{Off: 0, Len: 100},
			{Off: 100, Len: 100, State: Bad, Why: "cut"}}},
		"behind the end":   {1001, 10, []Extent{{Off: 0, Len: 10, State: Bad, Why: "cut"}}},
		"before the start": {-1, 10, []Extent{{Off: 0, Len: 10, State: Bad, Why: "cut"}}},
		"whole":            {0, 1000, []Extent{{Off: 0, Len: 300}, {Off: 300, Len: 50, State: Bad, Why: "scratch"}, {Off: 350, Len: 650}}},
		"empty":            {10, 0, nil},
		"less than empty":  {10, -10, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dev := NewSection(under, c.off, c.n, "cut")
			require.Equal(t, max(c.n, 0), dev.Size())
			require.Equal(t, c.want, extents(dev, 0, dev.Size()))
			requireContract(t, dev)
		})
	}

	dev := NewSection(under, 900, 200, "cut")
	p := make([]byte, 200)
	n, err := dev.ReadAt(p, 0)
	require.Equal(t, &BadRangeError{Off: 100, Len: 100, Why: "cut"}, err)
	require.Equal(t, data[900:], p[:n], "what is before the bad range has been read")
	n, err = dev.ReadAt(p, 150)
	require.Equal(t, &BadRangeError{Off: 150, Len: 50, Why: "cut"}, err)
	require.Zero(t, n)

	n, err = NewSection(under, 290, 100, "cut").ReadAt(p, 0)
	require.Equal(t, &BadRangeError{Off: 10, Len: 50, Why: "scratch"}, err)
	require.Equal(t, 10, n)
}

func TestPadded(t *testing.T) {
	data := noise(1000)
	require.Equal(t, int64(1000), NewPadded(&medium{data: data}, 0, "").Size())
	dev := NewPadded(NewSection(&medium{data: data}, 0, 1200, "cut"), 300, "lacking")
	require.Equal(t, int64(1500), dev.Size())
	require.Equal(t, []Extent{
		{Off: 0, Len: 300, State: Bad, Why: "lacking"},
		{Off: 300, Len: 1000},
		{Off: 1300, Len: 200, State: Bad, Why: "cut"},
	}, extents(dev, 0, 1500))
	requireContract(t, dev)
	p := make([]byte, 200)
	_, err := dev.ReadAt(p, 299)
	require.Equal(t, &BadRangeError{Off: 299, Len: 1, Why: "lacking"}, err)
	n, err := dev.ReadAt(p, 1200)
	require.Equal(t, data[900:], p[:n])
	require.Equal(t, &BadRangeError{Off: 1300, Len: 200, Why: "cut"}, err)
}

func TestSectionPassesOtherErrors(t *testing.T) {
	dev := NewSection(&medium{data: noise(1000), err: io.ErrClosedPipe}, 10, 100, "")
	_, err := dev.ReadAt(make([]byte, 10), 0)
	require.Equal(t, io.ErrClosedPipe, err)
}

func TestOverlay(t *testing.T) {
	data := noise(1000)
	under := NewSection(&medium{data: data}, 0, 1200, "cut")
	dev, err := NewOverlay(under, []Extent{
		{Off: 100, Len: 100, State: Doubtful, Why: "old"},
		{Off: 200, Len: 100, State: Bad, Why: "gone"},
		{Off: 900, Len: 200, State: Doubtful, Why: "old"},
		{Off: 1190, Len: 100, State: Bad, Why: "gone"},
	})
	require.NoError(t, err)
	requireContract(t, dev)
	require.Equal(t, []Extent{
		{Off: 0, Len: 100},
		{Off: 100, Len: 100, State: Doubtful, Why: "old"},
		{Off: 200, Len: 100, State: Bad, Why: "gone"},
		{Off: 300, Len: 600},
		{Off: 900, Len: 100, State: Doubtful, Why: "old"},
		{Off: 1000, Len: 100, State: Bad, Why: "cut"},
		{Off: 1100, Len: 90, State: Bad, Why: "cut"},
		{Off: 1190, Len: 10, State: Bad, Why: "gone"},
	}, extents(dev, 0, 1200))

	p := make([]byte, 500)
	n, err := dev.ReadAt(p, 50)
	require.Equal(t, data[50:200], p[:n])
	require.Equal(t, &BadRangeError{Off: 200, Len: 100, Why: "gone"}, err)
	n, err = dev.ReadAt(p, 250)
	require.Zero(t, n)
	require.Equal(t, &BadRangeError{Off: 250, Len: 50, Why: "gone"}, err)
	n, err = dev.ReadAt(p[:100], 300)
	require.NoError(t, err)
	require.Equal(t, data[300:400], p[:n])
}

func TestOverlayReportsWhatLiesBelowFirst(t *testing.T) {
	under := &medium{data: noise(4096), bad: map[int64]bool{1: true}}
	dev, err := NewOverlay(under, []Extent{{Off: 2048, Len: 10, State: Bad, Why: "gone"}})
	require.NoError(t, err)
	_, err = dev.ReadAt(make([]byte, 4096), 0)
	var bad *BadRangeError
	require.ErrorAs(t, err, &bad)
	require.True(t, bad.Coarse)
	require.Equal(t, int64(0), bad.Off)
}

func TestOverlayRefusesBadMarks(t *testing.T) {
	for name, marks := range map[string][]Extent{
		"zeros":    {{Off: 0, Len: 1, State: Zero}},
		"overlap":  {{Off: 0, Len: 2, State: Bad}, {Off: 1, Len: 2, State: Bad}},
		"empty":    {{Off: 0, Len: 0, State: Bad}},
		"negative": {{Off: -1, Len: 2, State: Bad}},
		"overflow": {{Off: math.MaxInt64, Len: 2, State: Bad}},
	} {
		_, err := NewOverlay(NewZero(10), marks)
		require.Error(t, err, name)
	}
}

func TestDoubtful(t *testing.T) {
	dev := NewDoubtful(NewSection(NewZero(10), 0, 20, "cut"), "why not")
	requireContract(t, dev)
	require.Equal(t, []Extent{{Off: 0, Len: 10, State: Doubtful, Why: "why not"}, {Off: 10, Len: 10, State: Bad, Why: "cut"}}, extents(dev, 0, 20))
	require.Empty(t, extents(NewDoubtful(NewZero(0), "why not"), 0, 20))
}

func TestTotals(t *testing.T) {
	under := NewSection(NewZero(1000), 0, 1500, "cut")
	dev, err := NewOverlay(under, []Extent{
		{Off: 0, Len: 10, State: Doubtful, Why: "old"},
		{Off: 10, Len: 10, State: Doubtful, Why: "old"},
		{Off: 100, Len: 10, State: Doubtful, Why: "old"},
		{Off: 200, Len: 5, State: Bad, Why: "gone"},
	})
	require.NoError(t, err)
	sum := Summarise(dev)
	require.Equal(t, int64(1500), sum.Size())
	require.Equal(t, [4]int64{0, 965, 30, 505}, [4]int64{sum.Data, sum.Zero, sum.Doubtful, sum.Bad})
	require.False(t, sum.Whole())
	require.Equal(t, []Cause{
		{Bad, "cut", 500, 1},
		{Bad, "gone", 5, 1},
		{Doubtful, "old", 30, 2},
	}, sum.Causes())
	require.True(t, Summarise(NewZero(5)).Whole())
}

func TestTotalsBoundCauses(t *testing.T) {
	var sum Totals
	for i := range int64(2 * maxCauses) {
		sum.Add(Extent{Off: i, Len: 1, State: Bad, Why: string(rune('a' + i))})
	}
	require.Len(t, sum.Causes(), maxCauses+1)
	require.Equal(t, Cause{Bad, otherCauses, maxCauses, maxCauses}, sum.Causes()[0])
}

func TestMerge(t *testing.T) {
	dev, err := NewOverlay(NewZero(100), []Extent{{Off: 0, Len: 1, State: Bad, Why: "a"}, {Off: 1, Len: 1, State: Bad, Why: "a"}, {Off: 2, Len: 1, State: Bad, Why: "b"}})
	require.NoError(t, err)
	var got []Extent
	for e := range Merge(dev.Extents(0, 100)) {
		got = append(got, e)
	}
	require.Equal(t, []Extent{{0, 2, Bad, "a"}, {2, 1, Bad, "b"}, {3, 97, Zero, ""}}, got)
	for e := range Merge(dev.Extents(0, 100)) {
		require.Equal(t, int64(2), e.Len, "the sequence stops when nobody wants more")
		break
	}
}
