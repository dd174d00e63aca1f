package salvage

import (
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// Conflict is a block of the data that two mappings claim which no snapshot explains:
// devices share a block only at the same place and since the same time.
type Conflict struct {
	Data         uint64
	Block, Other uint64 // of a thin device
	Time, Since  uint32 // of the one and the other mapping
}

const (
	sharingWindow = 1 << 22 // blocks of the data that are looked at in one pass over the leaves
	maxWindows    = 64
	maxConflicts  = 1000    // that are listed
	maxTwice      = 1 << 20 // blocks of the data that are doubtful one by one
)

// Conflicts checks the mappings of all devices against each other; ok is false when the
// data has more blocks than are looked at.
func (p *Pool) Conflicts(dataBlocks uint64) (list []Conflict, ok bool) {
	if (dataBlocks+sharingWindow-1)/sharingWindow > maxWindows {
		return nil, false
	}
	p.conflicts(dataBlocks, p.maps.reached, func(c Conflict) bool {
		list = append(list, c)
		return len(list) < maxConflicts
	})
	return list, true
}

// conflicts finds them among leaves, as long as more are wanted. Data behind the blocks that
// it has, and behind maxWindows, is not looked at.
func (p *Pool) conflicts(dataBlocks uint64, leaves bits, more func(Conflict) bool) {
	type seen struct {
		block uint64 // of the device, and 1 more
		time  uint32
	}
	all := make([]seen, min(sharingWindow, dataBlocks))
	last, open := uint64(0), true // of the data that is mapped
	for w := uint64(0); w < maxWindows && w <= last/sharingWindow && open; w++ {
		clear(all)
		p.eachLeafOf(leaves, func(n *btree.Node) {
			for i := range n.Entries {
				data, time := thin.Mapping(n.Uint64(i))
				if data >= dataBlocks {
					continue
				}
				if last = max(last, data); data/sharingWindow != w {
					continue
				}
				switch s := &all[data%sharingWindow]; {
				case s.block == 0:
					*s = seen{n.Key(i) + 1, time}
				case (s.block != n.Key(i)+1 || s.time != time) && open:
					open = more(Conflict{data, s.block - 1, n.Key(i), s.time, time})
				}
			}
		})
	}
}

// shared finds out of a block of the data why what is mapped to it is doubtful, and says ""
// when it is not; nil: none is. Where one of two claims is doubtful anyway, the other is not.
func (p *Pool) shared() func(data uint64) string {
	blocks, leaves, end := map[uint64]bool{}, p.sure(), uint64(0)
	p.eachLeafOf(leaves, func(n *btree.Node) {
		for i := range n.Entries {
			data, _ := thin.Mapping(n.Uint64(i))
			end = max(end, data+1)
		}
	})
	if p.SuperErr == nil && p.DataBlocks > 0 {
		end = min(end, p.DataBlocks)
	}
	p.conflicts(end, leaves, func(c Conflict) bool {
		blocks[c.Data] = true
		return len(blocks) < maxTwice
	})
	switch n := len(blocks); {
	case n == 0:
		return nil
	case n == maxTwice:
		return func(uint64) string { return "too much of the pool's data is claimed twice, which no snapshot explains" }
	}
	return func(data uint64) string {
		if blocks[data] {
			return "another place in the pool claims the same block of the data, which no snapshot explains"
		}
		return ""
	}
}

// sure is the set of leaves of devices about which there is no doubt.
func (p *Pool) sure() bits {
	f := p.maps
	sure, seen, passed := newBits(len(f.nodes)), newBits(len(f.nodes)), map[uint64]bool{}
	var doubts func(uint64) string
	var visit func(block, lo, hi uint64, depth int)
	visit = func(block, lo, hi uint64, depth int) {
		switch {
		case depth == maxDepth:
		case !f.fits(block, lo, hi):
			if pl := f.places[block]; pl != nil && !passed[block] {
				passed[block] = true
				for _, part := range pl.parts {
					if part.Doubt == "" && !part.Empty {
						visit(part.Block, part.First, part.Last, depth+1)
					}
				}
			}
		case seen.has(block):
		default:
			if seen.add(block); !f.nodes[block].leaf {
				f.children(block, hi, func(c, lo, hi uint64) { visit(c, lo, hi, depth+1) })
			} else if doubts == nil || doubts(block) == "" {
				sure.add(block)
			}
		}
	}
	for _, d := range p.Devices {
		if d.Doubt == "" && p.Unproven == "" {
			doubts = p.doubts(d)
			visit(d.Root, 0, ^uint64(0), 0)
		}
	}
	return sure
}
