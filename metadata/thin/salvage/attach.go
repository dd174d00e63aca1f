package salvage

import (
	"cmp"
	"fmt"
	"slices"
	"sort"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

// maxFits bounds how many places are tried for orphans in all.
const maxFits = 1 << 28

// attach gives orphans back to the places that nodes of their keys are missing from. A node
// that misses so many parents belongs to as many places: where no more come into question,
// there is no doubt. Of the others owners tells which devices had them once; nil: they stay
// lost.
func (f *forest) attach(owners func(orphan uint64) []uint32) {
	if len(f.order) == 0 {
		return
	}
	budget := maxFits
	var open []uint64
	for _, o := range f.orphans() {
		among, taken := f.placesFor(o, &budget)
		switch {
		case len(among) == 0:
			f.Loose = append(f.Loose, o)
		case len(among) <= f.missing[o]:
			f.give(o, among, cmp.Or(f.unsure(o), taken))
		default:
			open = append(open, o)
		}
	}
	if owners == nil {
		f.Loose = append(f.Loose, open...)
		return
	}
	f.guess(open, owners, &budget)
}

// unsure says why an orphan may not be of these trees at all; "" when it is. A leaf of one
// value looks alike in the tree of all devices, of which older ones are left.
func (f *forest) unsure(o uint64) string {
	if f.nodes[o].content == f.content {
		return f.survey.doubt(o)
	}
	return fmt.Sprintf("metadata block %d may belong to a tree of another kind", o)
}

// placesFor lists the places that an orphan can belong to. doubt says why one that is not
// listed may be its own all the same: what was put there in doubt leaves no room for it.
func (f *forest) placesFor(o uint64, budget *int) (among []*place, doubt string) {
	const taken = "what is taken to belong to the other places that metadata block %d could belong to is doubtful itself"
	n := &f.nodes[o]
	lo, hi, weight := n.first, f.end(o), f.weigh(o, budget, 0)
	for _, p := range f.order {
		if *budget--; *budget < 0 {
			return nil, ""
		}
		if lo < p.lo || hi > p.hi || p.height != noHeight && n.height >= p.height {
			continue
		}
		i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].Last >= lo })
		switch {
		case i < len(p.parts) && p.parts[i].First <= hi:
			f.contest(o, &p.parts[i])
			for ; i < len(p.parts) && p.parts[i].First <= hi; i++ {
				if p.parts[i].Doubt != "" || f.survey.doubt(p.parts[i].Block) != "" {
					doubt = fmt.Sprintf(taken, o)
				}
			}
		case f.roomFor(p, weight):
			among = append(among, p)
		case f.guessed || slices.ContainsFunc(p.owners, func(id uint32) bool { return f.given[id] }):
			doubt = fmt.Sprintf(taken, o)
		}
	}
	return among, doubt
}

// contest makes a leaf doubtful that has the keys of another, where the space map does not
// say which of them is in use.
func (f *forest) contest(o uint64, part *btree.Part) {
	if part.Empty || part.Doubt != "" || !f.nodes[o].leaf || !f.nodes[part.Block].leaf {
		return
	}
	if f.usage.of(o) == useUnknown || f.usage.of(part.Block) == useUnknown {
		part.Doubt = fmt.Sprintf("metadata block %d claims the same part of the device", o)
	}
}

// roomFor tells whether all devices that have a place miss as many mappings.
func (f *forest) roomFor(p *place, mappings uint64) bool {
	return !slices.ContainsFunc(p.owners, func(id uint32) bool {
		room, known := f.room[id]
		return known && room < mappings
	})
}

// weigh counts the entries below a block without regard to what was reached.
func (f *forest) weigh(block uint64, budget *int, depth int) uint64 {
	n := &f.nodes[block]
	switch *budget--; {
	case n.leaf:
		return uint64(n.entries)
	case *budget < 0 || depth == maxDepth:
		return 0
	}
	sum := uint64(0)
	f.children(block, ^uint64(0), func(c, lo, hi uint64) {
		if f.fits(c, lo, hi) {
			sum += f.weigh(c, budget, depth+1)
		}
	})
	return sum
}

// end is the last key that the subtree at a block is known to have.
func (f *forest) end(block uint64) uint64 {
	last := f.nodes[block].last
	for range maxDepth {
		if f.nodes[block].leaf {
			return f.nodes[block].last
		}
		next, usable := block, false
		f.children(block, ^uint64(0), func(c, lo, hi uint64) {
			next, usable = c, f.fits(c, lo, hi) && f.nodes[c].entries > 0
			last = lo
		})
		if !usable {
			break
		}
		block = next
	}
	return last
}

// give makes an orphan a part of places.
func (f *forest) give(o uint64, to []*place, doubt string) {
	if doubt == "" && f.usage.of(o) == useUnknown {
		doubt = fmt.Sprintf("whether metadata block %d is still in use is not known: the space map that would tell is lost", o)
	}
	if doubt == "" && f.doubt != "" {
		doubt = fmt.Sprintf("metadata block %d was found by its keys: %s", o, f.doubt)
	}
	part := btree.Part{First: f.nodes[o].first, Last: f.end(o), Block: o, Doubt: doubt}
	known := len(f.order)
	count, _ := f.walk(o, part.First, part.Last, f.nodes[o].height, 0)
	for _, p := range to {
		i := sort.Search(len(p.parts), func(i int) bool { return p.parts[i].First > part.First })
		p.parts = slices.Insert(p.parts, i, part)
		for _, id := range p.owners {
			if room, ok := f.room[id]; ok {
				f.room[id] = room - min(room, count)
			}
			if doubt != "" {
				f.given[id] = true
			}
			for _, below := range f.order[known:] {
				below.own(id)
			}
		}
	}
}

// total counts the entries of the subtree at a block, what was given back included.
func (f *forest) total(block uint64, budget *int) uint64 {
	if *budget--; *budget < 0 {
		return 0
	}
	if p := f.places[block]; p != nil && !f.reached.has(block) {
		return f.totalPlace(p, budget)
	}
	if f.nodes[block].leaf {
		return uint64(f.nodes[block].entries)
	}
	s := f.sub[block]
	n := s.entries
	for _, p := range s.places {
		n += f.totalPlace(p, budget)
	}
	for _, b := range s.below {
		n += f.total(b, budget) - f.sub[b].entries
	}
	return n
}

func (f *forest) totalPlace(p *place, budget *int) uint64 {
	n := uint64(0)
	for _, part := range p.parts {
		if !part.Empty {
			n += f.total(part.Block, budget)
		}
	}
	return n
}

// each visits the places in the subtree at a block, those below what was given back too.
func (f *forest) each(block uint64, budget *int, visit func(*place)) {
	if *budget--; *budget < 0 {
		return
	}
	if p := f.places[block]; p != nil && !f.reached.has(block) {
		f.eachPlace(p, budget, visit)
		return
	}
	s := f.sub[block]
	for _, p := range s.places {
		f.eachPlace(p, budget, visit)
	}
	for _, b := range s.below {
		f.each(b, budget, visit)
	}
}

func (f *forest) eachPlace(p *place, budget *int, visit func(*place)) {
	visit(p)
	for i := range p.parts {
		if !p.parts[i].Empty {
			f.each(p.parts[i].Block, budget, visit)
		}
	}
}

// fill makes what lies between a place's parts empty: it is known that nothing is missing.
func (p *place) fill(doubt string) {
	var all []btree.Part
	next, open := p.lo, true
	for _, part := range p.parts {
		if part.First > next {
			all = append(all, btree.Part{First: next, Last: part.First - 1, Empty: true, Doubt: doubt})
		}
		all = append(all, part)
		next, open = part.Last+1, part.Last < p.hi
	}
	if open {
		all = append(all, btree.Part{First: next, Last: p.hi, Empty: true, Doubt: doubt})
	}
	p.parts = all
}

// rebuilt is what the places have become.
func (f *forest) rebuilt() map[uint64]*btree.Rebuilt {
	all := map[uint64]*btree.Rebuilt{}
	for _, p := range f.order {
		if len(p.parts) > 0 || p.why != nil {
			all[p.block] = &btree.Rebuilt{Parts: p.parts, Why: p.why}
		}
	}
	return all
}
