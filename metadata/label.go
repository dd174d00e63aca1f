package metadata

import (
	"encoding/binary"
	"errors"
	"math"
)

// SectorSize is the unit of labels, headers and ring texts, in bytes.
const SectorSize = 512

// LabelScanSectors is how many sectors from the start of a PV may hold its label
// (lib/label/label.h, LABEL_SCAN_SECTORS).
const LabelScanSectors = 4

// label_header, at the start of the label's sector (lib/label/label.h).
const (
	labelID     = "LABELONE"
	labelType   = "LVM2 001"
	labelOffID  = 0
	labelOffXL  = 8  // u64, number of this very sector
	labelOffCRC = 16 // u32, over everything from labelOffPV to the end of the sector
	labelOffPV  = 20 // u32, bytes from the start of the sector to the pv_header
	labelOffTyp = 24
	labelLength = 32
)

// pv_header, relative to its own start (lib/format_text/layout.h).
const (
	pvOffUUID  = 0
	pvOffSize  = 32 // u64, bytes
	pvOffAreas = 40 // list of data areas, then list of metadata areas
)

// disk_locn and pv_header_extension (lib/format_text/layout.h).
const (
	diskLocnLength = 16 // u64 offset, u64 size; offset 0 ends a list
	extOffFlags    = 4
	extOffAreas    = 8
	extNewest      = 2 // newest version that is known
	extUsed        = 1 // PV_EXT_USED
)

// ErrNoLabel says that a sector holds no label at all.
var ErrNoLabel = errors.New("no LVM2 label")

// DiskArea is an area of a PV: bytes from the PV's first byte. A data area of size 0
// reaches to the end of the PV.
type DiskArea struct {
	Offset, Size int64
}

// Label is a PV's label: label_header, pv_header and pv_header_extension.
type Label struct {
	Sector          int64 // where it was read: sectors from the start of the PV
	ClaimedSector   int64 // where it says it is; differs when it was moved or belongs to something nested
	Checksum        Checksum
	PVID            ID         // "" when the field holds no UUID
	DeviceSize      int64      // bytes; 0 when the field cannot be true
	DataAreas       []DiskArea // bytes
	MetadataAreas   []DiskArea // bytes; area 1, area 2
	Version         uint32     // of the extension; 0 when there is none
	Flags           uint32     // of the extension
	BootloaderAreas []DiskArea // bytes
	Problems        []Problem  // offsets are from the start of the sector
}

// Used reports whether the label says that the PV belongs to a VG. Labels with an
// extension older than version 2 never say so.
func (l *Label) Used() bool { return l.Flags&extUsed != 0 }

// ParseLabel reads the label in a sector of 512 bytes that stands sectorNumber sectors
// behind the start of the PV.
//
// It returns ErrNoLabel when there is none, and a *DamageError when there is one of which
// nothing can be told. Everything less is a label with Problems: a wrong checksum, a wrong
// sector number, fields that cannot be true.
func ParseLabel(sector []byte, sectorNumber int64) (*Label, error) {
	if len(sector) < SectorSize || string(sector[labelOffID:labelOffXL]) != labelID {
		return nil, ErrNoLabel
	}
	sector = sector[:SectorSize]
	var probs problems
	l := &Label{Sector: sectorNumber}
	l.readHeader(sector, &probs)
	pv := int64(binary.LittleEndian.Uint32(sector[labelOffPV:]))
	if pv < labelLength || pv > SectorSize-pvOffAreas {
		return nil, &DamageError{Problem{"label-offset", "label_header.offset_xl", labelOffPV,
			"the PV header's place is outside the label's sector"}}
	}
	l.readPV(sector, pv, &probs)
	l.Problems = probs
	return l, nil
}

// readHeader checks the label_header.
func (l *Label) readHeader(sector []byte, probs *problems) {
	stored, computed := binary.LittleEndian.Uint32(sector[labelOffCRC:]), Sum(sector[labelOffPV:])
	l.Checksum = compare(stored, computed)
	if l.Checksum != ChecksumValid {
		probs.add("label-crc", "label_header.crc_xl", labelOffCRC,
			"checksum is 0x%08x, computed 0x%08x", stored, computed)
	}
	claimed := binary.LittleEndian.Uint64(sector[labelOffXL:])
	l.ClaimedSector = int64(min(claimed, math.MaxInt64))
	if l.ClaimedSector != l.Sector {
		probs.add("label-sector", "label_header.sector_xl", labelOffXL,
			"label says it is in sector %d, found in sector %d", claimed, l.Sector)
	}
	if typ := sector[labelOffTyp:labelLength]; string(typ) != labelType {
		probs.add("label-type", "label_header.type", labelOffTyp, "type is %q, expected %q", typ, labelType)
	}
}

// readPV reads the pv_header at byte pv of the sector and what follows it.
func (l *Label) readPV(sector []byte, pv int64, probs *problems) {
	uuid := sector[pv+pvOffUUID : pv+pvOffSize]
	id, err := ParseID(string(uuid))
	if err != nil {
		probs.add("label-pvid", "pv_header.pv_uuid", pv+pvOffUUID, "%q is no UUID", uuid)
	}
	l.PVID = id
	l.DeviceSize = probs.bytes64(binary.LittleEndian.Uint64(sector[pv+pvOffSize:]),
		"label-device-size", "pv_header.device_size_xl", pv+pvOffSize)

	at := pv + pvOffAreas
	l.DataAreas, at = diskAreas(sector, at, "data", probs)
	l.MetadataAreas, at = diskAreas(sector, at, "metadata", probs)
	l.readExtension(sector, at, probs)
}

// readExtension reads the pv_header_extension at byte at, if there is room for one.
func (l *Label) readExtension(sector []byte, at int64, probs *problems) {
	if at+extOffAreas > SectorSize {
		return
	}
	l.Version = binary.LittleEndian.Uint32(sector[at:])
	if l.Version == 0 {
		return
	}
	if l.Version > extNewest {
		probs.add("label-extension", "pv_header_extension.version", at,
			"version is %d, newest known is %d", l.Version, extNewest)
	}
	l.Flags = binary.LittleEndian.Uint32(sector[at+extOffFlags:])
	l.BootloaderAreas, _ = diskAreas(sector, at+extOffAreas, "bootloader", probs)
}

// diskAreas reads a list of disk_locns and returns the byte behind it. Areas that cannot
// be on any disk are left out.
func diskAreas(sector []byte, at int64, kind string, probs *problems) ([]DiskArea, int64) {
	code, field := "label-"+kind+"-area", kind+" area list"
	var areas []DiskArea
	for ; at+diskLocnLength <= int64(len(sector)); at += diskLocnLength {
		offset, size := binary.LittleEndian.Uint64(sector[at:]), binary.LittleEndian.Uint64(sector[at+8:])
		switch {
		case offset == 0:
			return areas, at + diskLocnLength
		case offset > math.MaxInt64 || size > math.MaxInt64-offset:
			probs.add(code, field, at, "%d bytes at %d are on no disk", size, offset)
		default:
			areas = append(areas, DiskArea{int64(offset), int64(size)})
		}
	}
	probs.add(code, field, at, "the list has no end within the sector")
	return areas, int64(len(sector))
}
