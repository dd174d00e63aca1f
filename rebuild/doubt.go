package rebuild

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// doubts lists, for a PV of the VG, the byte ranges that the version claims but may not own:
// extents that two of its LVs claim; extents that a later version gave to others, be it of
// this VG or of one that took the PV over; and those that no later version says to have been
// left alone all the time.
func (vg *VG) doubts(p *PV, was []run, overlaps []metadata.Overlap, gaps []Gap) []block.Extent {
	g, v, es := vg.Group, vg.Version, vg.Meta.ExtentSize
	state := block.Doubtful
	if g.result.strict {
		state = block.Bad
	}
	var d []block.Extent
	add := func(state block.State, start, count int64, why string) {
		d = append(d, block.Extent{Off: start * block.SectorSize, Len: count * block.SectorSize, State: state, Why: why})
	}
	for _, o := range overlaps {
		if o.PVKey == p.Meta.Key {
			add(block.Doubtful, p.Meta.PEStart+o.Start*es, o.Count*es, fmt.Sprintf("LVs %s and %s both claim these extents", o.A, o.B))
		}
	}
	if len(was) == 0 {
		return paint(d) // nothing that another could have taken
	}
	var taken []taking
	for _, t := range vg.tenants(p) {
		for _, group := range g.result.users[t.id] {
			taken = append(taken, group.takings(g, v, was, t.id, t.shift)...)
		}
	}
	slices.SortStableFunc(taken, taking.compare)
	for _, t := range taken {
		add(state, t.start, t.count, t.why(g))
	}
	for _, gap := range gaps {
		i := slices.Index(g.Versions, gap.Before)
		for _, r := range was {
			for _, l := range g.claimed().lost(p.Meta.ID, r, i) {
				add(state, l.start, l.count, gap.String()+" not found whole: these extents may have been given to others then")
			}
		}
	}
	return paint(d)
}

// after tells whether version w of this group was written later than v of another, as far
// as seqnos of one VG, and clocks between two, can tell.
func (g *Group) after(w *Version, of *Group, v *Version) bool {
	if g == of {
		return compareTime(w, v) > 0
	}
	return !w.Meta.CreationTime.Before(v.Meta.CreationTime)
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
	area, areas int   // which area of the segment, of how many
	stripe      int64 // sectors
	base        int64 // sector of the LV minus that of the PV, where one follows the other; else the segment's first
	first       int64 // sector of the PV where the area begins, where they do not
}

// begins tells whether the run holds the LV's first bytes.
func (r run) begins() bool {
	if r.use.areas > 1 {
		return r.use.area == 0 && r.use.base == 0
	}
	return r.use.base == -r.start
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

// paint lays extents one under the other: where they overlap, the first stands. The result
// is sorted.
func paint(list []block.Extent) []block.Extent {
	var out []block.Extent // sorted, apart
	for _, x := range list {
		i, _ := slices.BinarySearchFunc(out, x.Off, func(e block.Extent, off int64) int { return cmp.Compare(e.End()-1, off) })
		for at := x.Off; at < x.End(); i++ {
			next := x.End()
			if i < len(out) {
				next = min(next, out[i].Off)
			}
			if at < next {
				piece := x
				piece.Off, piece.Len = at, next-at
				out = slices.Insert(out, i, piece)
				i++
			}
			if i >= len(out) {
				break
			}
			at = max(next, out[i].End())
		}
	}
	return out
}
