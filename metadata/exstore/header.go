// Package exstore reads the exception store of a snapshot: which chunks of an origin have
// a copy of their own, and where.
//
// A persistent store (drivers/md/dm-snap-persistent.c) fills the COW LV in chunks of
// ChunkSize bytes. With E = ChunkSize/16 exceptions to an area:
//
//	chunk        0        1       2 ... E+1     E+2     E+3 ... 2E+2   ...
//	       +----------+--------+-------------+--------+--------------+
//	       |  header  | area 0 |    data     | area 1 |     data     | ...
//	       +----------+--------+-------------+--------+--------------+
//
//	header     byte 0  u32 magic "SnAp"; 0 where no snapshot was ever loaded
//	                4  u32 valid: 1; 0 when the store overflowed or failed
//	                8  u32 version: 1
//	               12  u32 chunk size in sectors
//
//	exception  byte 0  u64 old chunk, of the origin
//	                8  u64 new chunk, of the store; 0 behind the last exception
//
// Numbers are little-endian. An area that is full is followed by another. Exceptions stand
// in the order in which they were committed. A merge takes them away from the end.
package exstore

import (
	"encoding/binary"
	"math"

	"github.com/lvrescue/lvrescue/metadata"
)

// HeaderSize is the size of a header in bytes.
const HeaderSize = 16

const (
	magic         = 0x70416e53 // "SnAp"
	version       = 1
	exceptionSize = 16 // bytes
	sectorSize    = 512

	// maxChunkSize is the kernel's limit (drivers/md/dm-exception-store.c), in sectors.
	maxChunkSize = math.MaxInt32 / sectorSize
)

// Offsets in a header.
const (
	offMagic     = 0
	offValid     = 4
	offVersion   = 8
	offChunkSize = 12
)

// Header is the first chunk of a store.
type Header struct {
	New       bool  // nothing was ever stored: the snapshot has no exceptions
	Valid     bool  // false when the store overflowed or failed
	ChunkSize int64 // bytes; 0 when New. It overrides what LVM's metadata says.
}

// ParseHeader decodes a header. The error is a *metadata.DamageError.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, damage("header", 0, "has %d bytes, want %d", len(b), HeaderSize)
	}
	field := func(off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
	switch {
	case field(offMagic) == 0:
		return Header{New: true, Valid: true}, nil
	case field(offMagic) != magic:
		return Header{}, damage("disk_header.magic", offMagic, "is %#x, want %#x", field(offMagic), uint32(magic))
	case field(offVersion) != version:
		return Header{}, damage("disk_header.version", offVersion, "is %d, want %d", field(offVersion), version)
	}
	sectors := field(offChunkSize)
	if sectors == 0 || sectors > maxChunkSize || sectors&(sectors-1) != 0 {
		return Header{}, damage("disk_header.chunk_size", offChunkSize, "is %d sectors, want a power of two up to %d", sectors, maxChunkSize)
	}
	return Header{Valid: field(offValid) != 0, ChunkSize: int64(sectors) * sectorSize}, nil
}

func damage(field string, off int64, format string, args ...any) error {
	return metadata.Damaged("exception-store", field, off, format, args...)
}
