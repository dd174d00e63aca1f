package salvage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// commit is a state of the pool of which a space map index block is left, or a pair of
// roots without one.
type commit struct {
	index   uint64 // 0: none
	mapping uint64 // 0: lost
	details uint64 // 0: lost
	held    uint64 // superblock of a metadata snapshot; 0: none

	ids         []uint32 // of the devices, sorted
	transaction uint64   // the latest in which one of the devices was made
	time        uint32   // of the latest snapshot by their details
	mapped      uint64   // mappings of all devices by their details
}

// whole tells whether both roots are there and tell of the same devices.
func (c *commit) whole() bool { return c.mapping != 0 && c.details != 0 }

// maxCommits bounds how many index blocks are looked at: those with the highest numbers.
const maxCommits = 4096

// maxLooks bounds how often a node is looked at to find the roots of commits.
const maxLooks = 1 << 24

// search finds the latest commit when the superblock cannot be used.
func (p *Pool) search(h Hints) error {
	if h.ChunkSize <= 0 {
		return fmt.Errorf("the superblock cannot be used (%w), and nothing else tells the pool's chunk size", p.SuperErr)
	}
	all := p.commits()
	if len(all) == 0 {
		all = []*commit{{}} // what is left of the trees may still be assigned
	}
	wanted := slices.Sorted(maps.Keys(h.Devices))
	rank := func(c *commit) []uint64 {
		return []uint64{number(c.whole()), number(len(wanted) > 0 && slices.Equal(c.ids, wanted)), c.transaction, uint64(c.time)}
	}
	slices.SortStableFunc(all, func(a, b *commit) int {
		return cmp.Or(slices.Compare(rank(b), rank(a)), cmp.Compare(b.mapped, a.mapped), cmp.Compare(b.index, a.index))
	})
	best := all[0]
	if best.index != 0 {
		p.usage = p.survey.usage(best.index, 0)
	}
	p.Superblock = thin.Superblock{MappingRoot: best.mapping, DetailsRoot: best.details, ChunkSize: h.ChunkSize,
		Time: best.time, HeldRoot: best.held, TransactionID: max(h.TransactionID, best.transaction), MetadataBlocks: uint64(len(p.survey.nodes))}
	p.MetadataMap.Bitmaps = best.index
	p.note("the superblock cannot be used: %v", p.SuperErr)
	agrees := slices.Equal(best.ids, wanted)
	var rivals []uint64
	for _, c := range all[1:] {
		// A device that was made raises the transaction, one that was removed may lower it.
		if slices.Equal(rank(c), rank(best)) || !agrees && subset(c.ids, best.ids) {
			rivals = append(rivals, c.index)
		}
	}
	damaged := 0 // a later state was written to blocks that this one does not use
	for b, broken := range p.survey.broken {
		if broken && b != 0 && p.usage.of(uint64(b)) != useUsed {
			damaged++
		}
	}
	switch {
	case p.usage == nil:
		p.Unproven = "the pool's superblock is lost, and so is every space map that would tell its states apart: an older state may have been taken"
		p.note("the trees with their roots at metadata blocks %d and %d were taken, of %s (0: none is left)", best.mapping, best.details, count(len(all), "choice"))
		return nil
	case damaged > 0:
		p.Unproven = fmt.Sprintf("the pool's superblock is lost, and %s more of its metadata: a later state than the one taken may have been among them", count(damaged, "block"))
	case len(wanted) > 0 && !agrees:
		p.Unproven = "the pool's superblock is lost, and no state of it that is left has the thin devices that the VG has"
	}
	if len(rivals) > maxRivals && p.Unproven == "" {
		p.Unproven = fmt.Sprintf("the pool's superblock is lost, and %d of its states cannot be told apart by age", len(rivals)+1)
	}
	for _, index := range rivals[:min(len(rivals), maxRivals)] {
		p.rivals = append(p.rivals, p.survey.usage(index, 0))
	}
	p.note("the state of the pool with its space map at metadata block %d was taken, of %s that are left", best.index, count(len(all), "state"))
	return nil
}

// maxRivals bounds the states that are compared.
const maxRivals = 64

func number(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// subset tells whether all ids of a are in b, which has more.
func subset(a, b []uint32) bool {
	return len(a) < len(b) && !slices.ContainsFunc(a, func(id uint32) bool { return !slices.Contains(b, id) })
}

// disputed says of a leaf why it may not be the latest: another state of the pool, which may
// be as late as the one taken, does not have it.
func (p *Pool) disputed(block uint64) string {
	for _, u := range p.rivals {
		if u.of(block) != useUsed {
			return "the pool's superblock is lost, and two of its states that differ here cannot be told apart by age"
		}
	}
	return ""
}

// commits lists the states of which something is left.
func (p *Pool) commits() []*commit {
	s := p.survey
	var tops, remembered []uint64
	for b := range s.nodes {
		switch s.nodes[b].content {
		case devices, either:
			tops = append(tops, uint64(b))
		case details:
			remembered = append(remembered, uint64(b))
		}
	}
	slices.Sort(s.indexes)
	var all []*commit
	most := min(maxCommits, maxLooks/(len(tops)+len(remembered)+1)+1)
	for _, index := range s.indexes[max(0, len(s.indexes)-most):] {
		u := s.usage(index, 0)
		if !u.whole() {
			continue
		}
		if c := s.commit(u, tops, remembered); c != nil {
			c.index = index
			all = append(all, c)
		}
	}
	if len(all) > 0 {
		return all
	}
	any := func(uint64) bool { return true }
	for _, top := range s.heads(tops, any) {
		if c := s.pair([]uint64{top}, s.heads(remembered, any)); c != nil && c.mapping != 0 {
			all = append(all, c)
		}
	}
	return all
}

// commit finds the roots of the commit that uses the blocks in u, among nodes of trees of
// devices and of details; nil when there are none.
func (s *survey) commit(u *usage, tops, remembered []uint64) *commit {
	used := func(b uint64) bool { return u.of(b) == useUsed }
	tops, remembered = s.heads(tops, used), s.heads(remembered, used)
	held := uint64(0)
	for _, b := range s.supers { // the roots of a metadata snapshot are in use too
		if !used(b) {
			continue
		}
		sb, err := s.super(b)
		if err != nil {
			continue
		}
		held = b
		if i := slices.Index(tops, sb.MappingRoot); i >= 0 && len(tops) > 1 {
			tops = slices.Delete(tops, i, i+1)
		}
		if i := slices.Index(remembered, sb.DetailsRoot); i >= 0 && len(remembered) > 1 {
			remembered = slices.Delete(remembered, i, i+1)
		}
	}
	c := s.pair(tops, remembered)
	if c != nil {
		c.held = held
	}
	return c
}

// super reads the superblock at a block.
func (s *survey) super(block uint64) (thin.Superblock, error) {
	b := make([]byte, btree.BlockSize)
	if err := s.r.Read(b, block, btree.ThinSuperblock); err != nil {
		return thin.Superblock{}, err
	}
	return thin.ParseSuperblock(b)
}

// heads are those of some nodes that are wanted and that no other of these points at.
func (s *survey) heads(nodes []uint64, wanted func(uint64) bool) []uint64 {
	below := map[uint64]bool{}
	var list []uint64
	for _, b := range nodes {
		if !wanted(b) {
			continue
		}
		list = append(list, b)
		switch n := &s.nodes[b]; {
		case !n.leaf:
			s.children(b, ^uint64(0), func(c, _, _ uint64) { below[c] = true })
		case n.content == devices:
			for _, root := range s.entries(b) {
				below[root] = true
			}
		}
	}
	return slices.DeleteFunc(list, func(b uint64) bool { return below[b] })
}

// entries are the keys and values of the leaves of 8-byte values below a block.
func (s *survey) entries(root uint64) map[uint32]uint64 {
	all := map[uint32]uint64{}
	for piece := range (btree.Tree{Reader: s.r, Root: root, ValueSize: 8}).Walk(0, thin.MaxDevice) {
		for i, j := piece.Entries(); i < j; i++ {
			all[uint32(piece.Node.Key(i))] = piece.Node.Uint64(i)
		}
	}
	return all
}

// pair makes a commit of the roots that may be its: those that tell of the same devices. It
// is nil where there is neither.
func (s *survey) pair(tops, remembered []uint64) *commit {
	var best *commit
	for _, d := range remembered {
		c := &commit{details: d}
		for piece := range (btree.Tree{Reader: s.r, Root: d, ValueSize: thin.DetailsSize}).Walk(0, thin.MaxDevice) {
			for i, j := piece.Entries(); i < j; i++ {
				known := thin.ParseDetails(piece.Node.Value(i))
				c.ids = append(c.ids, uint32(piece.Node.Key(i)))
				c.transaction = max(c.transaction, known.TransactionID)
				c.time = max(c.time, known.Created, known.Snapped)
				c.mapped += known.Mapped
			}
		}
		for _, top := range tops {
			roots := s.entries(top)
			if !slices.Equal(slices.Sorted(maps.Keys(roots)), c.ids) {
				continue
			}
			c.mapping = top
			break
		}
		if best == nil || best.mapping == 0 && c.mapping != 0 {
			best = c
		}
	}
	if (best == nil || best.mapping == 0) && len(tops) > 0 {
		best = &commit{mapping: tops[0], ids: slices.Sorted(maps.Keys(s.entries(tops[0])))}
	}
	return best
}
