package salvage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// Older is a state of a thin device that the pool no longer has: of one that was removed, or
// of one before it was written to. Its tree stands in blocks that are free.
type Older struct {
	ID    uint32
	Root  uint64
	Top   uint64        // the leaf of an older tree of devices that names the root
	Known *thin.Details // nil: not found

	Mapped uint64 // mappings that are there
	Holes  bool   // some nodes of its tree were used again
	Last   uint64 // the last block that is mapped
	Reused uint64 // mappings whose data some device has now

	time   uint32
	taken  map[uint64]bool // blocks of the data
	claims bool            // Reused and taken are worked out
}

// Removed tells whether the pool has no device of the state's id that was made in the same
// transaction.
func (p *Pool) Removed(o *Older) bool {
	d := p.Devices[o.ID]
	return d == nil || o.Known != nil && d.Known != nil && o.Known.TransactionID != d.Known.TransactionID
}

// maxOlder bounds the states that are listed.
const maxOlder = 4096

// Older lists the older states of devices whose roots can still be read. The states of one
// device, the latest first, follow each other.
func (p *Pool) Older() []*Older {
	if p.older != nil {
		return p.older
	}
	p.older = []*Older{}
	type key struct {
		id   uint32
		root uint64
	}
	seen := map[key]bool{}
	for id, d := range p.Devices {
		seen[key{id, d.Root}] = true
		for _, r := range p.rebuiltRoots(d.Root) {
			seen[key{id, r}] = true
		}
	}
	remembered, budget := p.remembered(), maxMeasured
	for b := range p.survey.nodes {
		n := &p.survey.nodes[b]
		if !n.leaf || n.content != devices && n.content != either || p.top.reached.has(uint64(b)) {
			continue
		}
		for id, root := range p.survey.entries(uint64(b)) {
			k := key{id, root}
			if seen[k] || !p.maps.fits(root, 0, ^uint64(0)) || len(p.older) == maxOlder || budget < 0 {
				continue
			}
			seen[k] = true
			o := &Older{ID: id, Root: root, Top: uint64(b), time: p.survey.nodes[root].time}
			if o.measure(p.survey.r, &budget); budget < 0 {
				continue
			}
			o.Known = nearest(remembered[id], uint64(b), o.Mapped)
			p.older = append(p.older, o)
		}
	}
	slices.SortStableFunc(p.older, func(a, b *Older) int {
		ka, kb := a.Known, b.Known
		if ka == nil {
			ka = &thin.Details{}
		}
		if kb == nil {
			kb = &thin.Details{}
		}
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(kb.TransactionID, ka.TransactionID), cmp.Compare(kb.Snapped, ka.Snapped),
			cmp.Compare(b.time, a.time), cmp.Compare(b.Mapped, a.Mapped), cmp.Compare(b.Top, a.Top))
	})
	return p.older
}

// rebuiltRoots are the roots that were found for a device whose own is lost.
func (p *Pool) rebuiltRoots(root uint64) (roots []uint64) {
	if pl := p.maps.places[root]; pl != nil {
		for _, part := range pl.parts {
			roots = append(roots, part.Block)
		}
	}
	return roots
}

// maxMeasured bounds the leaves that are counted to list older states.
const maxMeasured = 1 << 23

// measure counts what a state's tree has. budget is how many leaves may be looked at.
func (o *Older) measure(r *btree.Reader, budget *int) {
	for p := range (btree.Tree{Reader: r, Root: o.Root, ValueSize: 8}).Walk(0, ^uint64(0)) {
		if *budget--; *budget < 0 {
			return
		}
		if i, j := p.Entries(); i < j {
			o.Mapped += uint64(j - i)
			o.Last = p.Node.Key(j - 1)
		}
		o.Holes = o.Holes || p.Err != nil
	}
}

// memory is what a leaf of a details tree says of a device.
type memory struct {
	block uint64
	thin.Details
}

// remembered collects what all leaves of details trees say, those of older trees too.
func (p *Pool) remembered() map[uint32][]memory {
	all := map[uint32][]memory{}
	for b := range p.survey.nodes {
		if n := &p.survey.nodes[b]; !n.leaf || n.content != details {
			continue
		}
		leaf, err := p.survey.r.Node(uint64(b))
		if err != nil {
			continue
		}
		for i := range leaf.Entries {
			if id := leaf.Key(i); id <= thin.MaxDevice {
				all[uint32(id)] = append(all[uint32(id)], memory{uint64(b), thin.ParseDetails(leaf.Value(i))})
			}
		}
	}
	return all
}

// nearest is what the details tree said that was written with a tree of devices: of those
// that have the right number of mappings the one closest to it on disk; nil: none has.
func nearest(all []memory, top, mapped uint64) *thin.Details {
	var best *memory
	distance := func(m *memory) uint64 { return max(m.block, top) - min(m.block, top) }
	for i := range all {
		if m := &all[i]; m.Mapped == mapped && (best == nil || distance(m) < distance(best)) {
			best = m
		}
	}
	if best == nil {
		return nil
	}
	return &best.Details
}

// maxClaims bounds the mappings of older states that are held against those of today.
const maxClaims = 1 << 24

// claim is a mapping of an older state.
type claim struct {
	o     *Older
	block uint64
	time  uint32
}

// Reuse finds out which data of older states the devices of today have: a block of the data
// that is mapped to another place, or since another time, has been written to since.
func (p *Pool) Reuse(states ...*Older) {
	claims := map[uint64][]claim{}
	total := uint64(0)
	for _, o := range states {
		if total += o.Mapped; o.claims || total > maxClaims {
			continue
		}
		o.claims, o.taken = true, map[uint64]bool{}
		for run := range thin.NewDevice(p.survey.r, o.Root).Runs(0, ^uint64(0)>>1) {
			for b := run.First; run.State == thin.Mapped && b <= run.Last; b++ {
				data := run.Data + b - run.First
				claims[data] = append(claims[data], claim{o, b, run.Time})
			}
		}
	}
	if len(claims) == 0 {
		return
	}
	p.eachLeaf(func(n *btree.Node) {
		for i := range n.Entries {
			data, time := thin.Mapping(n.Uint64(i))
			for _, c := range claims[data] {
				if (c.block != n.Key(i) || c.time != time) && !c.o.taken[data] {
					c.o.taken[data] = true
					c.o.Reused++
				}
			}
		}
	})
}

// eachLeaf visits the leaves of all devices of today, each once.
func (p *Pool) eachLeaf(visit func(*btree.Node)) { p.eachLeafOf(p.maps.reached, visit) }

// eachLeafOf visits the leaves among blocks.
func (p *Pool) eachLeafOf(blocks bits, visit func(*btree.Node)) {
	for b := range p.survey.nodes {
		if blocks.has(uint64(b)) && p.survey.nodes[b].leaf {
			if n, err := p.survey.r.Node(uint64(b)); err == nil {
				visit(n)
			}
		}
	}
}

var errReused = errors.New("a thin device of today has this block of the pool's data")

// OlderDevice is an older state as a device: doubtful where its data may have been used
// again, lost where they were.
func (p *Pool) OlderDevice(o *Older) thin.Device {
	p.Reuse(o)
	doubt := "an older state of a thin device: what was freed since may have been used by another that is gone too"
	if p.Removed(o) {
		doubt = "the thin device was removed: its data may have been used by another that is gone too"
	}
	if !o.claims {
		doubt = fmt.Sprintf("%s; whether it is used today was not checked, there being too many mappings", doubt)
	}
	return thin.NewDevice(p.survey.r, o.Root).
		Rebuilt(nil, func(uint64) string { return doubt }).
		Without(func(_, data uint64, _ uint32) error {
			if o.taken[data] {
				return errReused
			}
			return nil
		})
}
