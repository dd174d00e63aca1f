package metadata

import (
	"bytes"
	"encoding/binary"
)

// LVM1's pv_disk in sector 0 (lib/device/dev-lvm1-pool.c).
const (
	lvm1Magic     = "HM"
	lvm1OffVer    = 2
	lvm1OffPVID   = 44
	lvm1OffVGName = 172
	lvm1OffSize   = 444 // u32, sectors
	lvm1NameLen   = 128
)

// GFS pool's label in sector 0, big-endian (lib/device/dev-lvm1-pool.c).
const (
	poolMagic      = 0x011670
	poolOffName    = 16
	poolNameLen    = 256
	poolOffVersion = poolOffName + poolNameLen
	poolVersion    = (4<<16 | 1<<8) >> 8 // top 24 bits of the version
)

// Legacy is the label of a format that came before LVM2's own. It is recognised and
// named, not read further.
type Legacy struct {
	Format string // "LVM1" or "GFS pool"
	Name   string // of the volume group or pool
	PVID   ID     // LVM1 only; "" when the field holds no UUID
	Size   int64  // bytes; LVM1 only
}

// ParseLegacy recognises LVM1 and GFS pool labels in sector 0 of a device. It returns
// ErrNoLabel when there is none.
func ParseLegacy(sector []byte) (*Legacy, error) {
	if len(sector) < SectorSize {
		return nil, ErrNoLabel
	}
	version := binary.LittleEndian.Uint16(sector[lvm1OffVer:])
	if string(sector[:len(lvm1Magic)]) == lvm1Magic && (version == 1 || version == 2) {
		id, _ := ParseID(cString(sector[lvm1OffPVID : lvm1OffPVID+lvm1NameLen]))
		return &Legacy{
			Format: "LVM1",
			Name:   cString(sector[lvm1OffVGName : lvm1OffVGName+lvm1NameLen]),
			PVID:   id,
			Size:   int64(binary.LittleEndian.Uint32(sector[lvm1OffSize:])) * SectorSize,
		}, nil
	}
	if binary.BigEndian.Uint64(sector) == poolMagic &&
		binary.BigEndian.Uint32(sector[poolOffVersion:])>>8 == poolVersion {
		return &Legacy{Format: "GFS pool", Name: cString(sector[poolOffName:poolOffVersion])}, nil
	}
	return nil, ErrNoLabel
}

// cString is the text before the first NUL of a fixed-size field.
func cString(field []byte) string {
	text, _, _ := bytes.Cut(field, []byte{0})
	return string(text)
}
