package metadata

import (
	"fmt"
	"hash/crc32"
)

// Checksum is what a stored checksum says about the bytes it covers.
type Checksum uint8

const (
	ChecksumAbsent  Checksum = iota // nothing on the disk vouches for the bytes
	ChecksumValid                   // stored and computed checksum agree
	ChecksumInvalid                 // they differ
)

func (c Checksum) String() string {
	switch c {
	case ChecksumAbsent:
		return "absent"
	case ChecksumValid:
		return "valid"
	case ChecksumInvalid:
		return "invalid"
	}
	return fmt.Sprintf("Checksum(%d)", uint8(c))
}

// crcSeed is the register LVM2 starts every CRC with (lib/misc/crc.h, INITIAL_CRC).
const crcSeed uint32 = 0xf597a6cf

// Sum is LVM2's checksum of the concatenation of p and more: the ordinary reflected
// CRC-32, with its own seed and without the final inversion (lib/misc/crc.c).
func Sum(p []byte, more ...[]byte) uint32 {
	crc := crc32.Update(^crcSeed, crc32.IEEETable, p)
	for _, m := range more {
		crc = crc32.Update(crc, crc32.IEEETable, m)
	}
	return ^crc
}

// compare gives the state of a stored checksum.
func compare(stored, computed uint32) Checksum {
	if stored == computed {
		return ChecksumValid
	}
	return ChecksumInvalid
}
