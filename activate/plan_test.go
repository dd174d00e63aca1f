package activate_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// testVG has PVs pv0 and pv1 of 100 extents of 8 sectors (4 KiB) each, from sector 2048 on.
func testVG(lvs ...*metadata.LV) *rebuild.VG {
	m := &metadata.VG{Name: "vg", ExtentSize: 8, LVs: lvs}
	vg := &rebuild.VG{Meta: m}
	for i := range 2 {
		pv := &metadata.PV{Key: fmt.Sprintf("pv%d", i), PEStart: 2048, PECount: 100, DevSize: 4096}
		m.PVs = append(m.PVs, pv)
		vg.PVs = append(vg.PVs, &rebuild.PV{Meta: pv, Dev: block.NewZero(4096 * block.SectorSize)})
	}
	return vg
}

// lv makes an LV of segments.
func lv(name string, segs ...*metadata.Segment) *metadata.LV {
	return &metadata.LV{Name: name, Segments: segs}
}

// seg makes a segment; areas alternate names and extents.
func seg(typ string, start, count, stripeSize int64, areas ...any) *metadata.Segment {
	s := &metadata.Segment{Key: "segment1", Type: typ, StartExtent: start, ExtentCount: count, StripeSize: stripeSize, Node: metadata.NewSection("segment1")}
	for i := 0; i < len(areas); i += 2 {
		s.Areas = append(s.Areas, metadata.Area{Name: areas[i].(string), Start: int64(areas[i+1].(int))})
	}
	return s
}

// outline renders a table, a line a segment.
func outline(v *activate.Volume) string {
	var b strings.Builder
	for _, s := range v.Segments {
		fmt.Fprintf(&b, "%d+%d %s", s.Off, s.Len, s.Target)
		for _, in := range s.Target.Inputs() {
			name := "LV"
			if in.PV != nil {
				name = in.PV.Meta.Key
			}
			fmt.Fprintf(&b, " %s@%d", name, in.Off)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestDoubling plans LVs of which each is made of the next one twice, so that no one could
// walk the pieces of the first.
func TestDoubling(t *testing.T) {
	const n = 31
	lvs := make([]*metadata.LV, n)
	for i := range n - 1 {
		half := int64(1) << (n - 2 - i)
		below := fmt.Sprintf("d%d", i+1)
		lvs[i] = lv(fmt.Sprintf("d%d", i), seg("striped", 0, half, 0, below, 0), seg("striped", half, half, 0, below, 0))
	}
	lvs[n-1] = lv(fmt.Sprintf("d%d", n-1), seg("striped", 0, 1, 0, "pv0", 0))
	p, err := activate.New(testVG(lvs...), lvs[0], nil)
	require.NoError(t, err)
	sum := block.Summarise(volume.Open(p))
	require.Equal(t, int64(1)<<(n-1)*4096, sum.Bad)
	require.Contains(t, sum.Causes()[0].Why, "pieces")

	p, err = activate.New(testVG(lvs...), lvs[n-10], nil)
	require.NoError(t, err)
	require.Zero(t, block.Summarise(volume.Open(p)).Bad)
}

// TestOverlapsOverlap plans an LV whose segments each reach into the next one.
func TestOverlapsOverlap(t *testing.T) {
	const n = 100_000
	l := lv("a")
	for i := range int64(n) {
		l.Segments = append(l.Segments, seg("zero", i, 2, 0))
	}
	p, err := activate.New(testVG(l), l, nil)
	require.NoError(t, err)
	require.Equal(t, int64(n+1)*4096, block.Summarise(volume.Open(p)).Bad)
}

const pe0 = 2048 * 512 // where extent 0 of a test PV lies

func TestPlan(t *testing.T) {
	deep := make([]*metadata.LV, 40)
	for i := range deep {
		deep[i] = lv(fmt.Sprintf("d%d", i), seg("striped", 0, 1, 0, fmt.Sprintf("d%d", i+1), 0))
	}
	for _, c := range []struct {
		name string
		lvs  []*metadata.LV // the first is planned
		want string         // its outline
		err  string
	}{
		{
			name: "linear",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 3, 0, "pv0", 5))},
			want: fmt.Sprintf("0+12288 linear pv0@%d\n", pe0+5*4096),
		}, {
			name: "segments out of order",
			lvs:  []*metadata.LV{lv("a", seg("linear", 1, 1, 0, "pv1", 0), seg("linear", 0, 1, 0, "pv0", 0))},
			want: fmt.Sprintf("0+4096 linear pv0@%d\n4096+4096 linear pv1@%d\n", pe0, pe0),
		}, {
			name: "striped",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 4, 8, "pv0", 0, "pv1", 7))},
			want: fmt.Sprintf("0+16384 striped over 2, chunk 4096 pv0@%d pv1@%d\n", pe0, pe0+7*4096),
		}, {
			name: "stripes that share an extent",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 3, 4, "pv0", 0, "pv1", 7))},
			want: "0+12288 error: 3 extents cannot be dealt to 2 stripes\n",
		}, {
			name: "more stripes than there can be",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 2000, 4, slices.Repeat([]any{"pv0", 0}, 2000)...))},
			want: "0+8192000 error: the metadata says 2000 stripes, at most 1024 are read\n",
		}, {
			name: "zero and error",
			lvs:  []*metadata.LV{lv("a", seg("zero", 0, 1, 0), seg("error", 1, 1, 0))},
			want: "0+4096 zero\n4096+4096 error: an error segment: LVM itself reads nothing here\n",
		}, {
			name: "unknown type keeps its place",
			lvs:  []*metadata.LV{lv("a", seg("flux", 0, 1, 0), seg("striped", 1, 1, 0, "pv0", 0))},
			want: fmt.Sprintf("0+4096 error: segments of type \"flux\" are not read by this version of lvrescue\n4096+4096 linear pv0@%d\n", pe0),
		}, {
			name: "on another LV",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 2, 0, "b", 1)), lv("b", seg("striped", 0, 3, 0, "pv0", 0))},
			want: "0+8192 linear LV@4096\n",
		}, {
			name: "beyond the LV below",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 3, 0, "b", 1)), lv("b", seg("striped", 0, 3, 0, "pv0", 0))},
			want: "0+12288 error: bytes 4096-16383 lie beyond the 12288 bytes of LV b\n",
		}, {
			name: "on itself",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 1, 0, "a", 0))},
			want: "0+4096 error: LV a stands on itself\n",
		}, {
			name: "on itself through another",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 1, 0, "b", 0)), lv("b", seg("striped", 0, 1, 0, "a", 0))},
			want: "0+4096 linear LV@0\n",
		}, {
			name: "too deep",
			lvs:  deep,
			want: "0+4096 linear LV@0\n",
		}, {
			name: "beyond the PV",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 2, 0, "pv0", 99))},
			want: "0+8192 error: extents 99-100 lie beyond the 100 extents of PV pv0\n",
		}, {
			name: "unknown area",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 2, 0, "pv7", 0))},
			want: "0+8192 error: the metadata names \"pv7\", which is neither a PV nor an LV of the VG\n",
		}, {
			name: "gap",
			lvs:  []*metadata.LV{lv("a", seg("striped", 2, 1, 0, "pv0", 0))},
			want: fmt.Sprintf("0+8192 error: no segment of a in the metadata covers this\n8192+4096 linear pv0@%d\n", pe0),
		}, {
			name: "overlap",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 1, 0, "pv0", 0), seg("striped", 1, 2, 0, "pv0", 1), seg("striped", 2, 2, 0, "pv0", 9))},
			want: fmt.Sprintf("0+4096 linear pv0@%d\n4096+8192 error: segments of a overlap in the metadata\n12288+4096 error: segments of a overlap in the metadata\n", pe0),
		}, {
			name: "stripes that do not divide",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 3, 8, "pv0", 0, "pv1", 0))},
			want: "0+12288 error: 12288 bytes cannot be dealt to 2 stripes in chunks of 4096\n",
		}, {
			name: "stripes without a size",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 2, 0, "pv0", 0, "pv1", 0))},
			want: "0+8192 error: 2 stripes without a stripe size\n",
		}, {
			name: "no stripes",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 2, 0))},
			want: "0+8192 error: the metadata names no stripes\n",
		}, {
			name: "no segments",
			lvs:  []*metadata.LV{lv("a")},
			err:  "LV vg/a: the metadata gives it no extents",
		}, {
			name: "more extents than there can be",
			lvs:  []*metadata.LV{lv("a", seg("striped", 1, math.MaxInt64/4096, 0, "pv0", 0))},
			err:  "more than there can be",
		}, {
			name: "area start beyond all bounds",
			lvs:  []*metadata.LV{lv("a", seg("striped", 0, 1, 0, "pv0", math.MaxInt64/4096))},
			want: fmt.Sprintf("0+4096 error: extent %d of pv0 is more than there can be\n", math.MaxInt64/4096),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			vg := testVG(c.lvs...)
			p, err := activate.New(vg, c.lvs[0], volume.OpenVolume)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, outline(p.Root))
		})
	}
}
