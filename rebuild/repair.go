package rebuild

import (
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

// repair fills what damaged texts have lost from the versions right before and behind them,
// where these are whole and agree: an LV that is in both in the same words was in between as
// well. Of anything that only one neighbour has, nothing is taken.
func (g *Group) repair() {
	for i, v := range g.Versions {
		if v.Damage == nil {
			continue
		}
		before, after := g.neighbour(i, -1), g.neighbour(i, 1)
		if before != nil && after != nil {
			v.repairFrom(before.Meta, after.Meta)
		}
	}
}

// neighbour is the whole version with the seqno before or behind that of the i-th, if there
// is exactly one.
func (g *Group) neighbour(i, step int) *Version {
	v := g.Versions[i]
	var found *Version
	for j := i + step; j >= 0 && j < len(g.Versions); j += step {
		w := g.Versions[j]
		switch {
		case w.era == v.era && w.Meta.Seqno == v.Meta.Seqno:
			continue // another copy of this version, or a fork of it
		case w.era != v.era || int64(w.Meta.Seqno) != int64(v.Meta.Seqno)+int64(step):
			return found
		case w.Damage != nil || found != nil && essence(w.Meta) != essence(found.Meta):
			if w.Damage == nil {
				return nil
			}
		default:
			found = w
		}
	}
	return found
}

// repairFrom replaces the LVs and PVs that are lost in the version by those of which both
// neighbours say the same.
func (v *Version) repairFrom(before, after *metadata.VG) {
	m := *v.Meta
	m.LVs, m.PVs = slices.Clone(m.LVs), slices.Clone(m.PVs)
	note := func(what, name string) { v.Repaired = append(v.Repaired, what+" "+name) }
	if m.ExtentSize == 0 && before.ExtentSize == after.ExtentSize && before.ExtentSize > 0 {
		m.ExtentSize = before.ExtentSize
		note("field", "extent_size")
	}
	for _, p := range before.PVs {
		j := slices.IndexFunc(after.PVs, func(q *metadata.PV) bool { return q.ID == p.ID })
		if j < 0 || p.Key != after.PVs[j].Key || !samePV(p, after.PVs[j]) {
			continue
		}
		if !slices.ContainsFunc(m.PVs, func(q *metadata.PV) bool { return q.ID == p.ID || q.Key == p.Key }) {
			m.PVs = append(m.PVs, p)
			note("PV", p.Key)
		}
	}
	for _, lv := range before.LVs {
		j := slices.IndexFunc(after.LVs, func(o *metadata.LV) bool { return o.ID == lv.ID })
		if j < 0 || lv.Name != after.LVs[j].Name || !sameLV(lv, after.LVs[j]) {
			continue
		}
		switch k := slices.IndexFunc(m.LVs, func(o *metadata.LV) bool { return o.ID == lv.ID || o.Name == lv.Name }); {
		case k < 0:
			m.LVs = append(m.LVs, lv)
			note("LV", lv.Name)
		case m.LVs[k].ID == lv.ID && m.LVs[k].Damaged != "":
			m.LVs[k] = lv
			note("LV", lv.Name)
		}
	}
	if len(v.Repaired) > 0 {
		v.Meta = &m
		v.Damage = fmt.Errorf("%w; repaired from the versions before and behind it, which agree", v.Damage)
	}
}

// samePV tells whether two texts say the same of a PV, but for the device that it was on.
func samePV(a, b *metadata.PV) bool {
	p, q := *a, *b
	p.Device, q.Device = "", ""
	return essence(&metadata.VG{PVs: []*metadata.PV{&p}}) == essence(&metadata.VG{PVs: []*metadata.PV{&q}})
}

// sameLV tells whether two texts say the same of an LV.
func sameLV(a, b *metadata.LV) bool {
	return essence(&metadata.VG{LVs: []*metadata.LV{a}}) == essence(&metadata.VG{LVs: []*metadata.LV{b}})
}
