package vdo

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// State is what a volume was doing when the super block was written: enum vdo_state in
// drivers/md/dm-vdo/types.h.
type State uint32

// The states that the kernel knows.
const (
	Dirty State = iota
	New
	Clean
	ReadOnly
	ForceRebuild
	Recovering
	Replaying
	RebuildForUpgrade
)

func (s State) String() string {
	names := [...]string{"dirty", "new", "clean", "read-only", "to be rebuilt", "recovering", "replaying", "to be rebuilt for an upgrade"}
	if int64(s) < int64(len(names)) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// Damaged tells whether the kernel refuses to trust the volume before a rebuild.
func (s State) Damaged() bool {
	return s == ReadOnly || s == ForceRebuild || s == RebuildForUpgrade || s > RebuildForUpgrade
}

// closed tells whether the block map on disk is all there is.
func (s State) closed() bool { return s == Clean || s == New }

// Partitions of the layout: enum partition_id in drivers/md/dm-vdo/types.h.
const (
	partitionJournal = 2
	partitionCount   = 4
)

// SuperBlockSize is how many bytes ParseSuperBlock needs: the super block is one sector.
const SuperBlockSize = 512

const (
	superBlockPayload = 418 // bytes behind the header, checksum included
	volumeMajor       = 67
	componentMajor    = 41

	// maxJournal bounds the recovery journal, in blocks: vdoformat makes none larger, though
	// the kernel itself knows no limit.
	maxJournal = 1 << 15
	maxRoots   = 1 << 8 // the kernel always has 60
)

// Offsets in bytes that problems name.
const (
	offSizes      = 60
	offSlabBlocks = 309
	offFirstSlab  = 365
	offRootCount  = 426
)

// Range is a run of blocks.
type Range struct{ Start, Count uint64 }

func (r Range) within(blocks uint64) bool {
	return r.Start <= blocks && r.Count <= blocks-r.Start
}

// SuperBlock is what a reader needs of the super block. Sizes are in blocks.
type SuperBlock struct {
	State          State
	Recoveries     uint64 // completed; the journal's blocks carry the low 8 bits
	LogicalBlocks  uint64
	PhysicalBlocks uint64
	Nonce          uint64
	Journal        Range
	JournalStart   uint64 // sequence number from which the journal counts
	BlockMapPages  uint64 // in slabs, when the super block was written
	SlabBlocks     uint64
	SlabDataBlocks uint64 // the first ones of each slab
	FirstSlab      uint64 // pbn
	EndOfSlabs     uint64 // pbn behind the last slab
	RootOrigin     uint64 // pbn
	Roots          uint64
}

// ParseSuperBlock reads a super block.
func ParseSuperBlock(b []byte) (SuperBlock, error) {
	if len(b) < SuperBlockSize {
		return SuperBlock{}, damaged("super_block", 0, "has %d bytes, expected %d", len(b), SuperBlockSize)
	}
	f := &fields{b: b[:SuperBlockSize]}
	if err := f.expect("super_block", header{0, 12, 0, superBlockPayload}); err != nil {
		return SuperBlock{}, err
	}
	const at = headerSize + superBlockPayload - 4
	if want, got := checksum(b[:at]), binary.LittleEndian.Uint32(b[at:]); got != want {
		return SuperBlock{}, damaged("super_block.checksum", at, "checksum is 0x%08x, expected 0x%08x", got, want)
	}
	f.u32() // unused
	var sb SuperBlock
	for _, read := range []func(*fields) error{sb.component, sb.layout, sb.journal, sb.depot, sb.blockMap} {
		if err := read(f); err != nil {
			return SuperBlock{}, err
		}
	}
	return sb, sb.check()
}

// component reads the state and the sizes.
func (sb *SuperBlock) component(f *fields) error {
	for _, v := range []struct {
		name  string
		major uint32
	}{{"volume_version", volumeMajor}, {"component_version", componentMajor}} {
		at := f.at
		if major, minor := f.u32(), f.u32(); major != v.major || minor != 0 {
			return damaged("super_block."+v.name, at, "version is %d.%d, expected %d.0", major, minor, v.major)
		}
	}
	sb.State, sb.Recoveries = State(f.u32()), f.u64()
	f.u64() // read_only_recoveries
	sb.LogicalBlocks, sb.PhysicalBlocks = f.u64(), f.u64()
	f.u64() // slab_size: the depot says it again
	sb.Journal.Count = f.u64()
	f.u64() // slab_journal_blocks
	sb.Nonce = f.u64()
	return nil
}

// layout reads where the partitions are, which may stand in any order.
func (sb *SuperBlock) layout(f *fields) error {
	if err := f.expect("layout", header{1, 3, 0, 17 + 25*partitionCount}); err != nil {
		return err
	}
	f.u64() // first_free
	f.u64() // last_free
	at := f.at
	if n := f.u8(); n != partitionCount {
		return damaged("layout.partition_count", at, "there are %d partitions, expected %d", n, partitionCount)
	}
	var found [partitionCount]bool
	for range partitionCount {
		at := f.at
		id, start := f.u8(), f.u64()
		f.u64() // base, unused
		count := f.u64()
		if id >= partitionCount || found[id] {
			return damaged("layout.partitions", at, "partition %d is unknown or there twice", id)
		}
		found[id] = true
		if id == partitionJournal {
			if count != sb.Journal.Count {
				return damaged("layout.partitions", at+17, "the recovery journal has %d blocks, expected %d", count, sb.Journal.Count)
			}
			sb.Journal.Start = start
		}
	}
	return nil
}

func (sb *SuperBlock) journal(f *fields) error {
	if err := f.expect("recovery_journal", header{2, 7, 0, 24}); err != nil {
		return err
	}
	sb.JournalStart = f.u64()
	f.u64() // logical_blocks_used
	sb.BlockMapPages = f.u64()
	return nil
}

func (sb *SuperBlock) depot(f *fields) error {
	if err := f.expect("slab_depot", header{3, 2, 0, 73}); err != nil {
		return err
	}
	sb.SlabBlocks, sb.SlabDataBlocks = f.u64(), f.u64()
	f.take(5 * 8) // counts and thresholds of what only a writer needs
	sb.FirstSlab, sb.EndOfSlabs = f.u64(), f.u64()
	f.u8() // zone_count
	return nil
}

func (sb *SuperBlock) blockMap(f *fields) error {
	if err := f.expect("block_map", header{4, 2, 0, 32}); err != nil {
		return err
	}
	f.u64() // flat_page_origin
	f.u64() // flat_page_count
	sb.RootOrigin, sb.Roots = f.u64(), f.u64()
	return nil
}

// check holds the fields against what can be.
func (sb *SuperBlock) check() error {
	switch p := sb.PhysicalBlocks; {
	case sb.LogicalBlocks > maxLogical:
		return damaged("super_block.logical_blocks", offSizes, "there are %d, at most %d can be", sb.LogicalBlocks, uint64(maxLogical))
	case p > maxPhysical:
		return damaged("super_block.physical_blocks", offSizes+8, "there are %d, at most %d can be", p, uint64(maxPhysical))
	case sb.Journal.Count > maxJournal || bits.OnesCount64(sb.Journal.Count) != 1 || !sb.Journal.within(p):
		return damaged("super_block.recovery_journal_size", offSizes+24, "the recovery journal has %d blocks from block %d of %d on", sb.Journal.Count, sb.Journal.Start, p)
	case sb.EndOfSlabs > p || sb.FirstSlab == 0 || sb.FirstSlab >= sb.EndOfSlabs:
		return damaged("slab_depot.first_block", offFirstSlab, "slabs reach from block %d to %d of %d", sb.FirstSlab, sb.EndOfSlabs, p)
	case sb.SlabBlocks == 0 || sb.SlabDataBlocks > sb.SlabBlocks:
		return damaged("slab_depot.slab_blocks", offSlabBlocks, "slabs of %d blocks hold %d of data", sb.SlabBlocks, sb.SlabDataBlocks)
	case sb.Roots == 0 || sb.Roots > maxRoots || sb.RootOrigin == 0 || !(Range{sb.RootOrigin, sb.Roots}).within(p):
		return damaged("block_map.root_count", offRootCount, "the block map has %d roots from block %d of %d on", sb.Roots, sb.RootOrigin, p)
	}
	return nil
}

// IsData tells whether a block lies in a slab's data, where mappings may point.
func (sb *SuperBlock) IsData(pbn uint64) bool {
	return pbn >= sb.FirstSlab && pbn < sb.EndOfSlabs && (pbn-sb.FirstSlab)%sb.SlabBlocks < sb.SlabDataBlocks
}
