// Package integrity reads the metadata of device-mapper's integrity target: checksums of
// blocks, and the journal of blocks that were not written to their places yet.
//
// Under a RAID leg the metadata has a device of its own (drivers/md/dm-integrity.c):
//
//	byte    0  superblock
//	     4096  journal: sections of 8 sectors of entries, then the data of these; in bitmap
//	           mode a bit for each run of blocks whose tags may be out of date
//	           tags: TagSize bytes for each block
//
//	superblock  byte 0  "integrt\0"
//	                 8  u8  version: 1 to 5; 6 and later keep tags elsewhere
//	                 9  u8  log2 of the interleave in sectors, 0 here
//	                10  u16 tag size in bytes
//	                12  u32 journal sections
//	                16  u64 sectors of data
//	                24  u32 flags
//	                28  u8  log2 of the sectors in a block, 0 to 3
//	                29  u8  log2 of the blocks to a bit of the bitmap
//	                32  u64 sector up to which tags were calculated, with flag 2
//	                48  salt[16], which goes before what is hashed, with flag 16
//
// Without a device of its own the metadata stands among the data. Behind the journal there are
// then, in turn, the tags of an interleave, padded, and its data.
//
//	journal section, of E entries in 8 sectors: entry n stands in sector n mod 8
//
//	    +----------+-----+----------+--------------+-----+----------------+
//	    | sector 0 | ... | sector 7 | data entry 0 | ... | data entry E-1 |
//	    +----------+-----+----------+--------------+-----+----------------+
//
//	entry       byte 0  u64 sector of the data; the upper half is 2^32-1 when unused,
//	                    2^32-2 while it is being filled
//	                 8  the last 8 bytes of each sector of the data
//	                    tag
//
// The last 8 bytes of every sector of the journal are its commit id: which of four rounds
// wrote it, and its place. Numbers are little-endian.
package integrity

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/lvrescue/lvrescue/metadata"
)

// SuperblockSize is the number of bytes that ParseSuperblock needs.
const SuperblockSize = 64

const (
	magic      = "integrt\x00"
	maxVersion = 5

	sectorSize    = 512
	journalOffset = 4096 // bytes; also of the bitmap
	entrySectors  = 8    // at the start of a journal section
	maxLog2Block  = 3
	maxTagSize    = 64 // bytes; the longest digest that is used

	minLog2Interleave = 3 // of sectors
	maxLog2Interleave = 31

	fixedPadding = 8 << 9 // bytes; before there was a flag for it the kernel took 2^8 sectors
	oldPadding   = 1 << 8 << 9
)

// Offsets in a superblock.
const (
	offVersion      = 8
	offInterleave   = 9
	offTagSize      = 10
	offSections     = 12
	offDataSectors  = 16
	offFlags        = 24
	offLog2Block    = 28
	offLog2PerBit   = 29
	offRecalculated = 32
	offSalt         = 48
)

// Flags of a superblock.
const (
	flagJournalMAC    = 1 << 0
	flagRecalculating = 1 << 1
	flagDirtyBitmap   = 1 << 2
	flagFixedPadding  = 1 << 3
	flagFixedHMAC     = 1 << 4
	flagInline        = 1 << 5
)

// Superblock tells how the metadata is laid out, and which tags can be held against data.
type Superblock struct {
	TagSize     int   // bytes
	BlockSize   int64 // bytes
	DataSize    int64 // bytes
	Sections    int64 // of the journal
	DirtyBitmap bool  // the journal's place holds a bitmap of tags that may be out of date
	BitSize     int64 // bytes of data to a bit of the bitmap
	Tagged      int64 // bytes from the start for which tags were calculated

	// Interleave is how many bytes of data follow each other; 0: all, for the tags have a
	// device of their own.
	Interleave int64

	padding int64  // bytes of which the tags of an interleave take a multiple
	salt    []byte // what goes before the bytes that are hashed
}

// ParseSuperblock decodes a superblock. The error is a *metadata.DamageError.
func ParseSuperblock(b []byte) (s Superblock, err error) {
	if len(b) < SuperblockSize {
		return s, damage("superblock", 0, "has %d bytes, want %d", len(b), SuperblockSize)
	}
	le := binary.LittleEndian
	flags := le.Uint32(b[offFlags:])
	log2, perBit, interleave, sectors := b[offLog2Block], b[offLog2PerBit], b[offInterleave], le.Uint64(b[offDataSectors:])
	s.TagSize, s.Sections = int(le.Uint16(b[offTagSize:])), int64(le.Uint32(b[offSections:]))
	switch {
	case string(b[:len(magic)]) != magic:
		return s, damage("superblock.magic", 0, "is %q, want %q", b[:len(magic)], magic)
	case b[offVersion] == 0 || b[offVersion] > maxVersion:
		return s, damage("superblock.version", offVersion, "is %d, want 1 to %d", b[offVersion], maxVersion)
	case flags&(flagJournalMAC|flagInline) != 0:
		return s, damage("superblock.flags", offFlags, "are %#x: journals with a MAC and inline tags are not read", flags)
	case s.TagSize == 0 || s.TagSize > maxTagSize:
		return s, damage("superblock.integrity_tag_size", offTagSize, "is %d bytes, want 1 to %d", s.TagSize, maxTagSize)
	case log2 > maxLog2Block:
		return s, damage("superblock.log2_sectors_per_block", offLog2Block, "is %d, want 0 to %d", log2, maxLog2Block)
	case perBit > 32:
		return s, damage("superblock.log2_blocks_per_bitmap_bit", offLog2PerBit, "is %d, want 0 to 32", perBit)
	case interleave != 0 && (interleave < minLog2Interleave || interleave > maxLog2Interleave):
		return s, damage("superblock.log2_interleave_sectors", offInterleave, "is %d, want 0 or %d to %d", interleave, minLog2Interleave, maxLog2Interleave)
	case sectors == 0 || sectors > 1<<53:
		return s, damage("superblock.provided_data_sectors", offDataSectors, "is %d, want 1 to 2^53", sectors)
	}
	s.BlockSize = sectorSize << log2
	s.DataSize = int64(sectors) * sectorSize
	s.DirtyBitmap = flags&flagDirtyBitmap != 0
	s.BitSize = s.BlockSize << perBit
	s.Tagged = s.DataSize
	if flags&flagRecalculating != 0 {
		s.Tagged = int64(min(le.Uint64(b[offRecalculated:]), sectors)) * sectorSize
	}
	if interleave > 0 {
		s.Interleave, s.padding = sectorSize<<interleave, oldPadding
		if flags&flagFixedPadding != 0 {
			s.padding = fixedPadding
		}
		if areas := s.DataSize/s.Interleave + 1; areas > 1<<61/(s.Interleave+s.tagsSize()) {
			return s, damage("superblock.provided_data_sectors", offDataSectors, "is %d, which with tags for each %d bytes is more than any disk holds", sectors, s.Interleave)
		}
	}
	if flags&flagFixedHMAC != 0 {
		s.salt = bytes.Clone(b[offSalt:SuperblockSize])
	}
	return s, nil
}

func damage(field string, off int64, format string, args ...any) error {
	return metadata.Damaged("integrity", field, off, format, args...)
}

// Sizes of the journal's parts: an entry in bytes, and how many stand in one sector.
func (s Superblock) entrySize() int64 {
	return (8 + s.BlockSize/sectorSize*8 + int64(s.TagSize) + 7) / 8 * 8
}

func (s Superblock) entriesPerSector() int64 { return (sectorSize - commitIDSize) / s.entrySize() }

func (s Superblock) sectionEntries() int64 { return s.entriesPerSector() * entrySectors }

// sectionSize is in bytes.
func (s Superblock) sectionSize() int64 {
	return entrySectors*sectorSize + s.sectionEntries()*s.BlockSize
}

// journalEnd is where the tags begin, in bytes.
func (s Superblock) journalEnd() int64 { return journalOffset + s.Sections*s.sectionSize() }

// tagsSize is what the tags of an interleave take, in bytes (calculate_device_limits).
func (s Superblock) tagsSize() int64 {
	n := s.Interleave / s.BlockSize * int64(s.TagSize)
	return (n + s.padding - 1) / s.padding * s.padding
}

// TagOffset is where the tag of a block stands in the metadata device, in bytes.
func (s Superblock) TagOffset(block int64) int64 {
	if s.Interleave == 0 {
		return s.journalEnd() + block*int64(s.TagSize)
	}
	off := block * s.BlockSize
	return s.journalEnd() + off/s.Interleave*(s.Interleave+s.tagsSize()) + off%s.Interleave/s.BlockSize*int64(s.TagSize)
}

// DataOffset is where the byte at off of the data stands in the device that holds tags too,
// and how many bytes follow it there.
func (s Superblock) DataOffset(off int64) (at, n int64) {
	area := off / s.Interleave
	return s.journalEnd() + area*s.Interleave + (area+1)*s.tagsSize() + off%s.Interleave, s.Interleave - off%s.Interleave
}

// MetadataSize is what the metadata of s takes, in bytes, together with data that stands
// among it.
func (s Superblock) MetadataSize() int64 {
	if s.Interleave > 0 {
		last, _ := s.DataOffset(s.DataSize - 1)
		return last + 1
	}
	return s.TagOffset((s.DataSize + s.BlockSize - 1) / s.BlockSize)
}

// BitOffset is where the bit of the data at byte off stands in the metadata device: a byte
// of it, and a mask for that byte.
func (s Superblock) BitOffset(off int64) (at int64, mask byte) {
	bit := off / s.BitSize
	return journalOffset + bit/8, 1 << (bit % 8)
}

// discarded fills the tags of blocks that were discarded.
const discarded = 0xf6

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Matches tells whether a block of data at byte off has the tag that was kept for it, by
// crc32c, the hash that lvm2 chooses. The tag of a discarded block fits any data.
func (s Superblock) Matches(tag, block []byte, off int64) bool {
	var place [8]byte
	binary.LittleEndian.PutUint64(place[:], uint64(off/sectorSize))
	var sum [maxTagSize]byte
	crc := crc32.Update(crc32.Update(0, castagnoli, s.salt), castagnoli, place[:])
	binary.LittleEndian.PutUint32(sum[:], crc32.Update(crc, castagnoli, block))
	return bytes.Equal(tag, sum[:len(tag)]) || bytes.Count(tag, []byte{discarded}) == len(tag)
}
