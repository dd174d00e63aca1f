package fssign

import (
	"bytes"
	"fmt"
)

// bootSector tells whether a sector ends as boot sectors do. What follows the jump at its
// start tells the filesystems apart.
func bootSector(b []byte) bool {
	return b[510] == 0x55 && b[511] == 0xaa && (b[0] == 0xe9 || b[0] == 0xeb && b[2] == 0x90)
}

// ntfs reads the boot sector of an NTFS. A copy of it stands in the volume's last sector and
// says nothing of that.
func ntfs(b []byte) (Sign, bool) {
	sector, sectors := int64(le.Uint16(b[11:])), le.Uint64(b[40:])
	if !bootSector(b) || !bytes.Equal(b[3:11], []byte("NTFS    ")) || !power(sector, 512, 4096) {
		return Sign{}, false
	}
	size, ok := scaled(sectors+1, sector) // the last is the copy, and not counted
	if !ok || sectors == 0 {
		return Sign{}, false
	}
	s := Sign{Type: NTFS, Size: size, UUID: fmt.Sprintf("%016X", le.Uint64(b[72:]))}
	if per := int64(b[13]); power(per, 1, 128) {
		s.Block = per * sector
	}
	return s, true
}

// exfat reads the boot sector of an exFAT, or its copy 12 sectors on, which says nothing of
// being one.
func exfat(b []byte) (Sign, bool) {
	shift, cluster := uint(b[108]), uint(b[109])
	if !bootSector(b) || !bytes.Equal(b[3:11], []byte("EXFAT   ")) || shift < 9 || shift > 12 || cluster > 25-shift {
		return Sign{}, false
	}
	size, ok := scaled(le.Uint64(b[72:]), 1<<shift)
	return Sign{Type: ExFAT, Size: size, Block: 1 << (shift + cluster), UUID: serial(b[100:])}, ok
}

// fat reads the boot sector of a FAT12, FAT16 or FAT32, or a copy, which says nothing of
// being one.
func fat(b []byte) (Sign, bool) {
	sector, cluster := int64(le.Uint16(b[11:])), int64(b[13])
	reserved, fats := le.Uint16(b[14:]), b[16]
	if !bootSector(b) || !power(sector, 512, 4096) || !power(cluster, 1, 128) || reserved == 0 || fats < 1 || fats > 2 || b[21] < 0xf0 {
		return Sign{}, false
	}
	sectors := uint64(le.Uint16(b[19:]))
	if sectors == 0 {
		sectors = uint64(le.Uint32(b[32:]))
	}
	size, ok := scaled(sectors, sector)
	s := Sign{Type: FAT, Size: size, Block: cluster * sector}
	switch {
	case bytes.HasPrefix(b[82:], []byte("FAT32")) && le.Uint16(b[22:]) == 0 && le.Uint32(b[36:]) > 0:
		s.UUID, s.Label = serial(b[67:]), label(b[71:82])
	case bytes.HasPrefix(b[54:], []byte("FAT1")) && le.Uint16(b[22:]) > 0:
		s.UUID, s.Label = serial(b[39:]), label(b[43:54])
	default:
		return Sign{}, false
	}
	return s, ok
}

// serial is a volume's serial number as DOS prints it.
func serial(b []byte) string {
	n := le.Uint32(b)
	return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)
}
