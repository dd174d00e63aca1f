package rebuild

import "github.com/lvrescue/lvrescue/metadata"

// Removed is an LV that the current version of its VG no longer has.
type Removed struct {
	Version *Version // the newest that still has it
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
		if v.Meta.Seqno > g.Current.Meta.Seqno {
			continue
		}
		for _, lv := range v.Meta.LVs {
			if !seen[lv.ID] {
				seen[lv.ID] = true
				list = append(list, Removed{v, lv})
			}
		}
	}
	return list
}
