package vdo

import (
	"encoding/binary"
	"fmt"
)

const (
	geometryMagic = "dmvdo001"
	geometryID    = 5

	geometrySize  = 101 // of version 5, bytes
	geometrySize4 = 93  // of version 4, which has no bio_offset

	offBioOffset = 56
	regionData   = 1
)

// Geometry is what block 0 tells.
type Geometry struct {
	Nonce     uint64 // the identity of the volume
	UUID      [16]byte
	BioOffset uint64 // blocks by which all but block 0 lie earlier than their number says
	DataStart uint64 // pbn of the super block
}

// ParseGeometry reads block 0.
func ParseGeometry(b []byte) (Geometry, error) {
	f := &fields{b: b}
	if magic := f.take(len(geometryMagic)); string(magic) != geometryMagic {
		return Geometry{}, damaged("geometry_block.magic_number", 0, "magic is %q, expected %q", magic, geometryMagic)
	}
	at := f.at
	h := f.header()
	size := geometrySize
	if h.major == 4 {
		size = geometrySize4
	}
	switch {
	case h.id != geometryID:
		return Geometry{}, damaged("geometry_block.id", at, "component is %d, expected %d", h.id, geometryID)
	case h.major != 4 && h.major != 5 || h.minor != 0:
		return Geometry{}, damaged("geometry_block.version", at+4, "version is %d.%d, expected 4.0 or 5.0", h.major, h.minor)
	case h.size != uint64(size) || len(b) < size:
		return Geometry{}, damaged("geometry_block.size", at+12, "size is %d, expected %d", h.size, size)
	}
	if want, got := checksum(b[:size-4]), binary.LittleEndian.Uint32(b[size-4:]); got != want {
		return Geometry{}, damaged("geometry_block.checksum", size-4, "checksum is 0x%08x, expected 0x%08x", got, want)
	}
	f.u32() // unused
	g := Geometry{Nonce: f.u64(), UUID: [16]byte(f.take(16))}
	if h.major == 5 {
		g.BioOffset = f.u64()
	}
	for i := range uint32(2) {
		at := f.at
		id, start := f.u32(), f.u64()
		if id != i || start == 0 || start >= maxPhysical {
			return Geometry{}, damaged(fmt.Sprintf("geometry_block.regions[%d]", i), at, "region %d begins at block %d, expected region %d at a block from 1 to %d", id, start, i, uint64(maxPhysical-1))
		}
		if id == regionData {
			g.DataStart = start
		}
	}
	if g.BioOffset >= g.DataStart {
		return Geometry{}, damaged("geometry_block.bio_offset", offBioOffset, "blocks are moved by %d, behind the super block's %d", g.BioOffset, g.DataStart)
	}
	return g, nil
}
