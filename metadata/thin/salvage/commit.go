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

// olderThan tells whether the details of both states prove that c is older.
func (c *commit) olderThan(o *commit) bool {
	return c.details != 0 && o.details != 0 && cmp.Or(cmp.Compare(c.transaction, o.transaction), cmp.Compare(c.time, o.time)) < 0
}

// maxCommits bounds how many index blocks are looked at: those with the highest numbers.
const maxCommits = 4096

// maxLooks bounds how often a node is looked at to find the roots of commits.
const maxLooks = 1 << 24

// search finds the latest commit when the superblock cannot be used.
func (p *Pool) search(h Hints) error {
	if h.ChunkSize <= 0 {
		return fmt.Errorf("the superblock cannot be used (%w), and nothing else tells the pool's chunk size", p.SuperErr)
	}
	all, rootless := p.commits()
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
	rivals := p.unmapped(best, all)
	if rootless {
		rivals = append(rivals, nil)
	}
	for _, c := range all[1:] {
		switch {
		case c.whole() && best.whole():
			// A device that was made raises the transaction, one that was removed may lower it.
			if slices.Equal(rank(c), rank(best)) || !agrees && subset(c.ids, best.ids) {
				rivals = append(rivals, p.survey.rival(c.mapping))
			}
		case !c.olderThan(best): // what tells its age is lost
			rivals = append(rivals, p.survey.rival(c.mapping))
		}
		if len(rivals) > maxRivals {
			break
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
		p.Unproven = fmt.Sprintf("the pool's superblock is lost, and more than %d of its states cannot be told apart by age", maxRivals)
	}
	p.rivals = rivals[:min(len(rivals), maxRivals)]
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

// rival is a state of the pool that may be as late as the one taken: where it has the trees of
// devices. nil: that is lost.
type rival map[uint32]uint64

func (s *survey) rival(mapping uint64) rival {
	if mapping == 0 {
		return nil
	}
	return s.entries(mapping)
}

// unmapped lists states that no space map is left of, and that may be later than the best of the
// others: trees of devices, or of their details, that none of these uses. One of which the kernel
// has used a block again is older.
func (p *Pool) unmapped(best *commit, all []*commit) (rivals []rival) {
	s := p.survey
	tops, remembered := s.nodesOfCommits()
	known, roots := newBits(len(s.nodes)), slices.Concat(tops, remembered)
	for _, c := range all {
		if c.index == 0 {
			continue
		}
		u := s.usage(c.index, 0)
		for _, b := range roots {
			if u.of(b) == useUsed {
				known.add(b)
			}
		}
	}
	free := func(b uint64) bool { return !known.has(b) }
	remembered, tops = s.heads(remembered, free), s.heads(tops, free)
	if len(tops) > maxUnmapped || len(remembered) > maxUnmapped { // there may be more
		rivals = append(rivals, nil)
	}
	var details []*commit
	for _, d := range remembered[:min(len(remembered), maxUnmapped)] {
		details = append(details, s.remembered(d))
	}
	named, budget := map[*commit]bool{}, maxLooks
	for _, top := range tops[:min(len(tops), maxUnmapped)] {
		r := s.rival(top)
		ids := slices.Sorted(maps.Keys(r))
		if i := slices.IndexFunc(details, func(c *commit) bool { return slices.Equal(c.ids, ids) }); i >= 0 {
			named[details[i]] = true
			if details[i].olderThan(best) {
				continue
			}
		}
		f := newForest(s, nil, mappings)
		for _, root := range r {
			f.tree(root)
		}
		if budget -= len(r) + len(f.sub)*maxChildren; budget < 0 {
			return append(rivals, nil)
		}
		if !slices.ContainsFunc(f.order, func(pl *place) bool { return pl.block < uint64(len(s.known)) && s.known[pl.block] }) {
			rivals = append(rivals, r)
		}
	}
	for _, c := range details {
		if !named[c] && !c.olderThan(best) {
			rivals = append(rivals, nil)
		}
	}
	return rivals
}

// maxChildren is how many children a node has at most.
const maxChildren = btree.BlockSize / 16

// maxUnmapped bounds the states without a space map that are looked at.
const maxUnmapped = 64

// disputed says why what differs between states of the pool may not be the latest.
const disputed = "the pool's superblock is lost, and two of its states that differ here cannot be told apart by age"

// agreed tells which leaves of a device's tree all states have that may be the latest. same says
// that all of them have the very same tree.
func (p *Pool) agreed(d *Device) (leaves bits, same bool) {
	same = true
	for _, r := range p.rivals {
		root, ok := r[d.ID]
		if ok && root == d.Root {
			continue
		}
		same = false
		if !ok || p.compared.Add(int64(len(p.survey.nodes)/8)) > maxCompared {
			return nil, false
		}
		f := newForest(p.survey, nil, mappings)
		f.tree(root)
		if leaves == nil {
			leaves = f.reached
			continue
		}
		for i := range leaves {
			leaves[i] &= f.reached[i]
		}
	}
	return leaves, same
}

// maxCompared bounds the memory of what agreed gives, in bytes.
const maxCompared = 64 << 20

// commits lists the states of which a root is left, and says whether there are others that have
// lost both.
func (p *Pool) commits() (all []*commit, rootless bool) {
	s := p.survey
	tops, remembered := s.nodesOfCommits()
	slices.Sort(s.indexes)
	looks := 0
	most := min(maxCommits, maxLooks/(len(tops)+len(remembered)+1)+1)
	for _, index := range s.indexes[max(0, len(s.indexes)-most):] {
		u := s.usage(index, 0)
		if !u.whole() {
			continue
		}
		if c := s.commit(u, tops, remembered); c != nil {
			c.index = index
			all = append(all, c)
		} else if !rootless {
			looks++
			rootless = looks > maxUnmapped || s.rootsLost(u, tops)
		}
	}
	if len(all) > 0 {
		return all, rootless
	}
	any := func(uint64) bool { return true }
	for _, top := range s.heads(tops, any) {
		if c := s.pair([]uint64{top}, s.heads(remembered, any)); c != nil && c.mapping != 0 {
			all = append(all, c)
		}
	}
	return all, false
}

// rootsLost tells whether the roots of the state that uses the blocks in u may be damaged. If not,
// they were used again since: what of its blocks is damaged has a parent all the same.
func (s *survey) rootsLost(u *usage, tops []uint64) bool {
	lost := map[uint64]bool{}
	for b, known := range s.known {
		if !known && b != 0 && u.of(uint64(b)) == useUsed {
			lost[uint64(b)] = true
		}
	}
	for b := range s.nodes {
		if len(lost) > 0 && !s.nodes[b].leaf && s.nodes[b].entries > 0 && u.of(uint64(b)) == useUsed {
			s.children(uint64(b), ^uint64(0), func(c, _, _ uint64) { delete(lost, c) })
		}
	}
	for _, top := range tops {
		if len(lost) > 0 && s.nodes[top].leaf && u.of(top) == useUsed {
			for _, root := range s.entries(top) {
				delete(lost, root)
			}
		}
	}
	return len(lost) > 0
}

// nodesOfCommits lists the nodes of trees of devices, and those of trees of details.
func (s *survey) nodesOfCommits() (tops, remembered []uint64) {
	for b := range s.nodes {
		switch s.nodes[b].content {
		case devices, either:
			tops = append(tops, uint64(b))
		case details:
			remembered = append(remembered, uint64(b))
		}
	}
	return tops, remembered
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
		if len(all) > maxDevices {
			break
		}
	}
	return all
}

// remembered is what a tree of details tells of its commit.
func (s *survey) remembered(root uint64) *commit {
	c := &commit{details: root}
	for piece := range (btree.Tree{Reader: s.r, Root: root, ValueSize: thin.DetailsSize}).Walk(0, thin.MaxDevice) {
		for i, j := piece.Entries(); i < j; i++ {
			known := thin.ParseDetails(piece.Node.Value(i))
			c.ids = append(c.ids, uint32(piece.Node.Key(i)))
			c.transaction = max(c.transaction, known.TransactionID)
			c.time = max(c.time, known.Created, known.Snapped)
			c.mapped += known.Mapped
		}
		if len(c.ids) > maxDevices {
			break
		}
	}
	return c
}

// pair makes a commit of the roots that may be its: those that tell of the same devices. It
// is nil where there is neither.
func (s *survey) pair(tops, remembered []uint64) *commit {
	var best *commit
	for _, d := range remembered {
		c := s.remembered(d)
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
