package metadata

import (
	"cmp"
	"slices"
)

// Overlap is a run of PE of a PV that more than one area claims. At most one of them can
// hold what it should, and the text does not tell which.
type Overlap struct {
	PVKey        string
	Start, Count int64  // PE
	A, B         string // two of the LVs whose areas lie there; the same one twice, if it claims them twice
}

// claim is a run of PE that one area of an LV lies on.
type claim struct {
	pv         int32 // index
	start, end int64 // PE; end is the first one behind
	lv         *LV
}

// Overlaps finds every PE that is claimed more than once. The overlaps of a PV are in order
// of Start; a PE claimed more than twice is in several. Whoever reads a PE that is in any of
// them must hold it for doubtful, whichever LV asks.
func Overlaps(vg *VG) []Overlap {
	claims := vg.claims()
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.pv, b.pv), cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	var found []Overlap
	var widest claim // of those so far on this PV, the one that ends last
	for i, c := range claims {
		if i == 0 || c.pv != widest.pv {
			widest = c
			continue
		}
		if c.start < widest.end {
			found = append(found, Overlap{vg.PVs[c.pv].Key, c.start, min(c.end, widest.end) - c.start, widest.lv.Name, c.lv.Name})
		}
		if c.end > widest.end {
			widest = c
		}
	}
	return found
}

// claims lists the areas of all LVs that lie on PVs of the VG, as far as the PVs reach.
func (vg *VG) claims() []claim {
	pvs := make(map[string]int32, len(vg.PVs))
	for i, pv := range vg.PVs {
		if _, twice := pvs[pv.Key]; !twice {
			pvs[pv.Key] = int32(i)
		}
	}
	var claims []claim
	for _, lv := range vg.LVs {
		for _, s := range lv.Segments {
			n := s.AreaExtents()
			for _, a := range s.Areas {
				pv, ok := pvs[a.Name]
				if !ok {
					continue
				}
				if end := min(a.Start+n, vg.PVs[pv].PECount); a.Start < end {
					claims = append(claims, claim{pv, a.Start, end, lv})
				}
			}
		}
	}
	return claims
}
