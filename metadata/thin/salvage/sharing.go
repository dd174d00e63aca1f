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
	maxConflicts  = 1000
)

// Conflicts checks the mappings of all devices against each other; ok is false when the
// data has more blocks than are looked at.
func (p *Pool) Conflicts(dataBlocks uint64) (list []Conflict, ok bool) {
	windows := (dataBlocks + sharingWindow - 1) / sharingWindow
	if windows > maxWindows {
		return nil, false
	}
	type seen struct {
		block uint64 // of the device, and 1 more
		time  uint32
	}
	all := make([]seen, min(sharingWindow, dataBlocks))
	for w := range windows {
		clear(all)
		p.eachLeaf(func(n *btree.Node) {
			for i := range n.Entries {
				data, time := thin.Mapping(n.Uint64(i))
				if data/sharingWindow != w || data >= dataBlocks {
					continue
				}
				switch s := &all[data%sharingWindow]; {
				case s.block == 0:
					*s = seen{n.Key(i) + 1, time}
				case (s.block != n.Key(i)+1 || s.time != time) && len(list) < maxConflicts:
					list = append(list, Conflict{data, s.block - 1, n.Key(i), s.time, time})
				}
			}
		})
	}
	return list, true
}
