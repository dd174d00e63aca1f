package export

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

func TestUnits(t *testing.T) {
	bad := func(off, n int64) block.Extent {
		return block.Extent{Off: off, Len: n, State: block.Bad, Why: "bad"}
	}
	isBad := func(e block.Extent) bool { return e.State == block.Bad }
	for name, c := range map[string]struct {
		size  int64
		marks []block.Extent
		want  []unit // run is given as any run
	}{
		"empty":             {0, nil, nil},
		"chunks":            {25, nil, []unit{{0, 10, nil}, {10, 10, nil}, {20, 5, nil}}},
		"all a run":         {25, []block.Extent{bad(0, 25)}, []unit{{0, 25, &block.Extent{}}}},
		"run to the end":    {35, []block.Extent{bad(12, 23)}, []unit{{0, 10, nil}, {10, 10, nil}, {20, 15, &block.Extent{}}}},
		"run on the grid":   {60, []block.Extent{bad(5, 40)}, []unit{{0, 10, nil}, {10, 30, &block.Extent{}}, {40, 10, nil}, {50, 10, nil}}},
		"too short a run":   {40, []block.Extent{bad(11, 18)}, []unit{{0, 10, nil}, {10, 10, nil}, {20, 10, nil}, {30, 10, nil}}},
		"less than a chunk": {5, []block.Extent{bad(0, 5)}, []unit{{0, 5, nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			dev := marked(t, &disk{size: c.size}, c.marks...)
			got := slices.Collect(units(dev, 10, isBad))
			pos := int64(0)
			for i, u := range got {
				require.Equal(t, pos, u.off)
				pos = u.end()
				if u.run != nil {
					require.Equal(t, bad(u.off, u.n), *u.run)
					got[i].run = &block.Extent{}
				}
			}
			require.Equal(t, c.size, pos)
			require.Equal(t, c.want, got)
		})
	}
}

func TestSpan(t *testing.T) {
	// One letter is a page: x data, . zeros.
	for pages, want := range map[string]struct {
		n    int
		zero bool
	}{
		"x":            {1, false},
		".":            {1, true},
		"........x":    {8, true},
		".......x":     {8, false},
		"x.......x":    {9, false},
		"x........":    {1, false},
		"x........x":   {1, false},
		"xx.x........": {4, false},
		"x...":         {4, false},
	} {
		var p []byte
		for _, c := range pages {
			page := make([]byte, pageSize)
			if c == 'x' {
				page[pageSize-1] = 1
			}
			p = append(p, page...)
		}
		n, zero := span(p)
		require.Equal(t, want.n*pageSize, n, pages)
		require.Equal(t, want.zero, zero, pages)
	}
	n, zero := span(make([]byte, 100))
	require.Equal(t, 100, n)
	require.True(t, zero)
}

func TestWithin(t *testing.T) {
	b := before{[]block.MapBlock{{Off: 0, Len: 10, Status: '+'}, {Off: 10, Len: 10, Status: '-'}}}
	require.Equal(t, []block.MapBlock{{Off: 5, Len: 5, Status: '+'}, {Off: 10, Len: 10, Status: '-'}, {Off: 20, Len: 5, Status: '?'}}, slices.Collect(b.within(5, 25)))
	require.Equal(t, []block.MapBlock{{Off: 10, Len: 1, Status: '-'}}, slices.Collect(b.within(10, 11)))
	require.Equal(t, []block.MapBlock{{Off: 3, Len: 4, Status: '?'}}, slices.Collect(before{}.within(3, 7)))
	require.Empty(t, slices.Collect(b.within(5, 5)))
	require.True(t, b.any(9, 30))
	require.False(t, b.any(10, 30))
}

func TestLedgerBoundsRanges(t *testing.T) {
	l := ledger{limit: 2}
	for i := range int64(5) {
		l.add(block.Extent{Off: 10 * i, Len: 5})
		l.add(block.Extent{Off: 10*i + 5, Len: 5, State: block.Doubtful, Why: "old"})
	}
	l.add(block.Extent{Off: 50, Len: 50})
	require.Equal(t, []block.Extent{
		{Off: 5, Len: 5, State: block.Doubtful, Why: "old"},
		{Off: 15, Len: 35, State: block.Bad, Why: tooMany},
	}, l.lost)
	require.Equal(t, int64(25), l.totals.Doubtful, "the totals stay exact")
	require.Equal(t, []block.MapBlock{{Off: 0, Len: 5, Status: '+'}, {Off: 5, Len: 5, Status: '/'}, {Off: 10, Len: 5, Status: '+'}, {Off: 15, Len: 35, Status: '-'}, {Off: 50, Len: 50, Status: '+'}}, l.toMap(l.pos).Blocks)
	require.Equal(t, []block.MapBlock{{Off: 0, Len: 5, Status: '+'}, {Off: 5, Len: 5, Status: '/'}, {Off: 10, Len: 5, Status: '+'}, {Off: 15, Len: 5, Status: '-'}}, l.toMap(20).Blocks)
}

// An identity goes through the comments of a mapfile unharmed, whatever is in it.
func FuzzIdentity(f *testing.F) {
	f.Add("vg/lv at seqno 5")
	f.Add(" a\x00\n#\xff\r\u2028 b ")
	f.Fuzz(func(t *testing.T, identity string) {
		if len(identity) > maxIdentity {
			return
		}
		m := block.Mapfile{Comments: partComments(&Options{Identity: identity, Fill: FillZero}, 5)}
		var text strings.Builder
		_, err := m.WriteTo(&text)
		require.NoError(t, err)
		again, err := block.ParseMapfile(strings.NewReader(text.String()))
		require.NoError(t, err)
		require.Equal(t, m.Comments, again.Comments)
	})
}
