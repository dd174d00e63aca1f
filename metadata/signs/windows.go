package signs

import (
	"encoding/binary"
	"fmt"
)

// Fields of the boot sectors of NTFS, exFAT and FAT.
const (
	bootOffName     = 3
	bootOffSector   = 11 // u16, bytes
	bootOffCluster  = 13 // u8, sectors
	bootOffReserved = 14 // u16, sectors
	bootOffFATs     = 16
	bootOffSectors  = 19 // u16
	bootOffMedia    = 21
	bootOffSectors4 = 32 // u32, where the former is 0
	bootOffEnd      = 510
	bootEnd         = 0xaa55

	ntfsOffSectors = 40
	ntfsOffSerial  = 72

	exfatOffSectors = 72
	exfatOffSerial  = 100
	exfatOffSector  = 108 // log2

	fat32OffName   = 82
	fat32OffLabel  = 71
	fat32OffSerial = 67
	fat16OffName   = 54
	fat16OffLabel  = 43
	fat16OffSerial = 39
)

// bootSector reads the first sector of a filesystem of Windows. Copies of it look the same.
func bootSector(b []byte) *Sign {
	if binary.LittleEndian.Uint16(b[bootOffEnd:]) != bootEnd {
		return nil
	}
	switch string(b[bootOffName : bootOffName+8]) {
	case "NTFS    ":
		sector := uint64(binary.LittleEndian.Uint16(b[bootOffSector:]))
		size, ok := product(binary.LittleEndian.Uint64(b[ntfsOffSectors:])+1, sector) // its copy stands behind
		if !ok || !powerOf2(sector, 512, 4096) {
			return nil
		}
		return &Sign{Format: "NTFS", Size: size, UUID: fmt.Sprintf("%016X", binary.LittleEndian.Uint64(b[ntfsOffSerial:]))}
	case "EXFAT   ":
		log2 := b[exfatOffSector]
		if log2 < 9 || log2 > 12 {
			return nil
		}
		size, ok := product(binary.LittleEndian.Uint64(b[exfatOffSectors:]), 1<<log2)
		if !ok {
			return nil
		}
		return &Sign{Format: "exFAT", Size: size, UUID: serial(b[exfatOffSerial:])}
	}
	return fat(b)
}

func fat(b []byte) *Sign {
	sector := uint64(binary.LittleEndian.Uint16(b[bootOffSector:]))
	sectors := uint64(binary.LittleEndian.Uint16(b[bootOffSectors:]))
	if sectors == 0 {
		sectors = uint64(binary.LittleEndian.Uint32(b[bootOffSectors4:]))
	}
	size, ok := product(sectors, sector)
	if !ok || !powerOf2(sector, 512, 4096) || !powerOf2(uint64(b[bootOffCluster]), 1, 128) ||
		binary.LittleEndian.Uint16(b[bootOffReserved:]) == 0 || b[bootOffFATs] == 0 || b[bootOffFATs] > 2 || b[bootOffMedia] < 0xf0 {
		return nil
	}
	s := &Sign{Size: size, Block: int64(b[bootOffCluster]) * int64(sector)}
	switch {
	case string(b[fat32OffName:][:8]) == "FAT32   ":
		s.Format, s.Label, s.UUID = "FAT32", text(b[fat32OffLabel:][:11]), serial(b[fat32OffSerial:])
	case string(b[fat16OffName:][:5]) == "FAT16", string(b[fat16OffName:][:5]) == "FAT12":
		s.Format, s.Label, s.UUID = string(b[fat16OffName:][:5]), text(b[fat16OffLabel:][:11]), serial(b[fat16OffSerial:])
	default:
		return nil
	}
	return s
}

// serial spells a volume's serial number as blkid does.
func serial(b []byte) string {
	n := binary.LittleEndian.Uint32(b)
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
}
