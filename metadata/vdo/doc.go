// Package vdo reads the on-disk format of dm-vdo: which block of the physical volume holds
// which logical block, deduplicated and compressed as they may be.
//
// Everything is in blocks of 4096 bytes, counted from the start of the device below (pbn).
// Numbers are little-endian. The volume is laid out so:
//
//	+----------+-------------+-------------+-------+-----------+------------------+--------------+
//	| geometry | dedup index | super block | roots | slabs ... | recovery journal | slab summary |
//	+----------+-------------+-------------+-------+-----------+------------------+--------------+
//	  block 0                  one sector    of the  data, reference counts, journals
//	                                         block map
//
// The geometry block tells where the super block is, and that where everything else is.
//
//	geometry   byte 0  "dmvdo001"
//	                8  header
//	               32  u64 nonce: the identity of the volume
//	               40  uuid
//	               56  u64 bio_offset in blocks, absent before version 5
//	                   two regions {u32 id, u64 start}: 0 the index, 1 the data
//	                   index configuration of 9 bytes
//	                   u32 checksum of all before
//
//	header     {u32 id, u32 major, u32 minor, u64 size}
//
//	super block      0  header
//	                24  u32 67, u32 0: version of the volume
//	                32  u32 41, u32 0: version of what follows
//	                40  u32 state, u64 complete_recoveries, u64 read_only_recoveries
//	                60  u64 logical_blocks, physical_blocks, slab_size,
//	                    recovery_journal_size, slab_journal_blocks
//	               100  u64 nonce
//	               108  header, layout: u64 first_free, u64 last_free, u8 count,
//	                    count × {u8 id, u64 offset, u64 base, u64 count}
//	                    header, recovery journal: u64 journal_start,
//	                    u64 logical_blocks_used, u64 block_map_data_blocks
//	                    header, slab depot: u64 slab_blocks, u64 data_blocks, five more,
//	                    u64 first_block, u64 last_block, u8 zone_count
//	                    header, block map: u64 1, u64 0, u64 root_origin, u64 root_count
//	                    u32 checksum of all before
//
// The block map is a forest of trees of five levels. A page of any level has 812 entries;
// logical block L stands in entry L mod 812 of leaf page L/812, and leaf pages are dealt to
// the roots in turn.
//
//	page       byte 0  u32 4, u32 1: version
//	                8  u64 nonce, u64 own pbn, 8 unused, u8 initialized, 3 unused
//	               36  entries
//
//	entry      byte 0  bits 0-3 state: 0 unmapped, 1 plain, 2-15 fragment 0-13 of a
//	                   compressed block; bits 4-7: bits 32-35 of the pbn
//	                1  u32 pbn, low bits; 0 with state 1 stands for a block of zeros
//
//	compressed block   u32 1, u32 0, u16 sizes[14], then LZ4 blocks one behind the other
//
// Each change of an entry is first written to the recovery journal, a ring in which the block
// of sequence number S has the place S mod its size:
//
//	journal block    0  u64 block_map_head, slab_journal_head, sequence_number, nonce
//	                32  u8 type 3, u16 entry_count
//	                35  u64 logical_blocks_used, u64 block_map_data_blocks
//	                51  u8 check_byte, u8 recovery_count
//	               512  seven sectors {u8 check_byte, u8 recovery_count, u8 entry_count,
//	                    up to 31 entries of 16 bytes}
//
//	journal entry    0  u16: bits 0-1 operation, 2-11 slot, 12-15 bits 32-35 of the page
//	                 2  u32 page, low bits
//	                 6  the entry's new value, 11 the old one
//
// Source: drivers/md/dm-vdo/encodings.h and encodings.c, types.h, block-map.c, packer.c,
// repair.c.
package vdo

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/lvrescue/lvrescue/metadata"
)

// BlockSize is the unit of VDO's addresses, in bytes.
const BlockSize = 4096

const (
	headerSize = 20

	// maxPhysical and maxLogical are the kernel's limits, in blocks: encodings.h.
	maxPhysical = 64 << 30
	maxLogical  = 1 << 40
)

// checksum is VDO's CRC-32: the usual one, with a register that begins as zero.
func checksum(b []byte) uint32 { return crc32.Update(math.MaxUint32, crc32.IEEETable, b) }

// header is the start of every component.
type header struct {
	id, major, minor uint32
	size             uint64 // bytes
}

// fields reads a record field by field. Reading behind its end gives zeros and sets short.
type fields struct {
	b     []byte
	at    int
	short bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b)-f.at {
		f.short = true
		return make([]byte, n)
	}
	f.at += n
	return f.b[f.at-n : f.at]
}

func (f *fields) u8() uint8   { return f.take(1)[0] }
func (f *fields) u32() uint32 { return binary.LittleEndian.Uint32(f.take(4)) }
func (f *fields) u64() uint64 { return binary.LittleEndian.Uint64(f.take(8)) }

func (f *fields) header() header { return header{f.u32(), f.u32(), f.u32(), f.u64()} }

// expect reads a header, which must be that of a component of one version and size.
func (f *fields) expect(name string, want header) error {
	at := f.at
	switch got := f.header(); {
	case got.id != want.id:
		return damaged(name+".id", at, "component is %d, expected %d", got.id, want.id)
	case got.major != want.major || got.minor != want.minor:
		return damaged(name+".version", at+4, "version is %d.%d, expected %d.%d", got.major, got.minor, want.major, want.minor)
	case got.size != want.size:
		return damaged(name+".size", at+12, "size is %d, expected %d", got.size, want.size)
	}
	return nil
}

func damaged(field string, offset int, format string, args ...any) error {
	return metadata.Damaged("vdo-"+field, "vdo."+field, int64(offset), format, args...)
}
