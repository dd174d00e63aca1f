package rebuild

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// doubts lists, for each PV, the byte ranges that a version of the VG claims but may not
// own: extents that two of its LVs claim, and extents that a later version gave to others.
func (g *Group) doubts(v *Version) map[metadata.ID][]block.Extent {
	d := map[metadata.ID][]block.Extent{}
	keys := map[string]*metadata.PV{}
	for _, pv := range v.Meta.PVs {
		keys[pv.Key] = pv
	}
	add := func(pv *metadata.PV, start, count int64, why string) {
		es := v.Meta.ExtentSize * block.SectorSize
		d[pv.ID] = append(d[pv.ID], block.Extent{Off: pv.PEStart*block.SectorSize + start*es, Len: count * es, State: block.Doubtful, Why: why})
	}
	for _, o := range metadata.Overlaps(v.Meta) {
		if pv := keys[o.PVKey]; pv != nil {
			add(pv, o.Start, o.Count, fmt.Sprintf("LVs %s and %s both claim these extents", o.A, o.B))
		}
	}
	for _, later := range g.Versions {
		if later.Damage != nil || later.Meta.Seqno <= v.Meta.Seqno || later.Meta.ExtentSize != v.Meta.ExtentSize {
			continue
		}
		for id, taken := range reused(v.Meta, later.Meta) {
			i := slices.IndexFunc(v.Meta.PVs, func(p *metadata.PV) bool { return p.ID == id })
			for _, r := range taken {
				add(v.Meta.PVs[i], r.start, r.count, fmt.Sprintf("given to LV %s since, by seqno %d", r.lv, later.Meta.Seqno))
			}
		}
	}
	for id := range d {
		d[id] = disjoint(d[id])
	}
	return d
}

// run is a stretch of a PV's extents that belongs to one LV.
type run struct {
	start, count int64 // PE
	lv           string
	use          use
}

// use tells what part of which LV a run holds: two runs of the same use hold the same LE at
// the same PE.
type use struct {
	lv          metadata.ID
	area, areas int
	stripe      int64 // sectors
	base        int64 // LE minus PE where LEs follow PEs; else the segment's first LE
	first       int64 // PE of the area, where LEs do not follow PEs
}

// runs lists what every PV's extents are used for, sorted by place.
func runs(vg *metadata.VG) map[metadata.ID][]run {
	ids := map[string]metadata.ID{}
	for _, pv := range vg.PVs {
		ids[pv.Key] = pv.ID
	}
	m := map[metadata.ID][]run{}
	for _, lv := range vg.LVs {
		for _, s := range lv.Segments {
			for i, a := range s.Areas {
				id, ok := ids[a.Name]
				if !ok || s.ExtentCount <= 0 {
					continue
				}
				u := use{lv: lv.ID, area: i, areas: len(s.Areas), stripe: s.StripeSize, base: s.StartExtent - a.Start}
				if len(s.Areas) > 1 {
					u.base, u.first = s.StartExtent, a.Start
				}
				m[id] = append(m[id], run{start: a.Start, count: s.AreaExtents(), lv: lv.Name, use: u})
			}
		}
	}
	for _, r := range m {
		slices.SortFunc(r, func(a, b run) int { return cmp.Compare(a.start, b.start) })
	}
	return m
}

// reused lists the extents of old's LVs that hold something else in a later version:
// another LV, or another part of the same one.
func reused(old, later *metadata.VG) map[metadata.ID][]run {
	out := map[metadata.ID][]run{}
	is := runs(later)
	for id, was := range runs(old) {
		rest := is[id]
		for _, o := range was {
			for len(rest) > 0 && rest[0].start+rest[0].count <= o.start {
				rest = rest[1:]
			}
			for _, n := range rest {
				if n.start >= o.start+o.count {
					break
				}
				lo, hi := max(o.start, n.start), min(o.start+o.count, n.start+n.count)
				if lo < hi && o.use != n.use {
					out[id] = append(out[id], run{start: lo, count: hi - lo, lv: n.lv})
				}
			}
		}
	}
	return out
}

// disjoint sorts extents and cuts away where they overlap; the first reason stands.
func disjoint(e []block.Extent) []block.Extent {
	slices.SortStableFunc(e, func(a, b block.Extent) int { return cmp.Compare(a.Off, b.Off) })
	out := e[:0]
	var end int64
	for _, x := range e {
		if cut := end - x.Off; cut > 0 {
			x.Off, x.Len = x.Off+cut, x.Len-cut
		}
		if x.Len > 0 {
			out = append(out, x)
			end = x.End()
		}
	}
	return out
}
