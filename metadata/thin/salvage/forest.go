package salvage

import (
	"cmp"
	"slices"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

// forest is the trees of one kind that a commit has, in which nodes are lost: places, to
// which nodes that nothing points at any more can be given back.
type forest struct {
	*survey
	usage    *usage
	content  content
	reached  bits
	places   map[uint64]*place // by the lost block's number
	order    []*place
	sub      map[uint64]sub    // of internal nodes that were walked
	roots    []uint64          // each as often as something that is left names it
	missing  map[uint64]int    // of orphans: how many parents
	rootless bool              // the roots of whole trees are lost
	room     map[uint32]uint64 // of devices: how many mappings they miss, where that is known
	given    map[uint32]bool   // devices that something was given back to in doubt
	doubt    string            // why what is given back may belong elsewhere; "" when it does not
	Loose    []uint64          // nodes in use that have no parent and were given to none
}

// place is a node that cannot be used, and the keys it stands for.
type place struct {
	block  uint64
	lo, hi uint64
	height int8     // noHeight: not known
	owners []uint32 // devices whose trees have it
	parts  []btree.Part

	before, after uint64 // leaves that the tree has in front of and behind it; 0: not known

	why error // what is said of the keys that are lost; nil: why the node cannot be used
}

// sub is what is below an internal node.
type sub struct {
	entries uint64 // of leaves that are there
	places  []*place
	below   []uint64 // internal nodes that have places below them
}

func newForest(s *survey, u *usage, c content) *forest {
	return &forest{survey: s, usage: u, content: c, reached: newBits(len(s.nodes)), places: map[uint64]*place{}, sub: map[uint64]sub{}, given: map[uint32]bool{}}
}

// fits tells whether a node can be one of the forest's that stands for the keys lo to hi.
func (f *forest) fits(block, lo, hi uint64) bool {
	if !f.valid(block, lo, hi) {
		return false
	}
	switch n := &f.nodes[block]; n.content {
	case f.content, unknown:
		return true
	case either:
		return f.content == mappings || f.content == devices
	case devices: // of one value, which graph took for a root
		return f.content == mappings && n.leaf && n.entries == 1
	case mappings:
		return f.content == devices && n.leaf && n.entries <= 1
	}
	return false
}

// tree goes through the tree whose root is a block.
func (f *forest) tree(root uint64) {
	f.roots = append(f.roots, root)
	f.walk(root, 0, ^uint64(0), noHeight, 0)
}

// walk goes through the subtree at a block, which stands for the keys lo to hi, and notes
// what is lost in it. height is that of the node, if known. It counts the entries.
func (f *forest) walk(block, lo, hi uint64, height int8, depth int) (uint64, *place) {
	if depth == maxDepth || !f.fits(block, lo, hi) {
		return 0, f.lost(block, lo, hi, height)
	}
	n := &f.nodes[block]
	f.reached.add(block)
	if n.leaf {
		return uint64(n.entries), nil
	}
	if done, ok := f.sub[block]; ok {
		return done.entries, nil
	}
	f.sub[block] = sub{} // also where a child leads back here
	below := height - 1
	if height == noHeight {
		below = n.height - 1
	}
	if n.height == noHeight && height == noHeight {
		below = noHeight
	}
	var s sub
	left := uint64(0)  // the child in front
	var waiting *place // for the one behind
	f.children(block, hi, func(child, lo, hi uint64) {
		count, p := f.walk(child, lo, hi, below, depth+1)
		s.entries += count
		switch d := f.sub[child]; {
		case p != nil:
			p.before, waiting = f.edge(left, true), p
			s.places = append(s.places, p)
		case len(d.places)+len(d.below) > 0:
			s.below = append(s.below, child)
		}
		if left = 0; p == nil {
			left = child
		}
		if waiting != nil && waiting != p {
			waiting.after, waiting = f.edge(left, false), nil
		}
	})
	f.sub[block] = s
	return s.entries, nil
}

// edge is the last or the first leaf below a block; 0 where that is lost.
func (f *forest) edge(block uint64, last bool) uint64 {
	for range maxDepth {
		if block == 0 || f.nodes[block].leaf {
			return block
		}
		next, first := uint64(0), true
		f.children(block, ^uint64(0), func(c, lo, hi uint64) {
			if last || first {
				if next = 0; f.fits(c, lo, hi) {
					next = c
				}
			}
			first = false
		})
		block = next
	}
	return 0
}

// lost is the place of a node that cannot be used. Where several parents have it, it
// stands for what all of them say.
func (f *forest) lost(block, lo, hi uint64, height int8) *place {
	p := f.places[block]
	if p == nil {
		p = &place{block: block, lo: lo, hi: hi, height: height}
		f.places[block] = p
		f.order = append(f.order, p)
		return p
	}
	p.lo, p.hi, p.height = max(p.lo, lo), min(p.hi, hi), max(p.height, height)
	return p
}

// maxOwned bounds the work of own over all devices.
const maxOwned = 1 << 22

// own notes that a device has the subtree at a block. budget is the work that is left.
func (f *forest) own(device uint32, block uint64, budget *int) {
	f.each(block, budget, func(p *place) { p.own(device) })
}

func (p *place) own(device uint32) {
	if i, ok := slices.BinarySearch(p.owners, device); !ok {
		p.owners = slices.Insert(p.owners, i, device)
	}
}

// orphans lists the nodes that miss a parent, the highest first: the space map says that
// they are used more often than there are parents left. A leaf of which the space map says
// nothing is one when no tree has reached it.
func (f *forest) orphans() []uint64 {
	parents := f.parents()
	f.missing = map[uint64]int{}
	var list []uint64
	for b := range f.nodes {
		n := &f.nodes[b]
		if n.content != f.content || n.entries == 0 || n.height == noHeight {
			continue
		}
		used, known := f.usage.count(uint64(b))
		switch {
		case known && used > int(parents[b]):
			f.missing[uint64(b)] = used - int(parents[b])
		case !known && !f.reached.has(uint64(b)) && (n.leaf || f.rootless) && parents[b] == 0:
			// Internal nodes may be old, and their children in use elsewhere: they are taken
			// only where whole trees would be lost else.
			f.missing[uint64(b)] = 1
		default:
			continue
		}
		list = append(list, uint64(b))
	}
	slices.SortStableFunc(list, func(a, b uint64) int {
		x, y := &f.nodes[a], &f.nodes[b]
		return cmp.Or(cmp.Compare(y.height, x.height), cmp.Compare(y.time, x.time))
	})
	return list
}

// parents counts for each block the nodes in use that point at it: internal nodes of the
// forest, and the roots of the forest's trees by what names them.
func (f *forest) parents() []uint16 {
	counts := make([]uint16, len(f.nodes))
	add := func(b uint64) {
		if b < uint64(len(counts)) && counts[b] < ^uint16(0) {
			counts[b]++
		}
	}
	for b := range f.nodes {
		n := &f.nodes[b]
		if !n.leaf && n.entries > 0 && (n.content == f.content || n.content == unknown) &&
			(f.usage.of(uint64(b)) == useUsed || f.reached.has(uint64(b)) || f.rootless && f.usage.of(uint64(b)) == useUnknown) {
			f.children(uint64(b), ^uint64(0), func(c, _, _ uint64) { add(c) })
		}
	}
	for _, root := range f.roots {
		add(root)
	}
	return counts
}
