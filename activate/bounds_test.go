package activate_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// TestLargestNumbers plans LVs whose sizes, places and chunks are the largest that a text can
// give, on PVs of which nothing bounds them, and looks at both ends of what comes of it.
func TestLargestNumbers(t *testing.T) {
	const u32 = math.MaxUint32
	for _, es := range []int64{1, 8, 8192, u32} {
		most := int64(1) << 62 / 512 / es
		for _, typ := range []string{"striped", "raid0", "raid1", "raid4", "raid5_ls", "raid6_zr", "raid10", "raid10_far"} {
			for _, count := range []int64{1, 4, most / 4 * 4, u32 / 4 * 4} {
				for _, stripe := range []int64{1, 128, 1 << 31, u32} {
					for _, start := range []int64{0, most - 1, most - count/4 - 1, most - count - 1, math.MaxInt64 / 512 / es} {
						large(t, es, typ, count, stripe, start)
					}
				}
			}
		}
	}
}

func large(t *testing.T, es int64, typ string, count, stripe, start int64) {
	s := seg(typ, 0, count, stripe)
	for i := range 4 {
		s.Areas = append(s.Areas, metadata.Area{Name: fmt.Sprintf("pv%d", i), Start: start})
	}
	m := &metadata.VG{Name: "vg", ExtentSize: es, LVs: []*metadata.LV{lv("a", s)}}
	vg := &rebuild.VG{Meta: m}
	for i := range 4 {
		pv := &metadata.PV{Key: fmt.Sprintf("pv%d", i), PEStart: math.MaxInt64 / 512 >> i}
		m.PVs = append(m.PVs, pv)
		vg.PVs = append(vg.PVs, &rebuild.PV{Meta: pv, Dev: block.NewZero(math.MaxInt64)})
	}
	plan, err := activate.New(vg, m.LVs[0], volume.OpenVolume)
	if err != nil {
		return
	}
	dev := volume.Open(plan)
	size := dev.Size()
	require.Positive(t, size, "%d %s %d %d %d", es, typ, count, stripe, start)
	b := make([]byte, 4096)
	for _, off := range []int64{0, size / 2, max(size-4096, 0), size} {
		n := int64(0)
		for e := range dev.Extents(off, 4096) {
			require.Equal(t, off+n, e.Off)
			require.Positive(t, e.Len)
			n += e.Len
		}
		require.Equal(t, min(4096, size-off), n)
		require.NoError(t, block.ReadRange(dev, b, off, func(block.Extent) {}))
	}
}
