// Package cache reads the metadata of a dm-cache device: which blocks of the origin the
// cache holds, and which of them only it has.
//
// Block 0 is the superblock; numbers are little-endian:
//
//	  0 csum:u32 flags:u32 blocknr:u64 uuid:16
//	 32 magic:u64 version:u32 policy_name:16 policy_hint_size:u32
//	 64 metadata_space_map_root:128
//	192 mapping_root:u64 hint_root:u64 discard_root:u64
//	216 discard_block_size:u64 discard_nr_blocks:u64
//	232 data_block_size:u32 metadata_block_size:u32 cache_blocks:u32
//	244 compat_flags:u32 compat_ro_flags:u32 incompat_flags:u32
//	284 dirty_root:u64 (version 2)
//
// The mapping array has a value for each block of the cache: origin block << 16 | flags,
// where 1 is valid and 2, in version 1, is dirty. Version 2 keeps the dirty bits in a bitset
// of their own, an array of words of 64 bits.
//
// Dirty bits are written at a clean shutdown only. Without it every valid block must be
// taken for dirty.
//
// Source: drivers/md/dm-cache-metadata.c.
package cache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/btree"
)

// superblockAt is the block that holds the superblock.
const superblockAt = 0

const (
	sbFlags     = 4
	sbMagic     = 32
	sbVersion   = 40
	sbPolicy    = 44
	sbHintSize  = 60
	sbMapping   = 192
	sbChunk     = 232
	sbBlockSize = 236
	sbBlocks    = 240
	sbIncompat  = 252
	sbDirty     = 284

	flagClean = 1 // of the superblock
	flagCheck = 2

	mappingSize = 8
	flagBits    = 16 // of a mapping, below the origin block
	flagValid   = 1
	flagDirty   = 2

	wordSize = 8 // of the dirty bitset

	// maxMappings bounds the memory of a map to 128 MiB, and as much again while it grows.
	// lvm2 makes caches of 1,000,000 blocks at most, unless it is told otherwise.
	maxMappings = 1 << 23

	magic        = 0o6142003 // the source writes it in octal
	maxVersion   = 2
	dirtyVersion = 2 // the first with a bitset of dirty bits

	sectorSize = 512
	minChunk   = 64      // sectors; dm-cache-target.c DATA_DEV_BLOCK_SIZE_MIN_SECTORS
	maxChunk   = 2097152 // sectors; DATA_DEV_BLOCK_SIZE_MAX_SECTORS

	metadataBlockSectors = btree.BlockSize / sectorSize
)

// Superblock is a cache's superblock. Roots are block numbers of the metadata device.
type Superblock struct {
	Clean       bool // shut down cleanly: the dirty bits are right
	NeedsCheck  bool // the kernel met an error and wants the metadata checked
	Version     uint32
	Policy      string
	ChunkSize   int64 // bytes of a block of the cache
	Blocks      int64 // of ChunkSize, that the cache has
	MappingRoot uint64
	DirtyRoot   uint64 // of version 2
}

// ParseSuperblock reads a superblock whose checksum was found valid; b is btree.BlockSize
// bytes. A field that no reader can go on with is returned as a *metadata.DamageError.
func ParseSuperblock(b []byte) (Superblock, error) {
	if len(b) != btree.BlockSize {
		return Superblock{}, damaged("length", 0, "has %d bytes, expected %d", len(b), btree.BlockSize)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	policy, _, _ := bytes.Cut(b[sbPolicy:sbHintSize], []byte{0})
	sb := Superblock{
		Clean:       u32(sbFlags)&flagClean != 0,
		NeedsCheck:  u32(sbFlags)&flagCheck != 0,
		Version:     u32(sbVersion),
		Policy:      string(policy),
		ChunkSize:   int64(u32(sbChunk)) * sectorSize,
		Blocks:      int64(u32(sbBlocks)),
		MappingRoot: u64(sbMapping),
	}
	if sb.Version >= dirtyVersion {
		sb.DirtyRoot = u64(sbDirty)
	}
	chunk := u32(sbChunk)
	switch {
	case u64(sbMagic) != magic:
		return sb, damaged("magic", sbMagic, "magic is %d, expected %d", u64(sbMagic), magic)
	case sb.Version == 0 || sb.Version > maxVersion:
		return sb, damaged("version", sbVersion, "version is %d, expected 1 or %d", sb.Version, maxVersion)
	case u32(sbBlockSize) != metadataBlockSectors:
		return sb, damaged("metadata_block_size", sbBlockSize, "metadata blocks have %d sectors, expected %d", u32(sbBlockSize), metadataBlockSectors)
	case chunk < minChunk || chunk > maxChunk || chunk%minChunk != 0:
		return sb, damaged("data_block_size", sbChunk, "cache blocks have %d sectors, expected a multiple of %d up to %d", chunk, minChunk, maxChunk)
	case u32(sbIncompat) != 0:
		return sb, damaged("incompat_flags", sbIncompat, "features 0x%x are not known", u32(sbIncompat))
	}
	return sb, nil
}

// State says where the content of a cached block of the origin is to be had.
type State uint8

const (
	Clean    State = iota // in the cache and on the origin
	Dirty                 // perhaps in the cache only
	Disputed              // two blocks of the cache claim to be it
)

// Mapping says that a block of the cache holds a block of the origin, both of ChunkSize.
type Mapping struct {
	Origin uint64
	Block  uint32
	State  State
}

// Map is what a cache holds.
type Map struct {
	Superblock
	Mappings []Mapping // by Origin, none twice; their States as the metadata tells them

	// Lost is the number of blocks of the cache of which it is not known what they hold,
	// and Err says why.
	Lost int64
	Err  error
}

// Read reads a metadata device of size bytes. Without a superblock that can be used there
// is nothing but an error.
func Read(src io.ReaderAt, size int64) (*Map, error) {
	r := btree.NewReader(src, size)
	b := make([]byte, btree.BlockSize)
	if err := r.Read(b, superblockAt, btree.CacheSuperblock); err != nil {
		return nil, err
	}
	sb, err := ParseSuperblock(b)
	if err == nil && sb.Blocks > size/mappingSize {
		err = damaged("cache_blocks", sbBlocks, "%d blocks are more than metadata of %d bytes can tell of", sb.Blocks, size)
	}
	if err != nil {
		return nil, &btree.BlockError{Block: superblockAt, Err: err}
	}
	m := &Map{Superblock: sb}
	m.load(btree.Array{Reader: r, Root: sb.MappingRoot, ValueSize: mappingSize, Len: uint64(sb.Blocks)}, maxMappings)
	if sb.Clean && sb.Version >= dirtyVersion {
		m.markDirty(btree.Array{Reader: r, Root: sb.DirtyRoot, ValueSize: wordSize, Len: (uint64(sb.Blocks) + 63) / 64})
	}
	m.settle()
	return m, nil
}

// load reads the mapping array up to so many mappings; Mappings are then by Block.
func (m *Map) load(a btree.Array, most int) {
	for run := range a.Walk() {
		if run.Err != nil {
			m.Lost += int64(run.Last - run.First + 1)
			if m.Err == nil {
				m.Err = run.Err
			}
			continue
		}
		for i := run.First; i <= run.Last; i++ {
			v := binary.LittleEndian.Uint64(run.Values[(i-run.First)*mappingSize:])
			if v&flagValid == 0 {
				continue
			}
			if len(m.Mappings) == most {
				m.Lost += m.Blocks - int64(i)
				m.Err = cmp.Or(m.Err, fmt.Errorf("the cache holds more than %d blocks: those from block %d on are not read", most, i))
				return
			}
			state := Clean
			if !m.Clean || m.Version < dirtyVersion && v&flagDirty != 0 {
				state = Dirty
			}
			m.Mappings = append(m.Mappings, Mapping{v >> flagBits, uint32(i), state})
		}
	}
}

// markDirty reads the dirty bits. Blocks whose bits are lost count as dirty: the content in
// the cache is right for clean ones too.
func (m *Map) markDirty(a btree.Array) {
	next := 0
	for run := range a.Walk() {
		for next < len(m.Mappings) && uint64(m.Mappings[next].Block)/64 <= run.Last {
			e := &m.Mappings[next]
			next++
			if run.Err == nil {
				word := binary.LittleEndian.Uint64(run.Values[(uint64(e.Block)/64-run.First)*wordSize:])
				if word>>(e.Block%64)&1 == 0 {
					continue
				}
			}
			e.State = Dirty
		}
	}
}

// settle sorts the mappings by block of the origin.
func (m *Map) settle() {
	slices.SortFunc(m.Mappings, func(a, b Mapping) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Block, b.Block))
	})
	kept := m.Mappings[:0]
	for _, e := range m.Mappings {
		if last := len(kept) - 1; last >= 0 && kept[last].Origin == e.Origin {
			kept[last].State = Disputed
			continue
		}
		kept = append(kept, e)
	}
	m.Mappings = kept
}

func damaged(field string, offset int64, format string, args ...any) error {
	return metadata.Damaged("cache-"+field, "cache_disk_superblock."+field, offset, format, args...)
}
