package domain

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRangesAdd(t *testing.T) {
	for _, c := range []struct {
		name        string
		have        Ranges
		add         Range
		want, fresh []Range
	}{
		{"into nothing", nil, Range{5, 3}, []Range{{5, 3}}, []Range{{5, 3}}},
		{"empty", Ranges{{5, 3}}, Range{1, 0}, []Range{{5, 3}}, nil},
		{"before", Ranges{{5, 3}}, Range{1, 2}, []Range{{1, 2}, {5, 3}}, []Range{{1, 2}}},
		{"touching", Ranges{{5, 3}}, Range{8, 2}, []Range{{5, 5}}, []Range{{8, 2}}},
		{"inside", Ranges{{5, 9}}, Range{6, 2}, []Range{{5, 9}}, nil},
		{"over two", Ranges{{5, 3}, {10, 2}}, Range{4, 9}, []Range{{4, 9}}, []Range{{4, 1}, {8, 2}, {12, 1}}},
		{"joining two", Ranges{{0, 5}, {10, 5}}, Range{5, 5}, []Range{{0, 15}}, []Range{{5, 5}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fresh := c.have.Add(c.add)
			require.Equal(t, Ranges(c.want), c.have)
			require.Equal(t, c.fresh, fresh)
		})
	}
}

// TestRangesAgainstBits holds the set against a plain array of flags.
func TestRangesAgainstBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var set Ranges
	var bits [200]bool
	for range 300 {
		r := Range{rng.Int64N(190), rng.Int64N(10)}
		var fresh int64
		for i := r.Off; i < r.End(); i++ {
			if !bits[i] {
				fresh++
			}
			bits[i] = true
		}
		require.Equal(t, fresh, Ranges(set.Add(r)).Bytes())
		var again Ranges
		for i, b := range bits {
			if b {
				again.Add(Range{int64(i), 1})
			}
		}
		require.Equal(t, again, set)
	}
}

func TestSectors(t *testing.T) {
	require.Equal(t, Range{512, 1024}, Range{513, 600}.sectors())
	require.Equal(t, Range{512, 512}, Range{512, 512}.sectors())
}
