package signs

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

// Fields of an ext superblock (fs/ext4/ext4.h), which stands 1024 bytes behind the start of
// the filesystem or, as a copy, at the start of a block group.
const (
	extOffBlocks    = 4
	extOffFirst     = 20
	extOffBlock     = 24
	extOffPerGroup  = 32
	extOffRevision  = 76
	extOffGroup     = 90
	extOffCompat    = 92
	extOffIncompat  = 96
	extOffROCompat  = 100
	extOffUUID      = 104
	extOffLabel     = 120
	extOffBlocksHi  = 336
	extOffChecksum  = 1020
	extPrimary      = 1024
	maxExtBlock     = 6 // log2 of the block size, above 1024
	extJournal      = 4 // compat
	extExtents      = 0x40
	ext64Bit        = 0x80
	extChecksums    = 0x400 // ro_compat
	extBlocksBefore = 1     // first data block of blocks of 1024 bytes
)

func ext(b []byte) *Sign {
	if len(b) < extPrimary {
		return nil
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	blocks, first, perGroup := uint64(u32(extOffBlocks)), u32(extOffFirst), u32(extOffPerGroup)
	block := int64(1024) << min(u32(extOffBlock), maxExtBlock+1)
	if u32(extOffIncompat)&ext64Bit != 0 {
		blocks |= uint64(u32(extOffBlocksHi)) << 32
	}
	size, ok := product(blocks, uint64(block))
	if !ok || u32(extOffBlock) > maxExtBlock || first > extBlocksBefore || u32(extOffRevision) > 1 ||
		perGroup == 0 || int64(perGroup) > 8*block || u32(0) == 0 {
		return nil
	}
	s := &Sign{Format: "ext2", Start: extPrimary, Size: size, Block: block, Group: int64(perGroup) * block, UUID: uuid(b[extOffUUID:][:16]), Label: text(b[extOffLabel:][:16])}
	if u32(extOffCompat)&extJournal != 0 {
		s.Format = "ext3"
	}
	if u32(extOffIncompat)&extExtents != 0 {
		s.Format = "ext4"
	}
	if u32(extOffROCompat)&extChecksums != 0 {
		s.Checksum = state(u32(extOffChecksum), ^crc32.Checksum(b[:extOffChecksum], castagnoli))
	}
	if group := binary.LittleEndian.Uint16(b[extOffGroup:]); group > 0 {
		start, ok := product(uint64(group)*uint64(perGroup)+uint64(first), uint64(block))
		if !ok || start >= size {
			return nil
		}
		s.Backup, s.Start = true, start
	}
	return s
}

// Fields of an XFS superblock (fs/xfs/libxfs/xfs_format.h), big-endian; each allocation group
// begins with one, and the next sector, the header of its free space, says which group it is.
const (
	xfsOffBlock    = 4
	xfsOffBlocks   = 8
	xfsOffUUID     = 32
	xfsOffPerGroup = 84
	xfsOffGroups   = 88
	xfsOffVersion  = 100
	xfsOffSector   = 102
	xfsOffLabel    = 108
	xfsOffProgress = 126 // set in the copies since mkfs
	xfsOffCRC      = 224 // little-endian
	xfsVersions    = 0xf
	xfsOffGroup    = 8          // of the free space's header
	magicXFSFree   = 0x58414746 // "XAGF"
)

func xfs(b []byte) *Sign {
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	block, perGroup, groups := u32(xfsOffBlock), u32(xfsOffPerGroup), u32(xfsOffGroups)
	blocks := binary.BigEndian.Uint64(b[xfsOffBlocks:])
	sector := int(binary.BigEndian.Uint16(b[xfsOffSector:]))
	size, ok := product(blocks, uint64(block))
	if !ok || !powerOf2(uint64(block), 512, 65536) || !powerOf2(uint64(sector), 512, 32768) ||
		uint64(perGroup)*uint64(groups) < blocks || groups == 0 || uint64(perGroup)*uint64(groups-1) >= blocks {
		return nil
	}
	s := &Sign{Format: "XFS", Size: size, Block: int64(block), Group: int64(perGroup) * int64(block), UUID: uuid(b[xfsOffUUID:][:16]), Label: text(b[xfsOffLabel:][:12])}
	if b[xfsOffProgress] != 0 {
		s.Backup, s.Start = true, Unknown
	}
	if end := sector + xfsOffGroup + 4; end <= len(b) && u32(sector) == magicXFSFree {
		n := u32(sector + xfsOffGroup)
		if n >= groups {
			return nil
		}
		s.Backup, s.Start = n > 0, int64(n)*int64(perGroup)*int64(block)
	}
	if binary.BigEndian.Uint16(b[xfsOffVersion:])&xfsVersions == 5 && sector <= len(b) {
		head := slices.Clone(b[:sector])
		clear(head[xfsOffCRC:][:4])
		s.Checksum = state(binary.LittleEndian.Uint32(b[xfsOffCRC:]), crc32.Checksum(head, castagnoli))
	}
	return s
}

// Fields of a Btrfs superblock (fs/btrfs, include/uapi/linux/btrfs_tree.h), which knows its
// own place.
const (
	btrfsOffUUID    = 32
	btrfsOffAt      = 48
	btrfsOffSector  = 144
	btrfsOffCRCType = 196
	btrfsOffDevSize = 209 // of this device, in dev_item
	btrfsOffLabel   = 299
	btrfsPrimary    = 64 << 10
	btrfsSize       = 4096
)

func btrfs(b []byte) *Sign {
	if len(b) < btrfsSize {
		return nil
	}
	at, size := binary.LittleEndian.Uint64(b[btrfsOffAt:]), binary.LittleEndian.Uint64(b[btrfsOffDevSize:])
	block := binary.LittleEndian.Uint32(b[btrfsOffSector:])
	if at < btrfsPrimary || at > maxBytes || size > maxBytes || !powerOf2(uint64(block), 512, 65536) {
		return nil
	}
	s := &Sign{Format: "Btrfs", Start: int64(at), Size: int64(size), Block: int64(block), Backup: at != btrfsPrimary,
		UUID: uuid(b[btrfsOffUUID:][:16]), Label: text(b[btrfsOffLabel:][:256])}
	if binary.LittleEndian.Uint16(b[btrfsOffCRCType:]) == 0 {
		s.Checksum = state(binary.LittleEndian.Uint32(b), crc32.Checksum(b[btrfsOffUUID:btrfsSize], castagnoli))
	}
	return s
}

// Fields of a GFS2 superblock (include/uapi/linux/gfs2_ondisk.h), big-endian.
const (
	gfs2OffType   = 4
	gfs2OffFormat = 16
	gfs2OffBlock  = 36
	gfs2OffTable  = 160
	gfs2OffUUID   = 256
	gfs2Place     = 64 << 10
)

func gfs2(b []byte) *Sign {
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	if u32(gfs2OffType) != 1 || u32(gfs2OffFormat) != 100 || !powerOf2(uint64(u32(gfs2OffBlock)), 512, 65536) {
		return nil
	}
	return &Sign{Format: "GFS2", Start: gfs2Place, Block: int64(u32(gfs2OffBlock)), UUID: uuid(b[gfs2OffUUID:][:16]), Label: text(b[gfs2OffTable:][:64])}
}

// Fields of a VxFS superblock (fs/freevxfs/vxfs.h).
const (
	vxfsOffVersion = 4
	vxfsOffBlock   = 32
	vxfsOffBlocks  = 36
)

// vxfs reads both byte orders: that of Linux and that of HP-UX, which also puts the
// superblock elsewhere.
func vxfs(b []byte) *Sign {
	order, start := binary.ByteOrder(binary.LittleEndian), int64(1024)
	if binary.LittleEndian.Uint32(b) == magicVxFSBig {
		order, start = binary.BigEndian, 8192
	}
	block := order.Uint32(b[vxfsOffBlock:])
	size, ok := product(uint64(order.Uint32(b[vxfsOffBlocks:])), uint64(block))
	if v := order.Uint32(b[vxfsOffVersion:]); !ok || v < 2 || v > 32 || !powerOf2(uint64(block), 512, 65536) {
		return nil
	}
	return &Sign{Format: "VxFS", Start: start, Size: size, Block: int64(block)}
}

// Fields of the header of swap (include/linux/swap.h), 1024 bytes behind its start; the magic
// ends its first page, of 4096 bytes.
const (
	swapOffLast  = 4
	swapOffUUID  = 12
	swapOffLabel = 28
	swapPlace    = 1024
	swapPage     = 4096
)

func swap(b []byte) *Sign {
	if !hasSwapMagic(b) {
		return nil
	}
	pages := uint64(binary.LittleEndian.Uint32(b[swapOffLast:])) + 1
	if pages < 2 {
		return nil
	}
	return &Sign{Format: "swap", Start: swapPlace, Size: int64(pages) * swapPage, Block: swapPage,
		UUID: uuid(b[swapOffUUID:][:16]), Label: text(b[swapOffLabel:][:16])}
}

func hasSwapMagic(b []byte) bool {
	return len(b) >= offSwap+len(magicSwap) && string(b[offSwap:offSwap+len(magicSwap)]) == magicSwap
}

// Fields of a LUKS header (cryptsetup, LUKS2 on-disk format), big-endian.
const (
	luksOffVersion = 6
	luksOffUUID    = 168
	luksUUIDSize   = 40
	luksOffHeader  = 8 // size of a header of version 2
	luksOffLabel   = 24
	luksOffAt      = 256
)

func luks(b []byte) *Sign {
	version := binary.BigEndian.Uint16(b[luksOffVersion:])
	if b[4] != 0xba || b[5] != 0xbe || version != 1 && version != 2 {
		return nil
	}
	s := &Sign{Format: fmt.Sprintf("LUKS%d", version), UUID: text(b[luksOffUUID:][:luksUUIDSize])}
	if version == 1 {
		if binary.LittleEndian.Uint32(b) == magicLUKS2 {
			return nil
		}
		return s
	}
	at, size := binary.BigEndian.Uint64(b[luksOffAt:]), binary.BigEndian.Uint64(b[luksOffHeader:])
	s.Label, s.Start, s.Backup = text(b[luksOffLabel:][:48]), int64(at), binary.LittleEndian.Uint32(b) == magicLUKS2
	if at > 4<<20 || !powerOf2(size, 16<<10, 4<<20) || s.Backup != (at > 0) {
		return nil
	}
	return s
}

// powerOf2 tells whether n is one from lo to hi.
func powerOf2(n, lo, hi uint64) bool { return n >= lo && n <= hi && n&(n-1) == 0 }

// of4KiB is b with the length of a block of device-mapper's; nil when the disk ends before.
func of4KiB(b []byte) []byte {
	if len(b) < 4096 {
		return nil
	}
	return b[:4096]
}

// valid is what a format's own check says.
func valid(err error) metadata.Checksum {
	if err == nil {
		return metadata.ChecksumValid
	}
	return metadata.ChecksumInvalid
}
