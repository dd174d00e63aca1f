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
	var b before
	b.add(stretch{off: 0, n: 10, kind: '+'})
	b.add(stretch{off: 10, n: 10, kind: '-'})
	require.Equal(t, []block.MapBlock{{Off: 5, Len: 5, Status: '+'}, {Off: 10, Len: 10, Status: '-'}, {Off: 20, Len: 5, Status: '?'}}, slices.Collect(b.within(5, 25)))
	require.Equal(t, []block.MapBlock{{Off: 10, Len: 1, Status: '-'}}, slices.Collect(b.within(10, 11)))
	require.Equal(t, []block.MapBlock{{Off: 3, Len: 4, Status: '?'}}, slices.Collect(before{}.within(3, 7)))
	require.Empty(t, slices.Collect(b.within(5, 5)))
	require.True(t, b.any(9, 30))
	require.False(t, b.any(10, 30))
}

func TestLedgerBoundsRanges(t *testing.T) {
	l := ledger{lost: stretches{limit: 2}}
	for i, n := range []int64{1, 2, 3, 4, 5} { // ranges that make no run
		off := int64(10 * i)
		l.add(block.Extent{Off: off, Len: 5})
		l.add(block.Extent{Off: off + 5, Len: n, State: block.Doubtful, Why: "old"})
		l.add(block.Extent{Off: off + 5 + n, Len: 5 - n})
	}
	l.add(block.Extent{Off: 50, Len: 50})
	require.Equal(t, []block.Extent{
		{Off: 5, Len: 1, State: block.Doubtful, Why: "old"},
		{Off: 15, Len: 2, State: block.Doubtful, Why: "old"},
		{Off: 25, Len: 25, State: block.Bad, Why: tooMany},
	}, slices.Collect(l.lost.extents()))
	require.Equal(t, int64(15), l.totals.Doubtful, "the totals stay exact")
	blocks := func(pos int64) []block.MapBlock { return slices.Collect(l.lost.blocks(pos)) }
	start := []block.MapBlock{{Off: 0, Len: 5, Status: '+'}, {Off: 5, Len: 1, Status: '/'}, {Off: 6, Len: 9, Status: '+'}, {Off: 15, Len: 2, Status: '/'}, {Off: 17, Len: 8, Status: '+'}}
	require.Equal(t, append(slices.Clone(start), block.MapBlock{Off: 25, Len: 25, Status: '-'}, block.MapBlock{Off: 50, Len: 50, Status: '+'}), blocks(l.pos))
	require.Equal(t, append(slices.Clone(start), block.MapBlock{Off: 25, Len: 5, Status: '-'}, block.MapBlock{Off: 30, Status: '+'}), blocks(30))
}

// A disk that is missing under a striped LV leaves millions of ranges, also while others
// have bad sectors: they are a few runs, and what is listed is exact.
func TestLedgerKeepsStripesApart(t *testing.T) {
	l := newLedger()
	const chunk, rows = 64 << 10, 1 << 17
	for i := range int64(rows) {
		off := 4 * chunk * i
		l.add(block.Extent{Off: off, Len: chunk})
		l.add(block.Extent{Off: off + chunk, Len: chunk, State: block.Bad, Why: "pv1 is missing"})
		l.add(block.Extent{Off: off + 2*chunk, Len: chunk, State: block.Doubtful, Why: "pv2 is old"})
		if i%1000 == 0 {
			l.add(block.Extent{Off: off + 3*chunk, Len: 512 + i/4, State: block.Bad, Why: "pv3: medium error"})
			l.add(block.Extent{Off: off + 3*chunk + 512 + i/4, Len: chunk - 512 - i/4})
		} else {
			l.add(block.Extent{Off: off + 3*chunk, Len: chunk})
		}
	}
	require.Less(t, len(l.lost.runs), 200)
	n, pv1 := 0, int64(0)
	end := int64(0)
	for e := range l.lost.extents() {
		if e.Off < end || e.Why == "pv1 is missing" && e.Off != (4*pv1+1)*chunk {
			t.Fatalf("%+v behind byte %d, the %dth of pv1", e, end, pv1)
		}
		end = e.End()
		n++
		if e.Why == "pv1 is missing" {
			pv1++
		}
	}
	require.Equal(t, int64(rows), pv1)
	require.Equal(t, 2*rows+rows/1000+1, n)
}

// FuzzStretches holds the compact list against a plain one.
func FuzzStretches(f *testing.F) {
	f.Add([]byte("0A0B0A0B0A0B0C0B0A0B"))
	f.Add([]byte("\x10A\x10B\x10A\x10B\x20C\x10A\x00A\x10B\x30A"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var l stretches
		var plain []stretch
		pos := int64(0)
		for i := 0; i+1 < len(ops); i += 2 {
			pos += int64(ops[i] >> 4)
			s := stretch{off: pos, n: 1 + int64(ops[i]&7), kind: ops[i+1] & 3, why: "abcd"[ops[i+1]>>2&3:][:1]}
			pos = s.end()
			require.True(t, l.add(s))
			if n := len(plain); n > 0 && plain[n-1].end() == s.off && plain[n-1].kind == s.kind && plain[n-1].why == s.why {
				plain[n-1].n += s.n
			} else {
				plain = append(plain, s)
			}
		}
		for lo := int64(0); lo <= pos; lo += 1 + pos/64 {
			first := slices.IndexFunc(plain, func(s stretch) bool { return s.end() > lo })
			want := plain[len(plain):]
			if first >= 0 {
				want = plain[first:]
			}
			if got := slices.Collect(l.from(lo)); !slices.Equal(want, got) {
				t.Fatalf("from %d: want %v, got %v", lo, want, got)
			}
		}
	})
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
