// Package thin reads the metadata of a thin pool: which block of the pool's data device
// holds which part of each thin device.
//
// Block 0 is the superblock; numbers are little-endian:
//
//	  0 csum:u32 flags:u32 blocknr:u64 uuid:16
//	 32 magic:u64 version:u32 time:u32 trans_id:u64 held_root:u64
//	 64 data_space_map_root:128 metadata_space_map_root:128
//	320 data_mapping_root:u64 device_details_root:u64
//	336 data_block_size:u32 metadata_block_size:u32 metadata_nr_blocks:u64
//	352 compat_flags:u32 compat_ro_flags:u32 incompat_flags:u32
//
// The mapping tree has the ids of the thin devices as keys and the root of a tree of its own
// for each as value; there, keys are the device's blocks and values are
// data block << 24 | time. The details tree tells of each device when it was made.
//
// Source: drivers/md/dm-thin-metadata.c.
package thin

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

const (
	mappingSize = 8
	timeBits    = 24

	// DetailsSize is the size in bytes of a value of the details tree.
	DetailsSize = 24

	// MaxDevice is the largest id of a thin device.
	MaxDevice = 1<<24 - 1
)

// Pool is the metadata of a thin pool as one superblock tells it.
type Pool struct {
	Superblock
	Reader *btree.Reader
}

// Open reads the superblock of a metadata device of size bytes. When that cannot be used
// there is no pool.
func Open(src io.ReaderAt, size int64) (*Pool, error) {
	r := btree.NewReader(src, size)
	b := make([]byte, btree.BlockSize)
	if err := r.Read(b, superblockAt, btree.ThinSuperblock); err != nil {
		return nil, err
	}
	sb, err := ParseSuperblock(b)
	if err != nil {
		return nil, &btree.BlockError{Block: superblockAt, Err: err}
	}
	return &Pool{sb, r}, nil
}

// Details is what the pool remembers of a thin device.
type Details struct {
	Mapped           uint64 // blocks
	TransactionID    uint64 // of the pool, when the device was made
	Created, Snapped uint32 // times on the pool's own clock; Snapped: when last a snapshot was taken
}

// Details finds what the pool remembers of a device; ok is false when intact metadata has
// no such device.
func (p *Pool) Details(id uint32) (d Details, ok bool, err error) {
	v, err := btree.Tree{Reader: p.Reader, Root: p.DetailsRoot, ValueSize: DetailsSize}.Find(uint64(id))
	if v == nil || err != nil {
		return d, false, err
	}
	return ParseDetails(v), true, nil
}

// ParseDetails reads a value of the details tree, which has 24 bytes.
func ParseDetails(v []byte) Details {
	le := binary.LittleEndian
	return Details{le.Uint64(v), le.Uint64(v[8:]), le.Uint32(v[16:]), le.Uint32(v[20:])}
}

// Device finds a thin device; ok is false when intact metadata has none of that id.
func (p *Pool) Device(id uint32) (d Device, ok bool, err error) {
	v, err := btree.Tree{Reader: p.Reader, Root: p.MappingRoot, ValueSize: mappingSize}.Find(uint64(id))
	if v == nil || err != nil {
		return d, false, err
	}
	return NewDevice(p.Reader, binary.LittleEndian.Uint64(v)), true, nil
}

// Mapping takes a value of a device's tree apart: a block of the data device, and the time
// at which it was mapped.
func Mapping(value uint64) (data uint64, time uint32) {
	return value >> timeBits, uint32(value & (1<<timeBits - 1))
}

// Device is one thin device's tree of mappings.
type Device struct {
	tree  btree.Tree
	taken func(block, data uint64, time uint32) error
	doubt func(data uint64) string
}

// NewDevice is the device whose tree has its root at a block of the metadata device.
func NewDevice(r *btree.Reader, root uint64) Device {
	return Device{tree: btree.Tree{Reader: r, Root: root, ValueSize: mappingSize}}
}

// Rebuilt is the device with what else is known of nodes of its tree that are lost, and
// with doubts about leaves; see [btree.Tree].
func (d Device) Rebuilt(nodes map[uint64]*btree.Rebuilt, doubts func(block uint64) string) Device {
	d.tree.Rebuilt, d.tree.Doubts = nodes, doubts
	return d
}

// Without is the device with mappings lost for which taken has an error. It should be the
// same error each time, so that runs are long.
func (d Device) Without(taken func(block, data uint64, time uint32) error) Device {
	d.taken = taken
	return d
}

// Doubtful is the device with mappings to those blocks of the data doubtful for which doubt
// has a reason. It should be the same text each time, so that runs are long.
func (d Device) Doubtful(doubt func(data uint64) string) Device {
	d.doubt = doubt
	return d
}

// Check goes through the whole tree and counts its mappings. err is the first thing that is
// wrong with it.
func (d Device) Check() (mapped uint64, err error) {
	for p := range d.tree.Walk(0, ^uint64(0)) {
		if p.Err != nil {
			return mapped, p.Err
		}
		i, j := p.Entries()
		mapped += uint64(j - i)
	}
	return mapped, nil
}

// Root is the block that the device's tree begins at.
func (d Device) Root() uint64 { return d.tree.Root }

// State says what the metadata tells of a run of a thin device's blocks.
type State uint8

const (
	Mapped State = iota // they lie in the data device, one after the other
	Hole                // intact metadata proves that nothing was ever written, or it was discarded
	Lost                // the metadata that tells of them is damaged
)

// Run is a run of blocks of a thin device, First to Last, of one state.
type Run struct {
	First, Last uint64
	State       State
	Data        uint64 // of a mapped run: the block of the data device that First lies in
	Time        uint32 // of a mapped run: when it was mapped, on the pool's clock
	Doubt       string // why a mapped run or a hole may be none; "" but for what was rebuilt
	Err         error  // of a lost run
}

// Runs gives the blocks from first to last in runs: ordered, without gaps. It holds one
// path of the tree in memory, however large that is.
func (d Device) Runs(first, last uint64) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		j := joiner{yield: yield, taken: d.taken, doubtful: d.doubt}
		for p := range d.tree.Walk(first, last) {
			if !j.piece(p) {
				return
			}
		}
		j.flush()
	}
}

// joiner makes runs as long as they can be.
type joiner struct {
	run   Run
	begun bool
	doubt string                                      // of the piece at hand
	taken func(block, data uint64, time uint32) error // nil: none
	yield func(Run) bool

	doubtful func(data uint64) string // nil: none
}

// piece adds a piece of the tree, and says whether more is wanted.
func (j *joiner) piece(p btree.Piece) bool {
	if p.Err != nil {
		return j.add(Run{First: p.First, Last: p.Last, State: Lost, Err: p.Err})
	}
	j.doubt = p.Doubt
	next := p.First
	for i, end := p.Entries(); i < end; i++ {
		key, value := p.Node.Key(i), p.Node.Uint64(i)
		if key > next && !j.add(Run{First: next, Last: key - 1, State: Hole}) {
			return false
		}
		data, time := Mapping(value)
		r := Run{First: key, Last: key, Data: data, Time: time}
		if j.doubtful != nil {
			r.Doubt = j.doubtful(data)
		}
		if j.taken != nil {
			if err := j.taken(key, data, time); err != nil {
				r = Run{First: key, Last: key, State: Lost, Err: err}
			}
		}
		if !j.add(r) {
			return false
		}
		if key == p.Last {
			return true
		}
		next = key + 1
	}
	return j.add(Run{First: next, Last: p.Last, State: Hole})
}

// add takes the next run, which may go on where the last one ended.
func (j *joiner) add(r Run) bool {
	switch {
	case r.State == Lost:
		r.Doubt = ""
	case j.doubt != "":
		r.Doubt = j.doubt
	}
	if l := &j.run; j.begun && l.State == r.State && l.Err == r.Err && l.Time == r.Time && l.Doubt == r.Doubt &&
		(r.State != Mapped || l.Data+(r.First-l.First) == r.Data) {
		l.Last = r.Last
		return true
	}
	ok := j.flush()
	j.run, j.begun = r, true
	return ok
}

func (j *joiner) flush() bool { return !j.begun || j.yield(j.run) }

func (s State) String() string {
	switch s {
	case Mapped:
		return "mapped"
	case Hole:
		return "hole"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}
