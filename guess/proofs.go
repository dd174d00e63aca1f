package guess

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/lvrescue/lvrescue/scan"
)

// proof is a block of a filesystem that tells by its content, with a checksum or its own
// address in it, whether it stands where it must.
type proof struct {
	off  int64 // in the volume
	size int64
	fit  func(b []byte) fitting
}

// maxProofs bounds how many there are of one filesystem.
const maxProofs = 256

// proofs lists what can be told of a filesystem by its superblock and what stands right behind
// it: within the first bytes of the volume, which lie on its first leg in one piece.
func proofs(first *scan.Sign, head []byte) []proof {
	switch first.Format {
	case "ext4":
		return extProofs(head)
	case "XFS":
		return xfsProofs(head)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chain goes on with a CRC-32C as the kernel has it: without the inversions at both ends.
func chain(seed uint32, b []byte) uint32 { return ^crc32.Update(^seed, castagnoli, b) }

// blank tells whether all bytes are alike, so that they could stand anywhere.
func blank(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}

// Fields of ext4's superblock, at byte 1024, of a group descriptor, and of an inode (fs/ext4/ext4.h).
const (
	extSuper        = 1024
	extInodes       = 0
	extBlockSize    = 24
	extGroupBlocks  = 32
	extGroupInodes  = 40
	extInodeSize    = 88
	extIncompat     = 96
	extROCompat     = 100
	extUUID         = 104
	extFirstBlock   = 20
	extDescSize     = 254
	extSeed         = 624
	extHasSeed      = 0x2000 // incompat
	ext64Bit        = 0x80
	extChecksums    = 0x400 // ro_compat
	extMetaGroups   = 0x10  // incompat: descriptors stand elsewhere
	descBlockMap    = 0
	descInodeMap    = 4
	descTable       = 8
	descFlags       = 18
	descBlockSum    = 24
	descInodeSum    = 26
	descHigh        = 32 // what a descriptor of 64 bytes has more
	descBlockSumHi  = 56
	descInodeSumHi  = 58
	noInodes        = 1 // flags
	noBlocks        = 2
	inodeGeneration = 100
	inodeSumLow     = 124
	inodeExtra      = 128
	inodeSumHigh    = 130
	extRoot         = 2
)

// extProofs are the bitmaps and the first inodes of the groups of an ext4 with checksums.
func extProofs(head []byte) (list []proof) {
	if len(head) < 2*extSuper {
		return nil
	}
	sb := head[extSuper:][:extSuper]
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(sb[at:]) }
	incompat, log2 := u32(extIncompat), u32(extBlockSize)
	if u32(extROCompat)&extChecksums == 0 || incompat&extMetaGroups != 0 || log2 > 6 {
		return nil
	}
	block, inodes, inodeSize := int64(1024)<<log2, int64(u32(extGroupInodes)), int64(binary.LittleEndian.Uint16(sb[extInodeSize:]))
	desc := int64(32)
	if incompat&ext64Bit != 0 {
		desc = int64(binary.LittleEndian.Uint16(sb[extDescSize:]))
	}
	if inodes == 0 || inodes > 8*block || inodeSize < 128 || inodeSize > block || desc < 32 || desc > 1024 || u32(extGroupBlocks) == 0 || int64(u32(extGroupBlocks)) > 8*block {
		return nil
	}
	seed := chain(^uint32(0), sb[extUUID:][:16])
	if incompat&extHasSeed != 0 {
		seed = u32(extSeed)
	}
	groups := int64(u32(extInodes)) / inodes
	table := (int64(u32(extFirstBlock)) + 1) * block // of the descriptors
	for g := int64(0); g < groups && table+(g+1)*desc <= int64(len(head)) && len(list) < maxProofs; g++ {
		d := head[table+g*desc:][:desc]
		number := func(at int) int64 {
			n := int64(binary.LittleEndian.Uint32(d[at:]))
			if desc >= 64 {
				n |= int64(binary.LittleEndian.Uint32(d[descHigh+at:])&0x7fff) << 32
			}
			return n
		}
		sum := func(low, high int) (uint32, uint32) {
			if desc >= 64 {
				return uint32(binary.LittleEndian.Uint16(d[low:])) | uint32(binary.LittleEndian.Uint16(d[high:]))<<16, ^uint32(0)
			}
			return uint32(binary.LittleEndian.Uint16(d[low:])), 0xffff
		}
		bitmap := func(at, low, high int, bits int64) {
			want, mask := sum(low, high)
			list = append(list, proof{number(at) * block, block, func(b []byte) fitting {
				switch {
				case chain(seed, b[:bits/8])&mask != want:
					return differs
				case blank(b[:bits/8]):
					return tellsNothing
				}
				return fits
			}})
		}
		flags := binary.LittleEndian.Uint16(d[descFlags:])
		if flags&noBlocks == 0 {
			bitmap(descBlockMap, descBlockSum, descBlockSumHi, int64(u32(extGroupBlocks)))
		}
		if flags&noInodes == 0 {
			bitmap(descInodeMap, descInodeSum, descInodeSumHi, inodes)
			list = append(list, proof{number(descTable) * block, block, func(b []byte) fitting { return extTable(b, seed, g*inodes+1, inodeSize) }})
		}
	}
	return list
}

// extTable looks at a block of inodes, of which the first has a number.
func extTable(b []byte, seed uint32, first, size int64) fitting {
	result := tellsNothing
	for i := int64(0); (i+1)*size <= int64(len(b)); i++ {
		inode := append([]byte{}, b[i*size:][:size]...)
		if blank(inode) {
			if first+i == extRoot {
				return differs
			}
			continue
		}
		want, mask := uint32(binary.LittleEndian.Uint16(inode[inodeSumLow:])), uint32(0xffff)
		clear(inode[inodeSumLow:][:2])
		if size > 128 && binary.LittleEndian.Uint16(inode[inodeExtra:]) >= 4 {
			want |= uint32(binary.LittleEndian.Uint16(inode[inodeSumHigh:])) << 16
			mask = ^uint32(0)
			clear(inode[inodeSumHigh:][:2])
		}
		sum := chain(seed, binary.LittleEndian.AppendUint32(nil, uint32(first+i)))
		sum = chain(chain(sum, inode[inodeGeneration:][:4]), inode)
		if sum&mask != want {
			return differs
		}
		result = fits
	}
	return result
}

// Fields of XFS, version 5, big-endian (fs/xfs/libxfs/xfs_format.h, xfs_log_format.h).
const (
	xfsBlock     = 4
	xfsUUID      = 32
	xfsLogStart  = 48
	xfsRootInode = 56
	xfsAGBlocks  = 84
	xfsAGs       = 88
	xfsLogBlocks = 96
	xfsVersion   = 100
	xfsSector    = 102
	xfsInode     = 104
	xfsPerBlock  = 123 // log2, inodes
	xfsAGLog     = 124 // log2 of the blocks of an allocation group
	xfsMetaUUID  = 248
	xfsHasMeta   = 216 // incompat
	metaUUIDFlag = 4

	inodeSum    = 100 // little-endian, as all checksums
	inodeNumber = 152
	inodeUUID   = 160

	logLSN     = 16
	logUUID    = 304
	magicInode = 0x494e
	magicAGF   = 0x58414746
	magicAGI   = 0x58414749
	magicLog   = 0xfeedbabe
	logPart    = 512 << 10 // bytes of the log that are looked at
)

// xfsProofs are the headers of allocation groups, the inodes around the root, and the records
// at the start of the log.
func xfsProofs(head []byte) (list []proof) {
	if len(head) < 512 || binary.BigEndian.Uint16(head[xfsVersion:])&0xf != 5 {
		return nil
	}
	u32 := func(at int) int64 { return int64(binary.BigEndian.Uint32(head[at:])) }
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(head[at:]) }
	block, sector, inode := u32(xfsBlock), int64(binary.BigEndian.Uint16(head[xfsSector:])), int64(binary.BigEndian.Uint16(head[xfsInode:]))
	perBlock, agLog, agBlocks := uint(head[xfsPerBlock]), uint(head[xfsAGLog]), u32(xfsAGBlocks)
	if block < 512 || block > 65536 || sector < 512 || sector > block || inode < 256 || inode > block || perBlock > 8 || agLog > 31 || agBlocks > 1<<agLog || inode<<perBlock != block {
		return nil
	}
	uuid := string(head[xfsUUID:][:16])
	if u32(xfsHasMeta)&metaUUIDFlag != 0 {
		uuid = string(head[xfsMetaUUID:][:16])
	}
	at := func(fsBlock uint64) int64 {
		return (int64(fsBlock>>agLog)*agBlocks + int64(fsBlock&(1<<agLog-1))) * block
	}
	for ag := int64(0); ag < u32(xfsAGs) && len(list) < maxProofs/2; ag++ {
		for i, magic := range []uint32{magicAGF, magicAGI} {
			list = append(list, proof{ag*agBlocks*block + int64(i+1)*sector, 512, func(b []byte) fitting {
				return when(binary.BigEndian.Uint32(b) == magic && int64(binary.BigEndian.Uint32(b[8:])) == ag)
			}})
		}
	}
	root := u64(xfsRootInode)
	if root>>perBlock>>agLog < uint64(u32(xfsAGs)) {
		chunk := root &^ 63 // inodes are allocated by 64
		for n := chunk; n < chunk+64; n += 1 << perBlock {
			list = append(list, proof{at(n >> perBlock), block, func(b []byte) fitting { return xfsInodes(b, uuid, n, inode) }})
		}
	}
	log, size := u64(xfsLogStart), u32(xfsLogBlocks)*block
	if log == 0 || log>>agLog >= uint64(u32(xfsAGs)) {
		return list
	}
	for off := int64(0); off < min(size, logPart) && len(list) < maxProofs; off += 4096 {
		list = append(list, proof{at(log) + off, 4096, func(b []byte) fitting { return xfsLog(b, string(head[xfsUUID:][:16]), off/512) }})
	}
	return list
}

func when(ok bool) fitting {
	if ok {
		return fits
	}
	return differs
}

// xfsInodes looks at a block of inodes, of which the first has a number.
func xfsInodes(b []byte, uuid string, first uint64, size int64) fitting {
	for i := int64(0); (i+1)*size <= int64(len(b)); i++ {
		inode := append([]byte{}, b[i*size:][:size]...)
		sum := binary.LittleEndian.Uint32(inode[inodeSum:])
		clear(inode[inodeSum:][:4])
		if binary.BigEndian.Uint16(inode) != magicInode || string(inode[inodeUUID:][:16]) != uuid ||
			binary.BigEndian.Uint64(inode[inodeNumber:]) != first+uint64(i) || crc32.Checksum(inode, castagnoli) != sum {
			return differs
		}
	}
	return fits
}

// xfsLog looks for headers of records in a piece of the log: each has its own place in it.
func xfsLog(b []byte, uuid string, sector int64) fitting {
	result := tellsNothing
	for i := 0; i+512 <= len(b); i += 512 {
		if binary.BigEndian.Uint32(b[i:]) != magicLog || string(b[i+logUUID:][:16]) != uuid {
			continue
		}
		if int64(uint32(binary.BigEndian.Uint64(b[i+logLSN:]))) != sector+int64(i/512) {
			return differs
		}
		result = fits
	}
	return result
}
