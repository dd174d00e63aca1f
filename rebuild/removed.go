package rebuild

import (
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

// Removed is an LV that the current version of its VG no longer has.
type Removed struct {
	Version *Version // the newest that still has it, with all of its PVs if one has
	LV      *metadata.LV
}

// Removed lists the LVs that older versions have and the current one does not, the most
// recently removed first.
func (g *Group) Removed() []Removed {
	seen := map[metadata.ID]bool{}
	for _, lv := range g.Current.Meta.LVs {
		seen[lv.ID] = true
	}
	var list []Removed
	for i := len(g.Versions) - 1; i >= 0; i-- {
		v := g.Versions[i]
		if compareTime(v, g.Current) > 0 {
			continue
		}
		for _, lv := range v.Meta.LVs {
			if !seen[lv.ID] {
				seen[lv.ID] = true
				r := Removed{v, lv}
				if missesPV(v.Meta, lv.ID) {
					r = g.complete(i, lv)
				}
				list = append(list, r)
			}
		}
	}
	return list
}

// complete looks for an LV of the i-th version, of which PVs are flagged MISSING, in the
// versions before: while vgreduce --removemissing takes an LV apart, or lvremove one that is
// incomplete, the flags are there already.
func (g *Group) complete(i int, lv *metadata.LV) Removed {
	was := runs(g.Versions[i].Meta)
	found := Removed{g.Versions[i], lv}
	for ; i >= 0; i-- {
		v := g.Versions[i]
		j := slices.IndexFunc(v.Meta.LVs, func(o *metadata.LV) bool { return o.ID == lv.ID })
		if j < 0 || v.Damage != nil || !sameRuns(was, runs(v.Meta), lv.ID) {
			break
		}
		if !missesPV(v.Meta, lv.ID) {
			return Removed{v, v.Meta.LVs[j]}
		}
	}
	return found
}

// sameRuns tells whether an LV lies on the same extents in two versions.
func sameRuns(a, b map[metadata.ID][]run, lv metadata.ID) bool {
	of := func(m map[metadata.ID][]run, pv metadata.ID) (list []run) {
		for _, r := range m[pv] {
			if r.use.lv == lv {
				r.lv = "" // it may have been renamed
				list = append(list, r)
			}
		}
		return list
	}
	for _, m := range []map[metadata.ID][]run{a, b} {
		for pv := range m {
			if !slices.Equal(of(a, pv), of(b, pv)) {
				return false
			}
		}
	}
	return true
}

// missesPV tells whether an LV lies on a PV that is flagged MISSING.
func missesPV(vg *metadata.VG, lv metadata.ID) bool {
	if !slices.ContainsFunc(vg.PVs, flaggedMissing) {
		return false
	}
	used := runs(vg)
	return slices.ContainsFunc(vg.PVs, func(p *metadata.PV) bool {
		return flaggedMissing(p) && slices.ContainsFunc(used[p.ID], func(r run) bool { return r.use.lv == lv })
	})
}
