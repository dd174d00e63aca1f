package vdo

import (
	"encoding/binary"
	"fmt"

	"github.com/pierrec/lz4/v4"
)

const fragments = 14

// FragmentTable is how many bytes of a compressed block come before its fragments.
const FragmentTable = 8 + 2*fragments

// FragmentRange finds fragment slot of a compressed block of BlockSize bytes: where in the
// block it begins, and its length, in bytes.
func FragmentRange(b []byte, slot int) (off, n int, err error) {
	if len(b) < FragmentTable || slot < 0 || slot >= fragments {
		return 0, 0, fmt.Errorf("fragment %d of %d bytes cannot be", slot, len(b))
	}
	if major, minor := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]); major != 1 || minor != 0 {
		return 0, 0, fmt.Errorf("the compressed block has version %d.%d, expected 1.0", major, minor)
	}
	size := func(slot int) int { return int(binary.LittleEndian.Uint16(b[8+2*slot:])) }
	off, n = FragmentTable, size(slot)
	for s := range slot {
		off += size(s)
	}
	if n == 0 || off+n > BlockSize {
		return 0, 0, fmt.Errorf("fragment %d of the compressed block has %d bytes from byte %d on", slot, n, off)
	}
	return off, n, nil
}

// Decompress fills dst of BlockSize bytes with what a fragment holds.
func Decompress(dst, fragment []byte) error {
	n, err := lz4.UncompressBlock(fragment, dst[:BlockSize])
	if err != nil {
		return fmt.Errorf("the compressed block cannot be decompressed: %w", err)
	}
	if n != BlockSize {
		return fmt.Errorf("the compressed block decompresses to %d bytes, expected %d", n, BlockSize)
	}
	return nil
}
