// Package fssign recognises filesystems, swap space and LUKS volumes by their superblocks,
// wherever these stand: what kind it is, how large the volume that it belongs to, and how
// far behind the volume's start the superblock lies. Backup superblocks that say where they
// belong do so here, too.
//
// Nothing is checked that is not needed to know a superblock when it is seen: a filesystem
// that is recognised may be damaged everywhere else. All offsets and sizes are bytes; fields
// are little-endian unless the format says otherwise.
package fssign

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
)

// Types of volumes, as blkid names them.
const (
	Ext2  = "ext2"
	Ext3  = "ext3"
	Ext4  = "ext4"
	XFS   = "xfs"
	Btrfs = "btrfs"
	GFS2  = "gfs2"
	Swap  = "swap"
	LUKS  = "crypto_LUKS"
	FAT   = "vfat"
	ExFAT = "exfat"
	NTFS  = "ntfs"
)

// Sign is a superblock.
type Sign struct {
	Type   string
	Offset int64  // of the superblock from the start of its volume; -1 when it does not tell
	Backup bool   // a copy that is not the volume's first
	Size   int64  // of the volume, as the filesystem has it; 0 when it does not tell
	Block  int64  // of the filesystem's blocks; 0 when it has none
	Stride int64  // copies lie at multiples of it, as of an XFS; 0 when that means nothing
	UUID   string // as blkid prints it; "" for none
	Label  string // bytes of the disk: not to be printed as they are

	// Checksum is that of the superblock itself. Of formats without one it is absent, and
	// so many fields were held against each other instead.
	Checksum metadata.Checksum
}

// Window is how many bytes from the start of a superblock on [At] looks at.
const Window = 8 << 10

// Places are where the first superblock of some volume stands, from the volume's start.
var Places = [...]int64{0, 1024, 64 << 10}

// recognisers, by what they need: each gets at least its number of bytes.
var recognisers = [...]struct {
	need int
	read func(b []byte) (Sign, bool)
}{
	{1024, ext}, {512, xfs}, {4096, btrfs}, {512, gfs2}, {4096, swap}, {512, luks}, {512, ntfs}, {512, exfat}, {512, fat},
}

// At recognises the superblock that begins at b[0], of a swap space its first page. b
// should have Window bytes, if there are as many.
func At(b []byte) (Sign, bool) {
	for _, r := range recognisers {
		if len(b) < r.need {
			continue
		}
		if s, ok := r.read(b); ok {
			return s, true
		}
	}
	return Sign{}, false
}

// Probe recognises what a volume of size bytes holds by the superblock at its start. What
// cannot be read is not recognised.
func Probe(volume io.ReaderAt, size int64) (Sign, bool) {
	buf := make([]byte, Window)
	for _, at := range Places {
		n := min(Window, size-at)
		if n <= 0 {
			break
		}
		got, _ := volume.ReadAt(buf[:n], at)
		if s, ok := At(buf[:got]); ok && s.Offset == at {
			return s, true
		}
	}
	return Sign{}, false
}

var (
	le = binary.LittleEndian
	be = binary.BigEndian

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// scaled is count units of the given size in bytes; ok tells whether that is a size at all.
func scaled(count uint64, unit int64) (n int64, ok bool) {
	hi, lo := bits.Mul64(count, uint64(unit))
	return int64(lo), hi == 0 && lo <= math.MaxInt64 && lo > 0
}

// power tells whether n is a power of two from lo to hi.
func power(n, lo, hi int64) bool { return n >= lo && n <= hi && n&(n-1) == 0 }

// label is a name of a fixed width, padded with NULs or spaces.
func label(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return strings.TrimRight(string(b), " ")
}

// uuid prints 16 bytes as blkid does; zeros are none.
func uuid(b []byte) string {
	if len(bytes.Trim(b[:16], "\x00")) == 0 {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// checked compares a stored checksum with the computed one.
func checked(stored, computed uint32) metadata.Checksum {
	if stored == computed {
		return metadata.ChecksumValid
	}
	return metadata.ChecksumInvalid
}
