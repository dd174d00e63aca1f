package rebuild

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// doubts lists, for each PV, the byte ranges that a version of the VG claims but may not
// own: extents that two of its LVs claim, and extents that a later version gave to others,
// be it of this VG or of one that took the PV over.
func (g *Group) doubts(v *Version) map[metadata.ID][]block.Extent {
	d := map[metadata.ID][]block.Extent{}
	add := func(id metadata.ID, start, count int64, why string) {
		d[id] = append(d[id], block.Extent{Off: start * block.SectorSize, Len: count * block.SectorSize, State: block.Doubtful, Why: why})
	}
	pvs, es := byKey(v.Meta), v.Meta.ExtentSize
	for _, o := range metadata.Overlaps(v.Meta) {
		pv := pvs[o.PVKey]
		add(pv.ID, pv.PEStart+o.Start*es, o.Count*es, fmt.Sprintf("LVs %s and %s both claim these extents", o.A, o.B))
	}
	was := runs(v.Meta)
	if len(was) == 0 {
		return d // nothing that another could have taken
	}
	for _, group := range g.result.Groups {
		for _, w := range group.Versions {
			if !group.after(w, g, v) || !sharesPV(w.Meta, was) {
				continue
			}
			name := w.Meta.Name + "/"
			if group == g {
				name = ""
			}
			for id, taken := range reused(was, runs(w.Meta)) {
				for _, r := range taken {
					add(id, r.start, r.count, fmt.Sprintf("given to LV %s%s since, by seqno %d", name, r.lv, w.Meta.Seqno))
				}
			}
		}
	}
	for id := range d {
		d[id] = disjoint(d[id])
	}
	return d
}

// after tells whether version w of this group was written later than v of another, as far
// as seqnos of one VG, and clocks between two, can tell.
func (g *Group) after(w *Version, of *Group, v *Version) bool {
	switch {
	case w.Damage != nil:
		return false
	case g == of:
		return w.Meta.Seqno > v.Meta.Seqno
	}
	return !w.Meta.CreationTime.Before(v.Meta.CreationTime)
}

func sharesPV(vg *metadata.VG, used map[metadata.ID][]run) bool {
	return slices.ContainsFunc(vg.PVs, func(p *metadata.PV) bool { return used[p.ID] != nil })
}

// byKey finds PVs by their keys; of two of one key the first counts.
func byKey(vg *metadata.VG) map[string]*metadata.PV {
	pvs := make(map[string]*metadata.PV, len(vg.PVs))
	for _, pv := range slices.Backward(vg.PVs) {
		pvs[pv.Key] = pv
	}
	return pvs
}

// run is a stretch of a PV that belongs to one LV.
type run struct {
	start, count int64 // sectors from the PV's first
	lv           string
	use          use
}

// use tells what part of which LV a run holds: two runs of the same use hold the same
// sector of the LV at the same place.
type use struct {
	lv          metadata.ID
	area, areas int
	stripe      int64 // sectors
	base        int64 // sector of the LV minus that of the PV, where one follows the other; else the segment's first
	first       int64 // sector of the PV where the area begins, where they do not
}

// runs lists what the PVs' extents are used for, sorted by place. What a pvmove moves away
// is not used for anything new.
func runs(vg *metadata.VG) map[metadata.ID][]run {
	pvs, es := byKey(vg), vg.ExtentSize
	m := map[metadata.ID][]run{}
	for _, lv := range vg.LVs {
		moving := slices.Contains(lv.Status, "PVMOVE")
		for _, s := range lv.Segments {
			for i, a := range s.Areas {
				pv := pvs[a.Name]
				if pv == nil || s.ExtentCount <= 0 || moving && i == 0 {
					continue
				}
				first := pv.PEStart + a.Start*es
				u := use{lv: lv.ID, area: i, areas: len(s.Areas), stripe: s.StripeSize, base: s.StartExtent*es - first}
				if len(s.Areas) > 1 {
					u.base, u.first = s.StartExtent*es, first
				}
				m[pv.ID] = append(m[pv.ID], run{start: first, count: s.AreaExtents() * es, lv: lv.Name, use: u})
			}
		}
	}
	for _, r := range m {
		slices.SortFunc(r, func(a, b run) int { return cmp.Compare(a.start, b.start) })
	}
	return m
}

// reused lists where LVs once were and something else is now: another LV, or another part
// of the same one.
func reused(was, is map[metadata.ID][]run) map[metadata.ID][]run {
	out := map[metadata.ID][]run{}
	for id, old := range was {
		rest := is[id]
		for _, o := range old {
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
