package scan

import (
	"fmt"
	"slices"
)

// carved is where a PV lies that only a search of the whole surface has found.
const carved = "found by carving"

// Carved tells whether nothing but a search of the whole surface has led to the PV.
func (p *PV) Carved() bool { return p.Where == carved }

// withPlaces adds the places that a search of the whole surface has found to the containers.
func (s *sourceScan) withPlaces(list []container) []container {
	if s.places == nil {
		return list
	}
	size := s.src.Dev.Size()
	for _, p := range s.places(s.src) {
		switch i := slices.IndexFunc(list, func(c container) bool { return c.start == p.Offset }); {
		case i >= 0:
			list[i].areas = p.Areas
			continue
		case p.Offset < 0 && len(p.Areas) == 0, p.Offset < -MaxLacking, p.Offset >= size:
			continue
		}
		n := size - p.Offset
		if p.Size > 0 {
			n = p.Size
		}
		list = append(list, container{start: p.Offset, size: n, where: carved, areas: p.Areas})
	}
	return list
}

// doubtCarved doubts carved PVs within others: what stands there may be a PV inside an LV, whose
// bytes need not follow each other, or be left over from another time.
func (s *sourceScan) doubtCarved() {
	for _, pv := range s.pvs {
		if !pv.Carved() || pv.Doubt != "" {
			continue
		}
		for _, o := range s.pvs {
			if o == pv || o.Label == nil || o.Offset > pv.Offset || pv.Offset-o.Offset >= o.Label.DeviceSize {
				continue
			}
			pv.Doubt = fmt.Sprintf("%s lies within the PV at %s: it may belong to an LV there, or be left over from before", pv, o)
			s.find(Warning, "pv-within", pv.Offset, "%s", pv.Doubt)
			break
		}
	}
}
