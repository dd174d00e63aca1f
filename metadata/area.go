package metadata

import "strings"

// TypeName is the segment type as the text has it, flags included: "raid5_ls+RESHAPE".
func (s *Segment) TypeName() string {
	return strings.Join(append([]string{s.Type}, s.TypeFlags...), "+")
}

// AreaExtents is the number of extents that the segment takes from each of its areas. Only
// striped segments deal their extents out; mirrors and pvmoves hold all of them in each
// area. Areas of RAID segments are whole LVs and have no share of their own.
func (s *Segment) AreaExtents() int64 {
	if n := int64(len(s.Areas)); n > 1 && (s.Type == "striped" || s.Type == "linear") {
		return s.ExtentCount / n
	}
	return s.ExtentCount
}
