package fssign

import (
	"bytes"
	"hash/crc32"
)

// Features of ext filesystems (Linux, fs/ext4/ext4.h) that tell what kind one is.
const (
	extHasJournal   = 0x4   // compatible
	extJournalDev   = 0x8   // incompatible: no filesystem but the journal of one
	ext64bit        = 0x80  // incompatible: counts have high halves
	extIncompat3    = 0x16  // incompatible ones that ext3 knows
	extROCompat3    = 0x7   // read-only ones
	extMetadataCsum = 0x400 // read-only
	extSuperblock   = 1024  // its size, and its place in the first group
	extMaxLogBlock  = 6     // blocks of 64 KiB
	extBigAlloc     = 0x200 // read-only: groups count clusters
)

// ext reads the superblock of an ext2, ext3 or ext4. Copies stand at the start of some block
// groups and tell which; the number has 16 bits, so that it is believed only where a
// filesystem has no more groups.
func ext(b []byte) (Sign, bool) {
	logBlock := le.Uint32(b[24:])
	if le.Uint16(b[56:]) != 0xef53 || logBlock > extMaxLogBlock {
		return Sign{}, false
	}
	block := int64(1024) << logBlock
	blocks, first := uint64(le.Uint32(b[4:])), le.Uint32(b[20:])
	compat, incompat, roCompat := le.Uint32(b[92:]), le.Uint32(b[96:]), le.Uint32(b[100:])
	if incompat&ext64bit != 0 {
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	perGroup, inodesPerGroup := int64(le.Uint32(b[32:])), le.Uint32(b[40:])
	size, ok := scaled(blocks, block)
	rightFirst := first == 0 || block == 1024 && first == 1
	if !ok || !rightFirst || perGroup == 0 || perGroup > 8*block*(1<<16) || inodesPerGroup == 0 || incompat&extJournalDev != 0 {
		return Sign{}, false
	}
	if roCompat&extBigAlloc == 0 && perGroup > 8*block {
		return Sign{}, false
	}
	s := Sign{Type: Ext4, Offset: extSuperblock, Size: size, Block: block, UUID: uuid(b[104:]), Label: label(b[120:136])}
	switch {
	case incompat&^extIncompat3 != 0 || roCompat&^extROCompat3 != 0:
	case compat&extHasJournal != 0:
		s.Type = Ext3
	default:
		s.Type = Ext2
	}
	if roCompat&extMetadataCsum != 0 {
		s.Checksum = checked(le.Uint32(b[1020:]), ^crc32.Checksum(b[:1020], castagnoli))
	}
	if group := int64(le.Uint16(b[90:])); group > 0 {
		groups := (int64(blocks) - int64(first) + perGroup - 1) / perGroup
		s.Backup, s.Offset = true, (group*perGroup+int64(first))*block
		if s.Offset < 0 || s.Offset >= size {
			return Sign{}, false
		}
		if groups > 1<<16 {
			s.Offset = -1
		}
	}
	return s, true
}

// Where an XFS's free space header stands behind each superblock, in sectors of the
// filesystem, and where it has the number of its allocation group (Linux, fs/xfs/libxfs/
// xfs_format.h).
const (
	xfsAGFSector = 1
	xfsAGFNumber = 8
)

// xfs reads a superblock of an XFS: one stands at the start of each allocation group, whose
// number is in the next sector. Fields are big-endian.
func xfs(b []byte) (Sign, bool) {
	if !bytes.HasPrefix(b, []byte("XFSB")) {
		return Sign{}, false
	}
	block, sector := int64(be.Uint32(b[4:])), int64(be.Uint16(b[102:]))
	blocks, agBlocks, agCount := be.Uint64(b[8:]), be.Uint32(b[84:]), be.Uint32(b[88:])
	size, ok := scaled(blocks, block)
	stride, strideOK := scaled(uint64(agBlocks), block)
	if !ok || !strideOK || agCount == 0 || !power(block, 512, 64<<10) || !power(sector, 512, 32<<10) {
		return Sign{}, false
	}
	if covered, ok := scaled(uint64(agCount), stride); !ok || covered < size || covered-stride >= size {
		return Sign{}, false
	}
	s := Sign{Type: XFS, Size: size, Block: block, Stride: stride, UUID: uuid(b[32:]), Label: label(b[108:120])}
	const inProgress, v5, crcAt = 126, 5, 224
	if be.Uint16(b[100:])&0xf == v5 && int64(len(b)) >= sector {
		sum := crc32.Update(crc32.Checksum(b[:crcAt], castagnoli), castagnoli, make([]byte, 4))
		s.Checksum = checked(le.Uint32(b[crcAt:]), crc32.Update(sum, castagnoli, b[crcAt+4:sector]))
	}
	agf := int64(xfsAGFSector) * sector
	switch {
	case int64(len(b)) >= agf+xfsAGFNumber+4 && bytes.HasPrefix(b[agf:], []byte("XAGF")):
		n := be.Uint32(b[agf+xfsAGFNumber:])
		if n >= agCount {
			return Sign{}, false
		}
		s.Backup, s.Offset = n > 0, int64(n)*stride
	case b[inProgress] != 0: // mkfs leaves it set in all copies but the first
		s.Backup, s.Offset = true, -1
	}
	return s, true
}

// btrfs reads a superblock of a Btrfs, which tells its own place on the device.
func btrfs(b []byte) (Sign, bool) {
	const devItem = 0xc9
	if !bytes.Equal(b[64:72], []byte("_BHRfS_M")) {
		return Sign{}, false
	}
	s := Sign{Type: Btrfs, Block: int64(le.Uint32(b[0x90:])), UUID: uuid(b[32:]), Label: label(b[0x12b : 0x12b+256])}
	offset, size := le.Uint64(b[48:]), le.Uint64(b[devItem+8:])
	if offset != 64<<10 && offset != 64<<20 && offset != 256<<30 || size == 0 || size > 1<<62 || offset >= size || !power(s.Block, 512, 64<<10) {
		return Sign{}, false
	}
	s.Offset, s.Backup, s.Size = int64(offset), offset != 64<<10, int64(size)
	if le.Uint16(b[0xc4:]) == 0 { // CRC-32C
		s.Checksum = checked(le.Uint32(b), crc32.Checksum(b[32:4096], castagnoli))
	}
	return s, true
}

// gfs2 reads the superblock of a GFS2, which does not tell the size. Fields are big-endian.
func gfs2(b []byte) (Sign, bool) {
	block := int64(be.Uint32(b[36:]))
	if be.Uint32(b) != 0x01161970 || be.Uint32(b[4:]) != 1 || be.Uint32(b[16:]) != 100 || !power(block, 512, 64<<10) || int64(1)<<(be.Uint32(b[40:])&63) != block {
		return Sign{}, false
	}
	return Sign{Type: GFS2, Offset: 64 << 10, Block: block, UUID: uuid(b[256:]), Label: label(b[160:224])}, true
}

// swap reads the first page of a swap space, of 4 KiB or, where b has as much, 8 KiB.
func swap(b []byte) (Sign, bool) {
	for page := int64(4096); page <= int64(len(b)); page *= 2 {
		if string(b[page-10:page]) != "SWAPSPACE2" || le.Uint32(b[1024:]) != 1 {
			continue
		}
		size, ok := scaled(uint64(le.Uint32(b[1028:]))+1, page)
		if !ok || size == page {
			continue
		}
		return Sign{Type: Swap, Size: size, Block: page, UUID: uuid(b[1036:]), Label: label(b[1052:1068])}, true
	}
	return Sign{}, false
}

// luks reads the header of a LUKS volume, or the second one of LUKS2. The size of what is
// encrypted is not in it. Fields are big-endian.
func luks(b []byte) (Sign, bool) {
	version := be.Uint16(b[6:])
	s := Sign{Type: LUKS, UUID: label(b[168:208])}
	switch first := bytes.HasPrefix(b, []byte("LUKS\xba\xbe")); {
	case first && version == 1:
		return s, true
	case first && version == 2:
		s.Label = label(b[24:72])
		return s, be.Uint64(b[256:]) == 0
	case bytes.HasPrefix(b, []byte("SKUL\xba\xbe")) && version == 2:
		at := be.Uint64(b[256:])
		s.Label, s.Backup, s.Offset = label(b[24:72]), true, int64(at)
		return s, at >= 16<<10 && at <= 4<<20 && at%4096 == 0
	}
	return Sign{}, false
}
