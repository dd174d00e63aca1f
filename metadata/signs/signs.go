// Package signs recognises what else than LVM2's own metadata stands on disks and helps to
// tell where a disk, a volume or a leg of an array begins, how large it is and which one it
// is: superblocks of filesystems, swap, LUKS, md and dm-raid, and of device-mapper's own
// formats.
//
// All offsets and sizes are bytes.
package signs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
)

// Length is how many bytes [Read] may look at: the longest superblock that is read.
const Length = 4096

// Unknown is the Start of a sign that does not tell where what it belongs to begins.
const Unknown = -1

// Sign is a superblock or header of some format.
type Sign struct {
	Format   string            // "ext4", "XFS", "md", "dm-raid", "thin pool"...
	Start    int64             // bytes from the start of what it belongs to to the sign; or Unknown
	Size     int64             // bytes of what it belongs to, as it says; 0 when it does not
	UUID     string            // in the format's own spelling
	Label    string            // the name that people gave it
	Backup   bool              // a copy beside the one that counts
	Block    int64             // bytes of a block or chunk
	Group    int64             // bytes of a block or allocation group: copies stand at the start of some
	Checksum metadata.Checksum // the format's own
	Array    *Array            // of md and dm-raid
}

// Array is what a member of an array knows of it.
type Array struct {
	Level    int    // as md numbers them
	Devices  int    // in the array
	Position int    // of this member; -1 for a spare
	Data     int64  // bytes from the start of the member to the array's data
	Events   uint64 // the highest is the freshest
	Active   int    `json:",omitempty"` // members that this one of md took for active, itself among them
	Unsure   string `json:",omitempty"` // why what stands on this member of md may not be the array's; "" when nothing says so
}

// reader reads one format; nil when b is not of it, or cannot be.
type reader func(b []byte) *Sign

// Read recognises the structure that b begins with; nil when there is none. b has Length
// bytes, fewer where the disk ends earlier.
func Read(b []byte) *Sign {
	if len(b) < metadata.SectorSize {
		return nil
	}
	if read := readerFor(b); read != nil {
		return read(b)
	}
	return nil
}

// Maybe tells, quickly, whether Read may find something where b begins: a sector, and what
// is at hand of those behind. It is asked of every sector of a disk.
func Maybe(b []byte) bool {
	head := b[:offBtrfs+8]
	if firstBytes[head[0]] && readerFor(b) != nil {
		return true
	}
	dm := binary.LittleEndian.Uint64(head[offDMBlock:])
	return dm == magicThin || dm == magicCache || binary.LittleEndian.Uint64(head[offBtrfs:]) == magicBtrfs ||
		binary.LittleEndian.Uint16(head[offExt:]) == magicExt && head[extOffBlock] <= maxExtBlock
}

// firstBytes are those that structures with a magic number at their start begin with.
var firstBytes = func() (set [256]bool) {
	for _, magic := range []uint32{magicXFS, magicMD, magicDMRaid, magicSnapshot, magicWritecache, magicMirrorLog, magicGFS2,
		magicVxFS, magicVxFSBig, magicLUKS, magicLUKS2, magicVDO & 0xff, magicIntegrity & 0xff, swapVersion, bootJump & 0xff} {
		set[byte(magic)] = true
	}
	return set
}()

// What structures begin with, as little-endian numbers.
const (
	magicXFS        = 0x42534658 // "XFSB"
	magicMD         = 0xa92b4efc
	magicDMRaid     = 0x64526d44 // "DmRd"
	magicSnapshot   = 0x70416e53 // "SnAp"
	magicWritecache = 0x23489321
	magicMirrorLog  = 0x4d695272
	magicGFS2       = 0x70191601 // the big-endian 0x01161970
	magicVxFS       = 0xa501fcf5
	magicVxFSBig    = 0xf5fc01a5
	magicLUKS       = 0x534b554c         // "LUKS", then 0xba 0xbe
	magicLUKS2      = 0x4c554b53         // "SKUL", then 0xba 0xbe: the second header of LUKS2
	magicVDO        = 0x3130306f76646d64 // "dmvdo001"
	magicIntegrity  = 0x0074726765746e69 // "integrt", NUL
	swapVersion     = 1
	bootJump        = 0x9000eb // over the fields of a boot sector; the byte between is its length
)

// What stands in them further on.
const (
	offExt     = 56
	magicExt   = 0xef53
	offBtrfs   = 64
	magicBtrfs = 0x4d5f53665248425f // "_BHRfS_M"
	offDMBlock = 32                 // of thin pools and caches
	magicThin  = 27022010
	magicCache = 0o6142003
	offSwap    = 4096 - 1024 - 10 // behind the header; see swap
	magicSwap  = "SWAPSPACE2"
)

// readerFor picks the format by the magic numbers; nil when there is none.
func readerFor(b []byte) reader {
	first := binary.LittleEndian.Uint64(b)
	if first == 0 {
		return nil // as nothing that is known begins
	}
	switch uint32(first) {
	case magicXFS:
		return xfs
	case magicMD:
		return md
	case magicDMRaid:
		return dmRaid
	case magicSnapshot:
		return snapshot
	case magicWritecache:
		return writeCache
	case magicMirrorLog:
		return mirrorLog
	case magicGFS2:
		return gfs2
	case magicVxFS, magicVxFSBig:
		return vxfs
	case magicLUKS, magicLUKS2:
		return luks
	case swapVersion:
		if len(b) < offSwap+len(magicSwap) || hasSwapMagic(b) {
			return swap
		}
	}
	switch {
	case binary.LittleEndian.Uint16(b[offExt:]) == magicExt && b[extOffBlock] <= maxExtBlock:
		return ext
	case binary.LittleEndian.Uint64(b[offBtrfs:]) == magicBtrfs:
		return btrfs
	case first&0xff00ff == bootJump:
		return bootSector
	case first == magicVDO:
		return vdoGeometry
	case first == magicIntegrity:
		return integritySuper
	}
	switch binary.LittleEndian.Uint64(b[offDMBlock:]) {
	case magicThin:
		return thinPool
	case magicCache:
		return dmCache
	}
	return nil
}

// castagnoli is CRC-32C, of ext4, XFS and Btrfs.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// state compares a stored checksum with the right one.
func state(stored, computed uint32) metadata.Checksum {
	if stored == computed {
		return metadata.ChecksumValid
	}
	return metadata.ChecksumInvalid
}

// uuid spells 16 bytes as blkid does; "" when all are zero.
func uuid(b []byte) string {
	if bytes.Count(b, []byte{0}) == len(b) {
		return ""
	}
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// text is what stands before the first NUL of a field, without spaces around it.
func text(field []byte) string {
	s, _, _ := bytes.Cut(field, []byte{0})
	return strings.TrimSpace(strings.ToValidUTF8(string(s), "\uFFFD"))
}

// product is a*b bytes; ok only for what a disk can have.
func product(a, b uint64) (n int64, ok bool) {
	if a == 0 || b == 0 || a > maxBytes/b {
		return 0, false
	}
	return int64(a * b), true
}

const maxBytes = 1 << 62
