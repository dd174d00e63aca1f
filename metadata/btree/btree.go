// Package btree reads the kernel's persistent-data structures, of which the metadata of thin
// pools and caches is built: checked blocks, B-trees and arrays.
//
// The device is a row of blocks of 4096 bytes. Nothing is changed in place: a commit writes
// new blocks and then a superblock that points at them, so trees may share blocks, and older
// trees stay until their blocks are used again. All numbers are little-endian.
//
//	node    csum:u32 flags:u32 blocknr:u64 nr_entries:u32 max_entries:u32 value_size:u32 pad:u32
//	        keys:u64[max_entries] values[max_entries]
//	array   csum:u32 max_entries:u32 nr_entries:u32 value_size:u32 blocknr:u64 values[max_entries]
//
// An internal node's values are block numbers: child i holds the keys from key i up to the
// one before key i+1. The checksum of each kind of block is XORed with a number of its own.
//
// Sources: drivers/md/persistent-data/dm-block-manager.c, dm-btree-internal.h,
// dm-btree-spine.c and dm-array.c.
package btree

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/lvrescue/lvrescue/metadata"
)

// BlockSize is the size in bytes of every metadata block.
const BlockSize = 4096

// Kind is what a block holds: the number that its checksum is XORed with.
type Kind uint32

const (
	ThinSuperblock  Kind = 160774    // dm-thin-metadata.c
	CacheSuperblock Kind = 9031977   // dm-cache-metadata.c
	NodeBlock       Kind = 121107    // dm-btree-spine.c
	ArrayBlock      Kind = 595846735 // dm-array.c
	BitmapBlock     Kind = 240779    // dm-space-map-common.c
	IndexBlock      Kind = 160478    // dm-space-map-common.c; of the metadata's own space map
)

func (k Kind) String() string {
	switch k {
	case ThinSuperblock:
		return "thin superblock"
	case CacheSuperblock:
		return "cache superblock"
	case NodeBlock:
		return "btree node"
	case ArrayBlock:
		return "array block"
	case BitmapBlock:
		return "space map bitmap"
	case IndexBlock:
		return "space map index"
	}
	return fmt.Sprintf("Kind(%d)", uint32(k))
}

const (
	offCRC      = 0
	offSummed   = 4  // the checksum covers everything from here on
	offNumber   = 8  // of the block's own number
	arrayNumber = 16 // of the block's own number in an array block
)

// numberAt is where a block of the kind holds its own number.
func (k Kind) numberAt() int {
	if k == ArrayBlock {
		return arrayNumber
	}
	return offNumber
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum that block b must carry as one of kind k: CRC-32C without the final
// inversion, XORed with the kind's number (dm_bm_checksum in dm-block-manager.c).
func Sum(b []byte, k Kind) uint32 {
	return ^crc32.Checksum(b[offSummed:BlockSize], castagnoli) ^ uint32(k)
}

// Identify tells what kind of block b says to be, which belongs at block number at: ok is
// false when checksum and number are not those of any kind.
func Identify(b []byte, at uint64) (k Kind, ok bool) {
	if len(b) != BlockSize {
		return 0, false
	}
	k = Kind(binary.LittleEndian.Uint32(b[offCRC:]) ^ ^crc32.Checksum(b[offSummed:], castagnoli))
	switch k {
	case ThinSuperblock, CacheSuperblock, NodeBlock, ArrayBlock, BitmapBlock, IndexBlock:
		return k, binary.LittleEndian.Uint64(b[k.numberAt():]) == at
	}
	return 0, false
}

// Check tells whether b is a block of kind k that belongs at block number at. What is wrong
// is returned as a *metadata.DamageError.
func Check(b []byte, k Kind, at uint64) error {
	if len(b) != BlockSize {
		return damaged(k, "length", 0, "has %d bytes, expected %d", len(b), BlockSize)
	}
	stored, computed := binary.LittleEndian.Uint32(b[offCRC:]), Sum(b, k)
	if stored != computed {
		return damaged(k, "csum", offCRC, "checksum is 0x%08x, computed 0x%08x", stored, computed)
	}
	if n := binary.LittleEndian.Uint64(b[k.numberAt():]); n != at {
		return damaged(k, "blocknr", int64(k.numberAt()), "says it is block %d, found as block %d", n, at)
	}
	return nil
}

// damaged reports a field of a block as it is not to be.
func damaged(k Kind, field string, offset int64, format string, args ...any) error {
	return metadata.Damaged("pdata-"+field, k.String()+"."+field, offset, format, args...)
}
