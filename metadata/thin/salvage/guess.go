package salvage

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// guess gives away the orphans that could belong to several places, by what is likely: an
// older tree of the device had it; its keys, its blocks of data or its own number go on
// where a neighbour's end. All of it is doubtful. What nothing speaks for stays lost.
func (f *forest) guess(open []uint64, owners func(uint64) []uint32, budget *int) {
	sort.SliceStable(open, func(i, j int) bool { return f.nodes[open[i]].first < f.nodes[open[j]].first })
	for len(open) > 0 {
		var rest []uint64
		for _, o := range open {
			among, _ := f.placesFor(o, budget)
			to, why := among, "the other places that it could belong to are taken"
			if len(among) > f.missing[o] {
				to, why = f.likely(o, among, owners(o))
			}
			switch {
			case len(among) == 0:
				f.Loose = append(f.Loose, o)
			case len(to) == 0:
				rest = append(rest, o)
			default:
				f.give(o, to, fmt.Sprintf("which of several damaged trees metadata block %d belongs to is not certain: %s", o, why))
			}
		}
		if len(rest) < len(open) {
			open = rest
			continue
		}
		// Of whole trees that nothing tells apart, a snapshot and its origin, one is better
		// than none: they have most in common.
		i := slices.IndexFunc(rest, func(o uint64) bool { return f.nodes[o].height > 0 })
		if i < 0 {
			f.Loose = append(f.Loose, rest...)
			return
		}
		among, _ := f.placesFor(rest[i], budget)
		f.give(rest[i], among[:min(f.missing[rest[i]], len(among))], fmt.Sprintf("which of %d damaged trees metadata block %d belongs to cannot be told", len(among), rest[i]))
		open = slices.Delete(rest, i, i+1)
	}
}

// likely chooses from places those that an orphan belongs to, as many as it misses parents,
// and says why; none when it cannot be told.
func (f *forest) likely(o uint64, among []*place, owners []uint32) ([]*place, string) {
	var old []*place
	for _, p := range among {
		if slices.ContainsFunc(owners, func(id uint32) bool { _, ok := slices.BinarySearch(p.owners, id); return ok }) {
			old = append(old, p)
		}
	}
	if len(old) > 0 && len(old) <= f.missing[o] {
		return old, "it was in an older tree of the device"
	}
	type bid struct {
		p    *place
		cost float64
	}
	var bids []bid
	for _, p := range among {
		bids = append(bids, bid{p, f.cost(o, p)})
	}
	slices.SortStableFunc(bids, func(a, b bid) int { return cmp.Compare(a.cost, b.cost) })
	n := f.missing[o]
	if bids[n-1].cost >= unlikely || bids[n].cost-bids[n-1].cost < margin {
		return nil, ""
	}
	var to []*place
	for _, b := range bids[:n] {
		to = append(to, b.p)
	}
	return to, "its keys, data and place go on where those of its neighbours end"
}

const (
	unlikely = 8   // the cost of what nothing speaks for
	margin   = 1.5 // by which one cost must be lower than the other
)

// cost says how unlikely it is that an orphan belongs to a place.
func (f *forest) cost(o uint64, p *place) float64 {
	n := &f.nodes[o]
	if !n.leaf {
		return f.weightCost(o, p)
	}
	own := btree.Part{Block: o}
	before, after := btree.Part{Block: p.before, Empty: p.before == 0}, btree.Part{Block: p.after, Empty: p.after == 0}
	i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].First > n.first })
	if i > 0 {
		before = p.parts[i-1]
	}
	if i < len(p.parts) {
		after = p.parts[i]
	}
	cost := min(f.neighbours(before, own), f.neighbours(own, after))
	if cost >= unlikely && p.lo > 0 && n.first == p.lo { // a parent's key is the first of its child
		return unlikely / 4
	}
	return cost
}

// weightCost compares what an orphan of several levels has with what a device misses.
func (f *forest) weightCost(o uint64, p *place) float64 {
	budget := maxOwned
	weight := f.weigh(o, &budget, 0)
	for _, id := range p.owners {
		if room, ok := f.room[id]; ok && weight > 0 {
			return math.Log2(float64(room) / float64(weight))
		}
	}
	return unlikely
}

// neighbours says how unlikely it is that two leaves follow each other in one tree.
func (f *forest) neighbours(a, b btree.Part) float64 {
	if a.Empty || b.Empty || !f.nodes[a.Block].leaf || !f.nodes[b.Block].leaf {
		return unlikely
	}
	x, y := &f.nodes[a.Block], &f.nodes[b.Block]
	step, next := x.step(), y.step()
	gap := float64(y.first-x.last) / ((step + next) / 2)
	cost := math.Abs(math.Log2(gap)) + 2*math.Abs(math.Log2(step/next)) + math.Log2(1+math.Abs(float64(a.Block)-float64(b.Block)))/4
	if before, err := f.r.Node(a.Block); err == nil {
		if after, err := f.r.Node(b.Block); err == nil {
			end, _ := thin.Mapping(before.Uint64(before.Entries - 1))
			if start, _ := thin.Mapping(after.Uint64(0)); start == end+1 {
				cost -= 2
			}
		}
	}
	return cost
}

// step is the mean distance of a leaf's keys.
func (n *node) step() float64 {
	if n.entries < 2 {
		return 1
	}
	return float64(n.last-n.first) / float64(n.entries-1)
}
