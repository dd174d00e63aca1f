package metadata

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func foundCodes(found []Inconsistency) []string {
	var codes []string
	for _, i := range found {
		codes = append(codes, i.Code)
	}
	return codes
}

func TestCheckRealTexts(t *testing.T) {
	for name, raw := range textFiles(t) {
		t.Run(name, func(t *testing.T) {
			vg, err := ParseTolerant(raw)
			require.NoError(t, err)
			found := Check(vg)
			if strings.HasPrefix(name, "types.") {
				require.Equal(t, []string{"unknown-segment-type", "unknown-segment-type"}, foundCodes(found))
				return
			}
			require.Empty(t, found)
		})
	}
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		file   string
		oldnew []string
		want   []Inconsistency
	}{
		"overlap": {"linear.raw.vg", []string{"\"pv2\", 15\n", "\"pv2\", 14\n"}, []Inconsistency{
			{LV: "swap", PV: "pv2", Code: "overlap", Text: "LVs root and swap both lie on PE 14 to 14 of pv2"}}},
		"beyond the PV": {"linear.raw.vg", []string{"\"pv1\", 0\n", "\"pv1\", 42\n"}, []Inconsistency{
			{LV: "export", PV: "pv1", Segment: "segment1", Code: "beyond-pv", Text: "LV export, segment1: area 0 needs PE 42 to 71 of pv1, which has 63"}}},
		"gap": {"linear.raw.vg", []string{"start_extent = 35\n", "start_extent = 36\n"}, []Inconsistency{
			{LV: "root", Segment: "segment3", Code: "segment-gap", Text: "LV root, segment3: LE 35 to 35 before it are in no segment"}}},
		"segments overlap": {"linear.raw.vg", []string{"start_extent = 35\n", "start_extent = 33\n"}, []Inconsistency{
			{LV: "root", Segment: "segment3", Code: "segment-overlap", Text: "LV root, segment3: LE 33 to 34 are in the segment before it too"}}},
		"unknown PV": {"linear.raw.vg", []string{"\"pv1\", 30\n", "\"pv9\", 30\n"}, []Inconsistency{
			{LV: "root", Segment: "segment3", Code: "unknown-area", Text: "LV root, segment3: there is no PV or LV pv9 for area 0"}}},
		"small PV": {"linear.raw.vg", []string{"pv0 {\n", "pv0 {\ndev_size = 131071\n"}, []Inconsistency{
			{PV: "pv0", Code: "duplicate-field", Text: "PV pv0 has dev_size twice; the first counts"},
			{PV: "pv0", Code: "pv-too-small", Text: "PV pv0 has 131071 sectors, but its extents end at sector 131072"}}},
		"duplicate name": {"linear.raw.vg", []string{"swap {\n", "root {\n"}, []Inconsistency{
			{LV: "root", Code: "duplicate-name", Text: "there are two LVs named root"}}},
		"duplicate PV": {"linear.raw.vg", []string{"oXny0O-xoRF-kZAQ-ajEv-iE7U-WBf3-Qi5BzO", "UguNPG-oa1g-zkj5-XSOV-zdgD-5Q2j-8cRmry"}, []Inconsistency{
			{PV: "pv1", Code: "duplicate-uuid", Text: "PVs pv0 and pv1 have the same UUID UguNPG-oa1g-zkj5-XSOV-zdgD-5Q2j-8cRmry"}}},
		"uneven stripes": {"types.raw.vg", []string{"extent_count = 6\n\ntype = \"striped\"\nstripe_count = 3", "extent_count = 5\n\ntype = \"striped\"\nstripe_count = 3"}, []Inconsistency{
			{LV: "plain", Segment: "segment2", Code: "stripes-uneven", Text: "LV plain, segment2: 5 extents cannot be spread evenly over 3 stripes"},
			{LV: "plain", Segment: "segment3", Code: "segment-gap", Text: "LV plain, segment3: LE 10 to 10 before it are in no segment"}}},
		"self": {"types.raw.vg", []string{"origin = \"cached_corig\"", "origin = \"cached\""}, []Inconsistency{
			{LV: "cached", Code: "recursion", Text: "LV cached is part of itself"}}},
		"circle": {"types.raw.vg", []string{"data = \"fast_cpool_cdata\"", "data = \"cached\""}, []Inconsistency{
			{LV: "cached", Code: "recursion", Text: "LV cached is part of itself through fast_cpool"}}},
		"unknown LV": {"types.raw.vg", []string{"metadata = \"pool_tmeta\"", "metadata = \"lost\""}, []Inconsistency{
			{LV: "pool", Segment: "segment1", Code: "unknown-lv", Text: "LV pool, segment1: there is no LV lost for metadata"}}},
		"shared image": {"types.raw.vg", []string{"\"r4_rimage_1\"", "\"r4_rimage_0\""}, []Inconsistency{
			{LV: "r4", Segment: "segment1", Code: "shared-lv", Text: "LV r4, segment1: r4_rimage_0 is part of r4 already"}}},
		"image size": {"types.raw.vg", []string{"extent_count = 6\n\ntype = \"raid5_ls\"", "extent_count = 9\n\ntype = \"raid5_ls\""}, []Inconsistency{
			{LV: "r5", Segment: "segment1", Code: "image-size", Text: "LV r5, segment1: image r5_rimage_0 should have 3 extents, but has 2"},
			{LV: "r5", Segment: "segment1", Code: "image-size", Text: "LV r5, segment1: image r5_rimage_1 should have 3 extents, but has 2"},
			{LV: "r5", Segment: "segment1", Code: "image-size", Text: "LV r5, segment1: image r5_rimage_2 should have 3 extents, but has 2"},
			{LV: "r5", Segment: "segment1", Code: "image-size", Text: "LV r5, segment1: image r5_rimage_3 should have 3 extents, but has 2"}}},
		"unknown status": {"linear.raw.vg", []string{"\"ALLOCATABLE\"", "\"ALLOCATABLY\""}, []Inconsistency{
			{PV: "pv0", Code: "unknown-status", Text: `PV pv0 has the unknown status "ALLOCATABLY"`},
			{PV: "pv1", Code: "unknown-status", Text: `PV pv1 has the unknown status "ALLOCATABLY"`},
			{PV: "pv2", Code: "unknown-status", Text: `PV pv2 has the unknown status "ALLOCATABLY"`}}},
	} {
		t.Run(name, func(t *testing.T) {
			found := Check(decodeFile(t, test.file, test.oldnew...))
			if strings.HasPrefix(test.file, "types.") {
				known := func(i Inconsistency) bool { return i.Code == "unknown-segment-type" }
				rest := found[:0]
				for _, i := range found {
					if !known(i) {
						rest = append(rest, i)
					}
				}
				found = rest
			}
			require.Equal(t, test.want, found)
		})
	}
}

// TestCheckSegmentCount: decoding such a text is an error already, a VG may be made.
func TestCheckSegmentCount(t *testing.T) {
	vg := decodeFile(t, "linear.raw.vg")
	vg.LVs[0].Segments = vg.LVs[0].Segments[:2]
	require.Equal(t, []string{"segment-count"}, foundCodes(Check(vg)))
}

func TestOverlaps(t *testing.T) {
	seg := func(start, count int64) *Segment {
		return &Segment{Type: "striped", ExtentCount: count, Areas: []Area{{"pv0", start}}}
	}
	vg := &VG{PVs: []*PV{{Key: "pv0", PECount: 100}}, LVs: []*LV{
		{Name: "wide", Segments: []*Segment{seg(0, 50)}},
		{Name: "in", Segments: []*Segment{seg(10, 5)}},
		{Name: "in2", Segments: []*Segment{seg(12, 8)}},
		{Name: "edge", Segments: []*Segment{seg(45, 10)}},
		{Name: "free", Segments: []*Segment{seg(55, 5)}},
		{Name: "self", Segments: []*Segment{seg(90, 20), seg(95, 4000)}},
	}}
	require.Equal(t, []Overlap{
		{"pv0", 10, 5, "wide", "in"},
		{"pv0", 12, 8, "wide", "in2"},
		{"pv0", 45, 5, "wide", "edge"},
		{"pv0", 95, 5, "self", "self"},
	}, Overlaps(vg))
}

// TestCheckHostileChains builds the longest chains of LVs, with and without an end.
func TestCheckHostileChains(t *testing.T) {
	const n = 50000
	chain := func(last string) *VG {
		vg := &VG{}
		for i := range n {
			next := fmt.Sprintf("lv%d", i+1)
			if i == n-1 {
				next = last
			}
			vg.LVs = append(vg.LVs, &LV{Name: fmt.Sprintf("lv%d", i), SegmentCount: 1, Segments: []*Segment{
				{Key: "segment1", Type: "striped", ExtentCount: 1, Areas: []Area{{next, 0}}}}})
		}
		return vg
	}
	require.Equal(t, []string{"unknown-area"}, foundCodes(Check(chain("end"))))
	require.Equal(t, []string{"recursion"}, foundCodes(Check(chain("lv0"))))
}
