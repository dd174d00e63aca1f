package rebuild

import (
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Match says where a PV lies that no label tells of: what speaks for it was worked out from
// more than the evidence of a scan, see package activate/match.
type Match struct {
	PV        metadata.ID
	At        *scan.PV
	Why       string // what speaks for it
	Confirmed bool   // by what stands where the PV's LVs say it must; otherwise all is in doubt
	From      int64  // what lies before that byte of the PV is in doubt in any case
}

// Absent is a PV of some version of a group that no label was found of.
type Absent struct {
	Version *Version // the newest that has it
	PV      *metadata.PV
	Placed  *scan.PV // a disk that it was placed on all the same, in doubt; nil for none
}

// Absent lists the PVs of all versions of the group that no label tells of, but for those
// that the user has placed.
func (g *Group) Absent() []Absent {
	seen := map[metadata.ID]bool{}
	for _, m := range g.result.matched {
		seen[m.PV] = true
	}
	var list []Absent
	visit := func(v *Version) {
		var vg *VG
		for _, m := range v.Meta.PVs {
			if m.ID == "" || seen[m.ID] || g.result.labelled[m.ID] {
				continue
			}
			seen[m.ID] = true
			if vg == nil {
				vg = g.At(v)
			}
			list = append(list, Absent{v, m, vg.PV(m.Key).Found})
		}
	}
	visit(g.Current)
	for _, v := range slices.Backward(g.Versions) {
		visit(v)
	}
	return list
}

// Carries tells whether any text of the group stands on a disk that was found.
func (g *Group) Carries(f *scan.PV) bool {
	return slices.ContainsFunc(g.Versions, func(v *Version) bool {
		return slices.ContainsFunc(v.Copies, func(c *scan.Copy) bool { return c.Area != nil && c.Area.PV == f })
	})
}

// Used is the evidence that the result rests on: without what the user left out.
func (r *Result) Used() *scan.Evidence { return r.evidence }

// Placed lists the places that the user named for PVs; their labels are what the user said.
func (r *Result) Placed() []*scan.PV { return r.placed }

// Suppose is the VG with a PV on a place, whatever speaks against it: to look at what would
// follow. Nothing of the PV is in doubt then.
func (vg *VG) Suppose(id metadata.ID, at *scan.PV) *VG {
	s := &VG{Group: vg.Group, Version: vg.Version, Meta: vg.Meta}
	for _, p := range vg.PVs {
		if p.Meta.ID == id {
			p = &PV{Meta: p.Meta, Found: at}
			p.Dev = block.NewSection(at.Dev, 0, pvSize(vg.Meta, p.Meta), fmt.Sprintf("%s ends before PV %s does", at.Source.Name, p.Meta.Key))
		}
		s.PVs = append(s.PVs, p)
	}
	return s
}

// Without is the VG with a PV missing.
func (vg *VG) Without(id metadata.ID) *VG {
	s := &VG{Group: vg.Group, Version: vg.Version, Meta: vg.Meta}
	for _, p := range vg.PVs {
		if p.Meta.ID == id {
			p = &PV{Meta: p.Meta, Dev: block.NewBad(pvSize(vg.Meta, p.Meta), "left out")}
		}
		s.PVs = append(s.PVs, p)
	}
	return s
}

// placeMatched uses a place that was found by more than the evidence of the scan.
func (vg *VG) placeMatched(p *PV) {
	i := slices.IndexFunc(vg.Group.result.matched, func(m Match) bool { return m.PV == p.Meta.ID })
	if i < 0 || !p.Missing() {
		return
	}
	m := vg.Group.result.matched[i]
	if vg.taken(m.At) {
		return
	}
	p.Found = m.At
	text := fmt.Sprintf("%s has no label of PV %s, but is taken for it: %s", m.At, p.Meta.Key, m.Why)
	if m.Confirmed {
		p.from = m.From
		vg.note(scan.Info, "placed-by-content", m.At, "%s", text)
		return
	}
	p.suspect(text)
	vg.note(scan.Warning, "placed-by-match", m.At, "%s", text)
}
