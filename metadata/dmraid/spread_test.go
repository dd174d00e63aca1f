package dmraid

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSpreadPlaces: copies of a chunk stand on different devices, no two chunks claim one
// place, all stand inside of the legs, and Rows and Inside tell where first copies are.
func TestSpreadPlaces(t *testing.T) {
	for _, c := range []struct {
		layout, devices int
		chunks          int64 // of each device
		name            string
	}{
		{0x102, 3, 8, "raid10"}, {0x102, 5, 8, "raid10"}, {0x103, 5, 6, "raid10"},
		{0x201, 4, 8, "raid10_far"}, {2<<17 | 0x201, 4, 8, "raid10_far"}, {2<<17 | 0x201, 5, 8, "raid10_far"},
		{2<<17 | 0x301, 7, 9, "raid10_far"}, {1<<17 | 0x201, 6, 8, "raid10_far"}, {0x202, 6, 8, "raid10_far"},
		{1<<16 | 0x201, 4, 8, "raid10_offset"}, {2<<17 | 1<<16 | 0x201, 5, 8, "raid10_offset"}, {1<<16 | 0x301, 6, 9, "raid10_offset"},
	} {
		l := Layout{Level: 10, Algorithm: c.layout, Devices: c.devices, Chunk: 4096}
		t.Run(fmt.Sprint(l, " ", c.layout>>17), func(t *testing.T) {
			require.NoError(t, l.Check())
			require.True(t, l.Spreads())
			require.Equal(t, c.name, l.Name())
			size := c.chunks * int64(c.devices) / int64(l.Copies()) * l.Chunk
			s := l.Spread(size)
			require.Equal(t, size/l.Chunk, s.Chunks())
			require.LessOrEqual(t, l.LegSize(size), c.chunks*l.Chunk)
			used := map[Place]bool{}
			for i := range s.Chunks() {
				devices := map[int]bool{}
				lo, hi := s.Rows(i, i)
				first, end := s.Inside(lo, hi)
				if s.near == 1 {
					require.LessOrEqual(t, first, i)
					require.Greater(t, end, i)
				}
				for n, p := range s.Places(i) {
					require.False(t, devices[p.Device], "chunk %d: %v", i, p)
					require.False(t, used[p], "chunk %d: %v", i, p)
					require.Less(t, p.Off, l.LegSize(size))
					require.Less(t, p.Device, c.devices)
					if n == 0 {
						require.GreaterOrEqual(t, p.Off/l.Chunk, lo)
						require.Less(t, p.Off/l.Chunk, hi)
					}
					devices[p.Device], used[p] = true, true
				}
				require.Len(t, devices, l.Copies())
			}
		})
	}
}

func TestRaid10Words(t *testing.T) {
	for _, c := range []struct {
		algorithm int
		want      string // "" for a layout that the kernel's target cannot be told of
	}{
		{0x103, "raid10_copies 3"},
		{0x201, "raid10_copies 2 raid10_format far raid10_use_near_sets"},
		{0x40201, "raid10_copies 2 raid10_format far"},
		{0x50301, "raid10_copies 3 raid10_format offset"},
		{0x20201, ""}, // sets as old kernels made them
		{0x40202, ""}, // near and far
	} {
		words, ok := Layout{Level: 10, Algorithm: c.algorithm, Devices: 6, Chunk: 4096}.Raid10Words()
		require.Equal(t, c.want != "", ok, "%#x", c.algorithm)
		require.Equal(t, c.want, strings.Join(words, " "))
	}
}
