package dmraid

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLargestArrays: no layout comes to a size or a place that is none, for arrays of the largest
// size that is planned.
func TestLargestArrays(t *testing.T) {
	for _, typ := range []string{"raid0", "raid1", "raid4", "raid5_ls", "raid6_nr", "raid10", "raid10_near", "raid10_far", "raid10_offset"} {
		for _, devices := range []int{2, 3, 4, 5, 64, maxDevices} {
			for _, copies := range []int{2, 3} {
				for _, chunk := range []int64{512, 64 << 10, 1 << 31, math.MaxUint32 << 9} {
					l, err := LayoutOf(typ, devices, copies, chunk)
					if err != nil {
						continue
					}
					for _, size := range []int64{512, 1 << 40, 1<<62 - 512, 1 << 62} {
						require.Positive(t, l.LegSize(size), "%v of %d bytes", l, size)
						if !l.Spreads() {
							continue
						}
						s := l.Spread(size)
						for _, c := range []int64{0, s.Chunks() / 2, s.Chunks() - 1} {
							if c < 0 {
								continue
							}
							for _, p := range s.Places(c) {
								require.GreaterOrEqual(t, p.Off, int64(0), "chunk %d of %v", c, l)
								require.True(t, p.Device >= 0 && p.Device < devices)
							}
						}
					}
				}
			}
		}
	}
}
