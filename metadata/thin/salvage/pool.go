// Package salvage finds what is still there of a thin pool's metadata when a block on the
// way to it is damaged. It reads every block of the metadata device once, keeps each valid
// node of a B-tree, and puts the trees together again:
//
//   - The space map of a commit tells which blocks it uses. A node in use that no parent
//     points at any more is below one of the nodes that are lost: it is given back to the
//     place that its keys fit into.
//   - Without a superblock the roots are searched: each commit leaves a space map of its own,
//     and in what that calls used there is one pair of roots (commit.go).
//   - The details tree says how many mappings each device has. When so many are found again,
//     nothing is missing, and what lies between them is a hole.
//
// What is concluded without another possibility is sure. What had to be chosen carries the
// reason why it may be wrong, and what is not found stays lost: it is never a hole.
//
// All numbers of blocks are those of the metadata device, unless they are called data blocks.
package salvage

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// Hints is what the metadata of the VG knows of a pool.
type Hints struct {
	ChunkSize     int64             // bytes
	TransactionID uint64            // of the pool
	Devices       map[uint32]uint64 // the transaction in which each thin device was made

	// Guess uses leaves whose checksums are wrong, too, in doubt.
	Guess bool
}

// Pool is what was found in a pool's metadata.
type Pool struct {
	thin.Superblock
	SuperErr error // why the superblock on disk cannot be used; nil: it can
	Counts   Counts
	Notes    []string // what was concluded of the pool as a whole
	Devices  map[uint32]*Device
	Partial  string // why there may be devices that are not in Devices; "" when there are none
	Unproven string // why all of it may be an older state; "" when it is not

	survey *survey
	usage  *usage // of the commit
	rivals []rival
	// compared is how much memory was spent on what rivals agree on, in bytes.
	compared atomic.Int64
	older    []*Older                        // see Older
	twice    func() func(data uint64) string // see shared
	dataMap  func() *DataMap
	rebuilt  map[uint64]*btree.Rebuilt
	top      *forest // the tree of devices
	maps     *forest // the trees of mappings
}

// Device is a thin device that was found.
type Device struct {
	ID    uint32
	Root  uint64        // block that its tree begins at, which may be lost
	Known *thin.Details // nil: lost
	Found uint64        // mappings that are there
	Lost  uint64        // mappings that are known to be missing
	Doubt string        // why none of its mappings is sure; "" when they are
	Notes []string      // what was concluded
}

// Run looks through a metadata device of size bytes.
func Run(src io.ReaderAt, size int64, h Hints) (*Pool, error) {
	p := &Pool{survey: look(src, size, h.Guess), Devices: map[uint32]*Device{}}
	p.twice, p.dataMap = sync.OnceValue(p.shared), sync.OnceValue(p.checkDataMap)
	p.Counts = p.survey.Counts
	if p.Counts.Nodes == 0 {
		return nil, fmt.Errorf("none of the %d blocks of the metadata device holds a valid node of a B-tree: %d cannot be read", p.Counts.Blocks, p.Counts.Unread)
	}
	p.survey.graph()
	if err := p.choose(src, size, h); err != nil {
		return nil, err
	}
	p.findDevices(h)
	return p, nil
}

// Device is the tree of mappings of a device; ok is false when there is none of that id.
func (p *Pool) Device(id uint32) (d thin.Device, ok bool) {
	found := p.Devices[id]
	if found == nil {
		return d, false
	}
	return thin.NewDevice(p.survey.r, found.Root).Rebuilt(p.rebuilt, p.doubts(found)).Doubtful(p.twice()), true
}

// doubts tells of leaves of a device why they may not be right; nil: of none.
func (p *Pool) doubts(d *Device) func(uint64) string {
	all := cmp.Or(d.Doubt, p.Unproven)
	agreed, same := p.agreed(d)
	if all == "" && same && len(p.survey.suspect) == 0 {
		return nil
	}
	return func(block uint64) string {
		switch {
		case all != "":
			return all
		case p.survey.suspect[block]:
			return p.survey.doubt(block)
		case !same && !agreed.has(block):
			return disputed
		}
		return ""
	}
}

// doubt says of a leaf that was taken at a guess why it may not be right; "" of others.
func (s *survey) doubt(block uint64) string {
	if !s.suspect[block] {
		return ""
	}
	return fmt.Sprintf("the checksum of metadata block %d is wrong; it was used because a guess was asked for", block)
}

// choose takes the commit that the superblock names, or looks for one.
func (p *Pool) choose(src io.ReaderAt, size int64, h Hints) error {
	sb, err := thin.Open(src, size)
	if err == nil {
		p.Superblock = sb.Superblock
		p.usage = p.survey.usage(p.MetadataMap.Bitmaps, p.MetadataMap.Counts)
		if !p.usage.whole() {
			p.note("the pool's space map is damaged: which metadata blocks are in use is not fully known")
		}
		return nil
	}
	p.SuperErr = err
	return p.search(h)
}

func (p *Pool) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// findDevices puts all trees of the commit together.
func (p *Pool) findDevices(h Hints) {
	snap := p.heldSuper()
	remembered, sureDetails := p.readDetails(snap)
	p.top = newForest(p.survey, p.usage, devices)
	p.top.tree(p.MappingRoot)
	if snap != nil {
		p.top.tree(snap.MappingRoot)
	}
	p.top.attach(nil)
	p.maps = newForest(p.survey, p.usage, mappings)
	roots, lost := p.roots(p.MappingRoot)
	for id, root := range roots {
		p.Devices[id] = &Device{ID: id, Root: root.block, Known: remembered[id], Doubt: root.doubt}
		p.maps.tree(root.block)
	}
	p.walkHeld(snap)
	if len(lost) > 0 {
		if !sureDetails {
			p.Partial = "nodes of the tree of devices and of the tree of their details are lost"
			p.maps.doubt = p.Partial + ", so that it may belong to a device that is not known"
		}
		p.findRoots(remembered, lost, h)
	}
	budget := maxOwned
	p.maps.room = map[uint32]uint64{}
	for _, id := range slices.Sorted(maps.Keys(p.Devices)) {
		d := p.Devices[id]
		p.maps.own(id, d.Root, &budget)
		if found := p.maps.total(d.Root, &budget); d.Known != nil && budget >= 0 {
			p.maps.room[id] = d.Known.Mapped - min(d.Known.Mapped, found)
		}
	}
	p.maps.attach(p.owners())
	p.judge()
	p.rebuilt = p.maps.rebuilt()
}

// readDetails reads the details tree, and says whether all of it is there.
func (p *Pool) readDetails(snap *thin.Superblock) (map[uint32]*thin.Details, bool) {
	f := newForest(p.survey, p.usage, details)
	f.tree(p.DetailsRoot)
	if snap != nil {
		f.tree(snap.DetailsRoot)
	}
	f.attach(nil)
	found, sure := map[uint32]*thin.Details{}, true
	tree := btree.Tree{Reader: p.survey.r, Root: p.DetailsRoot, ValueSize: thin.DetailsSize, Rebuilt: f.rebuilt()}
	for piece := range tree.Walk(0, thin.MaxDevice) {
		if piece.Err != nil || piece.Doubt != "" {
			sure = false
			continue
		}
		for i, j := piece.Entries(); i < j; i++ {
			d := thin.ParseDetails(piece.Node.Value(i))
			found[uint32(piece.Node.Key(i))] = &d
		}
		if len(found) > maxDevices {
			sure = false
			break
		}
	}
	if !sure {
		p.note("the details tree is damaged: how many mappings each thin device has is not known of all of them")
	}
	return found, sure
}

// maxDevices bounds the thin devices of a pool that are looked at: all of them are in memory.
const maxDevices = 1 << 18

var errTooMany = fmt.Errorf("the pool has more than %d thin devices, of which the rest is not looked at", maxDevices)

// keys is a run of keys.
type keys struct {
	first, last uint64
	why         error
}

// root is where the tree of a device begins.
type root struct {
	block uint64
	doubt string // why the leaf that says so may be an older one; "" when it is not
}

// roots lists the devices of a tree of devices, and the ids of which nothing is known.
func (p *Pool) roots(top uint64) (map[uint32]root, []keys) {
	found := map[uint32]root{}
	var lost []keys
	tree := btree.Tree{Reader: p.survey.r, Root: top, ValueSize: 8, Rebuilt: p.top.rebuilt(), Doubts: p.survey.doubt}
	for piece := range tree.Walk(0, thin.MaxDevice) {
		if piece.Err != nil {
			lost = append(lost, keys{piece.First, piece.Last, piece.Err})
			continue
		}
		for i, j := piece.Entries(); i < j; i++ {
			found[uint32(piece.Node.Key(i))] = root{piece.Node.Uint64(i), piece.Doubt}
		}
		if len(found) > maxDevices {
			return found, append(lost, keys{piece.Last + 1, thin.MaxDevice, errTooMany})
		}
	}
	return found, lost
}

// held marks a device of the held metadata snapshot.
const held = thin.MaxDevice + 1

// heldSuper reads the superblock of the metadata snapshot that the pool holds; nil when
// there is none.
func (p *Pool) heldSuper() *thin.Superblock {
	if p.HeldRoot == 0 {
		return nil
	}
	sb, err := p.survey.super(p.HeldRoot)
	if err != nil {
		p.note("the metadata snapshot that the pool holds cannot be used: %v", err)
		return nil
	}
	return &sb
}

// walkHeld goes through the trees of a metadata snapshot: what they use is in use too.
func (p *Pool) walkHeld(snap *thin.Superblock) {
	switch {
	case p.HeldRoot == 0:
		return
	case snap == nil:
		p.maps.doubt = "the metadata snapshot that the pool holds is lost, and it may belong to that"
		return
	}
	roots, lost := p.roots(snap.MappingRoot)
	if len(lost) > 0 {
		p.maps.doubt = "the metadata snapshot that the pool holds is damaged, and it may belong to that"
	}
	budget := maxOwned
	for id, root := range roots {
		p.maps.tree(root.block)
		p.maps.own(held+id, root.block, &budget)
	}
}

// judge counts what was found of each device, and draws what follows from it.
func (p *Pool) judge() {
	budget := maxFits
	type verdict struct {
		device *Device
		places []*place
		doubt  string
	}
	var all []verdict
	doubts := map[*place]string{}
	for _, id := range slices.Sorted(maps.Keys(p.Devices)) {
		d := p.Devices[id]
		v := verdict{device: d, doubt: cmp.Or(d.Doubt, p.Unproven)}
		if _, same := p.agreed(d); v.doubt == "" && !same {
			v.doubt = disputed
		}
		if v.doubt == "" && p.survey.guessed {
			v.doubt = "mappings of metadata blocks with wrong checksums were counted, because a guess was asked for"
		}
		d.Found = p.maps.total(d.Root, &budget)
		p.maps.each(d.Root, &budget, func(pl *place) {
			v.places = append(v.places, pl)
			for _, part := range pl.parts {
				if v.doubt == "" {
					v.doubt = part.Doubt
				}
			}
		})
		for _, pl := range v.places { // a device that shares the place is no less in doubt
			doubts[pl] = cmp.Or(doubts[pl], v.doubt)
		}
		all = append(all, v)
	}
	if budget < 0 {
		p.note("the damaged trees have more nodes in common than can be counted")
		return
	}
	for _, v := range all {
		switch d := v.device; {
		case d.Known == nil:
		case len(v.places) == 0 && d.Found != d.Known.Mapped:
			d.Doubt = fmt.Sprintf("the pool remembers %d mappings of the device, its tree has %d: they are not of one state", d.Known.Mapped, d.Found)
			d.note("%s", d.Doubt)
		case len(v.places) == 0:
		case d.Found == d.Known.Mapped:
			for _, pl := range v.places {
				pl.fill(doubts[pl])
			}
			d.note("all %d mappings that the pool remembers of it were found again", d.Found)
		case d.Found < d.Known.Mapped:
			d.Lost = d.Known.Mapped - d.Found
			d.note("%d of its %d mappings are lost", d.Lost, d.Known.Mapped)
		default:
			why := fmt.Sprintf("more mappings were found than the %d that the pool remembers of the device", d.Known.Mapped)
			d.note("%s", why)
			d.Doubt = why
		}
	}
}

func (d *Device) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// count puts a number before a noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
