// Package writecache reads the metadata of a dm-writecache device: which blocks of the
// origin have newer content in the cache.
//
// The cache begins with a superblock of 64 bytes and an entry for each of its blocks; the
// blocks follow at the next multiple of the block size. Numbers are little-endian:
//
//	 0 magic:u32 version:u32 block_size:u32 pad:u32 n_blocks:u64 seq_count:u64 padding:32
//	64 entries{original_sector:u64 seq_count:u64}[n_blocks]
//
// A commit writes entries and content first and then a superblock with the next seq_count.
// So an entry counts only when its seq_count is below the superblock's; of several for one
// sector the highest counts. A free entry has all bits of seq_count set. Persistent memory
// ("p" in the kernel's table) has the same layout. Nothing has a checksum.
//
// Source: drivers/md/dm-writecache.c.
package writecache

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

const (
	sbVersion   = 4
	sbBlockSize = 8
	sbBlocks    = 16
	sbSeq       = 24
	sbSize      = 64

	entrySize = 16
	entrySeq  = 8

	magic   = 0x23489321
	version = 1

	sectorSize   = 512
	minBlockSize = 512
	maxBlockSize = 65536 // the kernel's limit is its page size

	free = math.MaxUint64 // seq_count of a free entry
)

// ErrEmpty says that the device has no superblock but zeros: the cache was never used, or
// what it held is gone.
var ErrEmpty = errors.New("zeros where the writecache's superblock ought to be: it was never used, or its content is gone")

// Superblock is the head of a cache device.
type Superblock struct {
	BlockSize int64  // bytes
	Blocks    int64  // that the cache has room for
	Seq       uint64 // entries with a lower number are committed
}

// DataOffset is where block 0 of the cache begins, in bytes.
func (s Superblock) DataOffset() int64 {
	return (sbSize + entrySize*s.Blocks + s.BlockSize - 1) / s.BlockSize * s.BlockSize
}

// ParseSuperblock reads the head of a cache device of size bytes. A field that no reader can
// go on with is returned as a *metadata.DamageError.
func ParseSuperblock(b []byte, size int64) (Superblock, error) {
	if len(b) < sbSize {
		return Superblock{}, damaged("length", 0, "has %d bytes, expected %d", len(b), sbSize)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	blockSize, blocks := u32(sbBlockSize), binary.LittleEndian.Uint64(b[sbBlocks:])
	switch {
	case u32(0) == 0 && u32(sbVersion) == 0:
		return Superblock{}, ErrEmpty
	case u32(0) != magic:
		return Superblock{}, damaged("magic", 0, "magic is 0x%08x, expected 0x%08x", u32(0), magic)
	case u32(sbVersion) != version:
		return Superblock{}, damaged("version", sbVersion, "version is %d, expected %d", u32(sbVersion), version)
	case blockSize < minBlockSize || blockSize > maxBlockSize || blockSize&(blockSize-1) != 0:
		return Superblock{}, damaged("block_size", sbBlockSize, "blocks have %d bytes, expected a power of 2 from %d to %d", blockSize, minBlockSize, maxBlockSize)
	case blocks > uint64(max(size, 0))/uint64(blockSize):
		return Superblock{}, damaged("n_blocks", sbBlocks, "%d blocks of %d bytes are more than the %d bytes of the cache", blocks, blockSize, size)
	}
	return Superblock{int64(blockSize), int64(blocks), binary.LittleEndian.Uint64(b[sbSeq:])}, nil
}

// Disputed is the Index of a block of the origin that two entries claim with one sequence
// number: which of them is right cannot be told.
const Disputed = -1

// Entry says that a block of the origin is to be read from the cache.
type Entry struct {
	Block int64 // of the origin, in units of the block size
	Index int64 // of the block in the cache; or Disputed
	Seq   uint64
}

// Map is what a cache device holds.
type Map struct {
	Superblock
	Entries     []Entry // the committed ones, by Block, none twice
	Uncommitted int64   // entries that a power cut has made void

	// Err says why there may be committed entries that are not in Entries, or that Entries
	// may be wrong; nil: it is as the kernel has left it.
	Err error
}

const (
	chunkSize = 1 << 20 // of the entries read at once, bytes
	crowd     = 1 << 16 // entries that may be kept without asking how many are void

	// maxEntries bounds the memory of a map: 192 MiB, and 48 more while it grows. It is enough
	// for 32 GiB in blocks of 4 KiB that the origin does not have yet.
	maxEntries  = 1 << 23
	manyEntries = maxEntries / 4 // from here on there is room for maxEntries
)

// Read reads the metadata of a cache device of size bytes in front of an origin of
// originSize bytes. Without a superblock that can be used there is nothing but an error.
func Read(src io.ReaderAt, size, originSize int64) (*Map, error) {
	return read(src, size, originSize, maxEntries)
}

// read keeps so many entries at most, among them those that newer ones of the same part replace.
func read(src io.ReaderAt, size, originSize int64, most int) (*Map, error) {
	b := make([]byte, sbSize)
	if n, err := src.ReadAt(b, 0); n < sbSize {
		return nil, fmt.Errorf("writecache superblock: %w", err)
	}
	sb, err := ParseSuperblock(b, size)
	if err != nil {
		return nil, err
	}
	m := &Map{Superblock: sb}
	if m.DataOffset() > size-sb.Blocks*sb.BlockSize {
		return nil, damaged("n_blocks", sbBlocks, "%d blocks of %d bytes and their entries are more than the %d bytes of the cache", sb.Blocks, sb.BlockSize, size)
	}
	b = make([]byte, min(chunkSize, sb.Blocks*entrySize))
	settled := 0
	for at := int64(0); at < sb.Blocks; at += chunkSize / entrySize {
		part := b[:min(chunkSize, (sb.Blocks-at)*entrySize)]
		n, err := src.ReadAt(part, sbSize+at*entrySize)
		if n < len(part) {
			m.fail(fmt.Errorf("entries from %d on: %w", at+int64(n/entrySize), err))
			part = part[:n/entrySize*entrySize]
		}
		m.add(part, at, originSize)
		next := at + chunkSize/entrySize
		if len(m.Entries) > most-chunkSize/entrySize && next < sb.Blocks { // another part may not fit in
			m.settle()
			if settled = len(m.Entries); settled > most/2 { // else it would have to be settled again and again
				m.fail(fmt.Errorf("more than %d blocks are committed: entries from %d on are not read", settled, next))
				break
			}
		}
		if len(m.Entries) > manyEntries && cap(m.Entries) < maxEntries {
			m.Entries = append(make([]Entry, 0, maxEntries), m.Entries...)
		}
		if len(m.Entries) > crowd+2*settled { // entries of one block may be as many as it has room for
			m.settle()
			settled = len(m.Entries)
		}
	}
	m.settle()
	return m, nil
}

// add takes the committed entries of part, the first of which is entry index.
func (m *Map) add(part []byte, index, originSize int64) {
	for ; len(part) > 0; part, index = part[entrySize:], index+1 {
		sector, seq := binary.LittleEndian.Uint64(part), binary.LittleEndian.Uint64(part[entrySeq:])
		if seq >= m.Seq {
			if seq == m.Seq {
				m.Uncommitted++
			} else if seq != free {
				m.fail(fmt.Errorf("entry %d (byte %d).seq_count is %d, the cache is at %d", index, sbSize+index*entrySize, seq, m.Seq))
			}
			continue
		}
		per := uint64(m.BlockSize / sectorSize)
		if sector%per != 0 || sector/per >= uint64(max(originSize, 0)/m.BlockSize) {
			m.fail(fmt.Errorf("entry %d (byte %d).original_sector is %d, no block of an origin of %d bytes", index, sbSize+index*entrySize, sector, originSize))
			continue
		}
		m.Entries = append(m.Entries, Entry{int64(sector / per), index, seq})
	}
}

// fail keeps the first thing that is wrong.
func (m *Map) fail(err error) {
	if m.Err == nil {
		m.Err = err
	}
}

// settle sorts the entries and leaves the newest of each block.
func (m *Map) settle() {
	slices.SortFunc(m.Entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Block, b.Block), cmp.Compare(b.Seq, a.Seq))
	})
	kept := m.Entries[:0]
	var before Entry
	for i, e := range m.Entries {
		last := len(kept) - 1
		if i > 0 && before.Block == e.Block && before.Seq == e.Seq { // the kernel refuses the whole cache
			m.fail(fmt.Errorf("two entries are of block %d with sequence number %d", e.Block, e.Seq))
		}
		before = e
		switch {
		case last < 0 || kept[last].Block != e.Block:
			kept = append(kept, e)
		case kept[last].Seq == e.Seq:
			kept[last].Index = Disputed
		}
	}
	m.Entries = kept
}

func damaged(field string, offset int64, format string, args ...any) error {
	return metadata.Damaged("writecache-"+field, "wc_memory_superblock."+field, offset, format, args...)
}
