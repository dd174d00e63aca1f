package activate

import (
	"fmt"
	"sort"
)

// maxPieces bounds how many pieces a volume may come to when all LVs below are followed to
// the PVs. LVs that are made of each other many times over have more than can be walked;
// lvm2 makes at most as many as the LVs have segments, and their squares while one is moved.
const maxPieces = 1 << 22

// countPieces fills v.pieces: how many pieces lie before each segment's end.
func (v *Volume) countPieces() error {
	v.pieces = make([]int64, len(v.Segments))
	total := int64(0)
	for i, s := range v.Segments {
		n := int64(1)
		for _, in := range s.Target.Inputs() {
			if in.Volume == nil {
				n++
			} else if _, ok := s.Target.(Linear); ok {
				n += in.Volume.piecesIn(in.Off, s.Len)
			} else {
				n += in.Volume.piecesIn(0, in.Volume.Size)
			}
		}
		if total += n; total > maxPieces {
			return fmt.Errorf("LV %s comes to more than %d pieces: the metadata makes LVs of each other many times over", v.LV.Name, maxPieces)
		}
		v.pieces[i] = total
	}
	return nil
}

// piecesIn counts the pieces in n bytes from off on.
func (v *Volume) piecesIn(off, n int64) int64 {
	first := sort.Search(len(v.Segments), func(i int) bool { return v.Segments[i].Off+v.Segments[i].Len > off })
	last := sort.Search(len(v.Segments), func(i int) bool { return v.Segments[i].Off >= off+n }) - 1
	if first > last || last >= len(v.pieces) {
		return 1
	}
	before := int64(0)
	if first > 0 {
		before = v.pieces[first-1]
	}
	return v.pieces[last] - before
}

// Widest is the most pieces that one segment of the volume comes to: about what a read that
// is no longer than a segment may have to look at.
func (v *Volume) Widest() int64 {
	most, before := int64(1), int64(0)
	for _, n := range v.pieces {
		most, before = max(most, n-before), n
	}
	if len(v.pieces) == 0 { // made for its user out of others
		for _, s := range v.Segments {
			for _, in := range s.Target.Inputs() {
				if in.Volume != nil {
					most = max(most, in.Volume.Widest())
				}
			}
		}
	}
	return most
}
