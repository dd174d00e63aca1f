package thin

import (
	"encoding/binary"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/btree"
)

// superblockAt is the block that holds the superblock.
const superblockAt = 0

const (
	sbFlags       = 4
	sbMagic       = 32
	sbVersion     = 40
	sbTime        = 44
	sbTransaction = 48
	sbHeldRoot    = 56
	sbDataMap     = 64
	sbMetaMap     = 192
	sbMapping     = 320
	sbDetails     = 328
	sbChunk       = 336
	sbBlockSize   = 340
	sbBlocks      = 344
	sbIncompat    = 360

	magic      = 27022010
	maxVersion = 2

	flagNeedsCheck = 1

	sectorSize = 512     // bytes
	minChunk   = 128     // sectors; dm-thin.c DATA_DEV_BLOCK_SIZE_MIN_SECTORS
	maxChunk   = 2097152 // sectors; DATA_DEV_BLOCK_SIZE_MAX_SECTORS

	metadataBlockSectors = btree.BlockSize / sectorSize
)

// Superblock is a thin pool's superblock. Roots are block numbers of the metadata device.
type Superblock struct {
	NeedsCheck     bool // the kernel met an error and wants the metadata checked
	Version        uint32
	Time           uint32 // the pool's clock, which ticks with each snapshot
	TransactionID  uint64 // lvm2's count of devices made and deleted
	HeldRoot       uint64 // superblock of a metadata snapshot; 0: none
	MappingRoot    uint64
	DetailsRoot    uint64
	ChunkSize      int64  // bytes of a data block
	DataBlocks     uint64 // of ChunkSize
	MetadataBlocks uint64 // of btree.BlockSize

	DataMap, MetadataMap SpaceMap
}

// SpaceMap is where a superblock says that the space map of the data or of the metadata
// device begins: counts of how often each block is used.
type SpaceMap struct {
	Blocks, Allocated uint64
	Bitmaps           uint64 // of the data: root of a tree; of the metadata: an index block
	Counts            uint64 // root of a tree of counts above 2
}

func parseSpaceMap(b []byte) SpaceMap {
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	return SpaceMap{u64(0), u64(8), u64(16), u64(24)}
}

// ParseSuperblock reads a superblock whose checksum was found valid; b is btree.BlockSize
// bytes. A field that no reader can go on with is returned as a *metadata.DamageError.
func ParseSuperblock(b []byte) (Superblock, error) {
	if len(b) != btree.BlockSize {
		return Superblock{}, damaged("length", 0, "has %d bytes, expected %d", len(b), btree.BlockSize)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	sb := Superblock{
		NeedsCheck:     u32(sbFlags)&flagNeedsCheck != 0,
		Version:        u32(sbVersion),
		Time:           u32(sbTime),
		TransactionID:  u64(sbTransaction),
		HeldRoot:       u64(sbHeldRoot),
		MappingRoot:    u64(sbMapping),
		DetailsRoot:    u64(sbDetails),
		ChunkSize:      int64(u32(sbChunk)) * sectorSize,
		MetadataBlocks: u64(sbBlocks),
		DataMap:        parseSpaceMap(b[sbDataMap:]),
		MetadataMap:    parseSpaceMap(b[sbMetaMap:]),
	}
	sb.DataBlocks = sb.DataMap.Blocks
	chunk := u32(sbChunk)
	switch {
	case u64(sbMagic) != magic:
		return sb, damaged("magic", sbMagic, "magic is %d, expected %d", u64(sbMagic), magic)
	case sb.Version == 0 || sb.Version > maxVersion:
		return sb, damaged("version", sbVersion, "version is %d, expected 1 or %d", sb.Version, maxVersion)
	case u32(sbBlockSize) != metadataBlockSectors:
		return sb, damaged("metadata_block_size", sbBlockSize, "metadata blocks have %d sectors, expected %d", u32(sbBlockSize), metadataBlockSectors)
	case chunk < minChunk || chunk > maxChunk || chunk%minChunk != 0:
		return sb, damaged("data_block_size", sbChunk, "data blocks have %d sectors, expected a multiple of %d up to %d", chunk, minChunk, maxChunk)
	case u32(sbIncompat) != 0:
		return sb, damaged("incompat_flags", sbIncompat, "features 0x%x are not known", u32(sbIncompat))
	}
	return sb, nil
}

func damaged(field string, offset int64, format string, args ...any) error {
	return metadata.Damaged("thin-"+field, "thin_disk_superblock."+field, offset, format, args...)
}
