package vdo

import "encoding/binary"

// Location is where a logical block, or a page of the block map, lies: the value of an entry
// of the block map.
type Location struct {
	PBN   uint64
	State uint8 // see the methods
}

// States of a location; higher ones name a fragment of a compressed block.
const (
	unmapped  = 0
	plain     = 1
	fragment0 = 2
)

const entrySize = 5 // bytes

func parseLocation(b []byte) Location {
	return Location{uint64(b[0]>>4)<<32 | uint64(binary.LittleEndian.Uint32(b[1:])), b[0] & 0xf}
}

// put is the inverse of parseLocation.
func (l Location) put(b []byte) {
	b[0] = byte(l.PBN>>32)<<4 | l.State
	binary.LittleEndian.PutUint32(b[1:], uint32(l.PBN))
}

// Zero tells whether the block reads as zeros: it was never written, discarded, or is known
// to hold nothing else.
func (l Location) Zero() bool { return l.PBN == 0 && l.State <= plain }

// Fragment is the number of the fragment in the compressed block at PBN; ok is false when
// the block at PBN is not compressed.
func (l Location) Fragment() (slot int, ok bool) {
	return int(l.State) - fragment0, l.State >= fragment0
}

// valid tells whether the kernel would take the location for one: it has a block of a slab's
// data, or none and no need of one.
func (sb *SuperBlock) valid(l Location) bool {
	return l.Zero() || l.State != unmapped && sb.IsData(l.PBN)
}
