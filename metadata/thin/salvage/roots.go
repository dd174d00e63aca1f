package salvage

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// findRoots looks for the trees of devices whose place in the tree of devices is lost.
func (p *Pool) findRoots(remembered map[uint32]*thin.Details, lost []keys, h Hints) {
	ids := map[uint32]bool{}
	for id := range remembered {
		ids[id] = true
	}
	for id := range h.Devices {
		ids[id] = true
	}
	f := rootFinder{Pool: p, trees: p.looseTrees(), older: p.olderRoots(), whole: p.othersWhole()}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		i := slices.IndexFunc(lost, func(k keys) bool { return k.first <= uint64(id) && uint64(id) <= k.last })
		if i < 0 || p.Devices[id] != nil {
			continue
		}
		d := &Device{ID: id, Known: remembered[id], Root: ^uint64(0) - uint64(id)}
		p.Devices[id] = d
		pl := p.maps.lost(d.Root, 0, ^uint64(0), noHeight)
		p.maps.rootless = true
		pl.why = fmt.Errorf("where the tree of thin device %d begins is lost (%w)", id, lost[i].why)
		if d.Known != nil && d.Known.Mapped == 0 {
			continue // judge finds that nothing is missing
		}
		root, doubt := f.find(d)
		if root == 0 {
			d.note("the tree of devices is damaged where it tells of this one")
			continue
		}
		if doubt != "" {
			p.maps.doubt = "where the trees of other devices begin is not certain"
		}
		pl.parts = []btree.Part{{First: 0, Last: ^uint64(0), Block: root, Doubt: doubt}}
		p.maps.tree(root)
	}
}

// rootFinder finds the roots of devices of which the number of mappings is known.
type rootFinder struct {
	*Pool
	trees map[uint64]uint64   // the mappings of each tree that may be a device's
	older map[uint32][]uint64 // see olderRoots
	whole bool                // nothing else that is in use is lost
}

// find finds the root of one device; 0: none. Of intact trees that have as many mappings as
// the pool remembers of it one is the device's; an older tree of devices may say which.
//
// Where other blocks in use are lost, the device's own tree may be among them, and what is left
// with as many mappings a part of another device's. Of one mapping a leaf may be taken for one of
// another kind, so that the device's own is not among the trees.
func (f *rootFinder) find(d *Device) (uint64, string) {
	var equal []uint64
	for root, n := range f.trees {
		if d.Known != nil && n == d.Known.Mapped {
			equal = append(equal, root)
		}
	}
	older := func(root uint64) bool { return slices.Contains(f.older[d.ID], root) }
	switch named := slices.IndexFunc(equal, older); {
	case len(equal) == 1 && f.whole && d.Known.Mapped > 1:
		d.note("its tree begins at metadata block %d: no other in use has the %d mappings that the pool remembers of it", equal[0], d.Known.Mapped)
		return equal[0], ""
	case named >= 0:
		return equal[named], fmt.Sprintf("that the device's tree begins at metadata block %d is what an older tree of devices says", equal[named])
	case len(equal) == 1:
		return equal[0], fmt.Sprintf("the tree at metadata block %d has as many mappings, but may be another device's, or a part of one's", equal[0])
	case d.Known != nil:
		return 0, ""
	}
	for _, root := range f.older[d.ID] {
		if _, ok := f.trees[root]; ok {
			return root, fmt.Sprintf("that the device's tree begins at metadata block %d is what an older tree of devices says", root)
		}
	}
	return 0, ""
}

// othersWhole tells whether all blocks in use are valid, but for nodes of the tree of devices.
func (p *Pool) othersWhole() bool {
	if !p.usage.whole() {
		return false
	}
	lost := 0 // where nothing says which block the tree's root was, one that is lost is it
	if p.MappingRoot == 0 {
		lost--
	}
	for b, ok := range p.survey.known {
		if !ok && b != 0 && p.usage.of(uint64(b)) == useUsed && p.top.places[uint64(b)] == nil {
			lost++
		}
	}
	return lost <= 0
}

// looseTrees are the trees of mappings in use that nothing points at, or another device, and
// that have no loss, with the number of their mappings.
func (p *Pool) looseTrees() map[uint64]uint64 {
	trees := map[uint64]uint64{}
	for _, o := range append(p.maps.orphans(), p.maps.roots...) {
		if !p.maps.fits(o, 0, ^uint64(0)) {
			continue
		}
		scratch := newForest(p.survey, p.usage, mappings)
		if n, lost := scratch.walk(o, 0, ^uint64(0), p.survey.nodes[o].height, 0); lost == nil && len(scratch.order) == 0 {
			trees[o] = n
		}
	}
	return trees
}

// maxRoots bounds the older roots of one device that are looked at.
const maxRoots = 1024

// olderRoots lists for each device the roots that trees of devices of older commits have,
// those of the latest first.
func (p *Pool) olderRoots() map[uint32][]uint64 {
	all := map[uint32][]uint64{}
	for b := range p.survey.nodes {
		n := &p.survey.nodes[b]
		if n.content != devices && n.content != either || !n.leaf || p.top.reached.has(uint64(b)) {
			continue
		}
		for id, root := range p.survey.entries(uint64(b)) {
			if len(all[id]) < maxRoots && !slices.Contains(all[id], root) {
				all[id] = append(all[id], root)
			}
		}
	}
	for _, roots := range all {
		slices.SortFunc(roots, func(a, b uint64) int { return int(p.survey.nodes[b].time) - int(p.survey.nodes[a].time) })
	}
	return all
}

// maxHistory bounds the nodes of older trees that are looked at.
const maxHistory = 1 << 22

// owners tells of an orphan in which devices' older trees it is.
func (p *Pool) owners() func(orphan uint64) []uint32 {
	all := sync.OnceValue(p.olderOwners)
	return func(orphan uint64) []uint32 { return all()[orphan] }
}

// olderOwners finds of orphans the devices whose older trees have them.
func (p *Pool) olderOwners() map[uint64][]uint32 {
	owners := map[uint64][]uint32{}
	budget := maxHistory
	for id, roots := range p.olderRoots() {
		seen := map[uint64]bool{}
		var walk func(block, lo, hi uint64, depth int)
		walk = func(block, lo, hi uint64, depth int) {
			if budget--; budget < 0 || depth > maxDepth || seen[block] || !p.maps.fits(block, lo, hi) {
				return
			}
			seen[block] = true
			if p.maps.missing[block] > 0 {
				owners[block] = append(owners[block], id)
			}
			if !p.survey.nodes[block].leaf {
				p.survey.children(block, hi, func(c, lo, hi uint64) { walk(c, lo, hi, depth+1) })
			}
		}
		for _, root := range roots {
			walk(root, 0, ^uint64(0), 0)
		}
	}
	return owners
}
