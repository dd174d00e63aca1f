package vdo

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/corpus"
)

// disk is a device of which most is zeros.
type disk struct {
	size   int64 // bytes
	blocks map[uint64][]byte
	lost   map[uint64]bool // blocks that cannot be read
}

func (d *disk) ReadAt(p []byte, off int64) (n int, err error) {
	clear(p)
	for n < len(p) {
		if off >= d.size {
			return n, io.EOF
		}
		in := int(off % BlockSize)
		step := min(len(p)-n, BlockSize-in)
		if d.lost[uint64(off/BlockSize)] {
			return n, errors.New("scratched")
		}
		if b := d.blocks[uint64(off/BlockSize)]; b != nil {
			copy(p[n:n+step], b[in:])
		}
		n, off = n+step, off+int64(step)
	}
	return n, nil
}

const (
	realSize    = 5 << 30 // of the volume that testdata/crash.zst is from
	realLogical = 16640   // blocks
)

// realCrash is a volume as a power cut left it: the blocks with metadata, and two compressed
// ones. It had been shut down once and recovered by the kernel once.
func realCrash(t testing.TB) *disk {
	t.Helper()
	b, err := corpus.ReadPacked("testdata/crash.zst")
	require.NoError(t, err)
	d := &disk{size: realSize, blocks: map[uint64][]byte{}, lost: map[uint64]bool{}}
	for r := range slices.Chunk(b, 8+BlockSize) {
		d.blocks[binary.LittleEndian.Uint64(r)] = r[8:]
	}
	return d
}

// Places on the disks of newDisk: two roots, two slabs of 100 blocks of which 90 hold data,
// and a journal of 8 blocks.
const (
	superAt   = 2
	rootsAt   = 3
	slabsAt   = 5
	journalAt = 205
	nonce     = 77
)

// newDisk makes a volume that was shut down, and nothing mapped in it.
func newDisk(change ...func(*SuperBlock)) *disk {
	sb := SuperBlock{
		State: Clean, Recoveries: 3, LogicalBlocks: 4000, PhysicalBlocks: 213, Nonce: nonce,
		Journal: Range{journalAt, 8}, JournalStart: 11, SlabBlocks: 100, SlabDataBlocks: 90,
		FirstSlab: slabsAt, EndOfSlabs: slabsAt + 200, RootOrigin: rootsAt, Roots: 2,
	}
	for _, c := range change {
		c(&sb)
	}
	return &disk{
		size:   213 * BlockSize,
		blocks: map[uint64][]byte{0: geometryBlock(5), superAt: superBlock(sb)},
		lost:   map[uint64]bool{},
	}
}

// geometryBlock makes block 0.
func geometryBlock(version uint32) []byte {
	le := binary.LittleEndian
	size := uint64(geometrySize)
	if version == 4 {
		size = geometrySize4
	}
	b := le.AppendUint32([]byte(geometryMagic), geometryID)
	b = le.AppendUint32(le.AppendUint32(b, version), 0)
	b = le.AppendUint32(le.AppendUint64(b, size), 0)
	b = append(le.AppendUint64(b, nonce), "the volume's uuid"[:16]...)
	if version != 4 {
		b = le.AppendUint64(b, 0)
	}
	b = le.AppendUint64(le.AppendUint32(b, 0), 1)
	b = le.AppendUint64(le.AppendUint32(b, 1), superAt)
	b = append(b, make([]byte, 9)...)
	b = le.AppendUint32(b, checksum(b))
	return append(b, make([]byte, BlockSize-len(b))...)
}

// superBlock makes a block that begins with a super block.
func superBlock(sb SuperBlock) []byte {
	le := binary.LittleEndian
	var b []byte
	u32 := func(values ...uint32) {
		for _, v := range values {
			b = le.AppendUint32(b, v)
		}
	}
	u64 := func(values ...uint64) {
		for _, v := range values {
			b = le.AppendUint64(b, v)
		}
	}
	u32(0, 12, 0)
	u64(superBlockPayload)
	u32(0, 67, 0, 41, 0, uint32(sb.State))
	u64(sb.Recoveries, 0, sb.LogicalBlocks, sb.PhysicalBlocks, sb.SlabBlocks, sb.Journal.Count, 2, sb.Nonce)
	u32(1, 3, 0)
	u64(117, 0, 0)
	b = append(b, partitionCount)
	for _, id := range []byte{3, 2, 1, 0} {
		b = append(b, id)
		switch id {
		case partitionJournal:
			u64(sb.Journal.Start, 0, sb.Journal.Count)
		default:
			u64(0, 0, 0)
		}
	}
	u32(2, 7, 0)
	u64(24, sb.JournalStart, 0, sb.BlockMapPages)
	u32(3, 2, 0)
	u64(73, sb.SlabBlocks, sb.SlabDataBlocks, 1, 2, 0, 0, 0, sb.FirstSlab, sb.EndOfSlabs)
	b = append(b, 1)
	u32(4, 2, 0)
	u64(32, 1, 0, sb.RootOrigin, sb.Roots)
	u32(checksum(b))
	return append(b, make([]byte, BlockSize-len(b))...)
}

// mapPage writes a page of the block map.
func (d *disk) mapPage(pbn uint64, entries map[int]Location) []byte {
	le := binary.LittleEndian
	b := make([]byte, BlockSize)
	le.PutUint32(b, 4)
	le.PutUint32(b[4:], 1)
	le.PutUint64(b[8:], nonce)
	le.PutUint64(b[16:], pbn)
	b[32] = 1
	for slot, l := range entries {
		l.put(b[pageHeader+slot*entrySize:])
	}
	d.blocks[pbn] = b
	return b
}

// tree writes the pages above leaf page 0, which is at block 9, or wherever the page after
// the given ones is.
func (d *disk) tree() {
	for i, pbn := range []uint64{rootsAt, 6, 7, 8} {
		d.mapPage(pbn, map[int]Location{0: {uint64(6 + i), plain}})
	}
}

// record is an entry of the recovery journal.
type record struct {
	op       uint16
	page     uint64
	slot     int
	to, from Location
}

// data records that a slot of leaf page 9 was changed to a block.
func data(slot int, pbn uint64) record { return record{page: 9, slot: slot, to: Location{pbn, plain}} }

// journalBlock writes the journal block of a sequence number.
func (d *disk) journalBlock(sequence, head uint64, records ...record) []byte {
	le := binary.LittleEndian
	b := make([]byte, BlockSize)
	le.PutUint64(b, head)
	le.PutUint64(b[16:], sequence)
	le.PutUint64(b[24:], nonce)
	b[32] = journalType
	le.PutUint16(b[33:], uint16(len(records)))
	le.PutUint64(b[43:], 4)
	check := 0x80 | byte(sequence/8)&0x7f
	b[51], b[52] = check, 3
	for s := 1; s < sectorsPerBlock; s++ {
		sector := b[s*sectorSize:]
		n := min(len(records), changesPerSector)
		sector[0], sector[1], sector[2] = check, 3, byte(n)
		for i, r := range records[:n] {
			e := sector[sectorHeader+i*changeSize:]
			le.PutUint16(e, r.op|uint16(r.slot)<<2|uint16(r.page>>32)<<12)
			le.PutUint32(e[2:], uint32(r.page))
			r.to.put(e[6:])
			r.from.put(e[11:])
		}
		records = records[n:]
	}
	d.blocks[journalAt+sequence%8] = b
	return b
}

// full makes as many records as fill a journal block.
func full(records ...record) []record {
	for len(records) < changesPerBlock {
		records = append(records, data(700, 50))
	}
	return records
}

func dirty(sb *SuperBlock) { sb.State, sb.BlockMapPages = Dirty, 4 }

func open(t testing.TB, d *disk) *Volume {
	t.Helper()
	v, err := Open(d, d.size)
	require.NoError(t, err)
	return v
}
