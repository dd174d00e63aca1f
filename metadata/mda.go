package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// MDAHeaderSize is the size of an mda header, in bytes, and with it the first place in a
// metadata area where a text can start.
const MDAHeaderSize = 512

// MDAMagic is what marks an mda header, MDAMagicOffset bytes behind its start
// (lib/format_text/layout.h, FMTT_MAGIC).
const (
	MDAMagic       = " LVM2 x[5A%r0N*>"
	MDAMagicOffset = 4
)

// mda_header (lib/format_text/layout.h).
const (
	mdaVersion    = 1
	mdaOffCRC     = 0 // u32, over everything behind it
	mdaOffVersion = 20
	mdaOffStart   = 24 // u64, bytes from the start of the PV
	mdaOffSize    = 32 // u64, bytes, header and ring
	mdaOffLocns   = 40
)

// raw_locn (lib/format_text/layout.h).
const (
	locnLength   = 24
	locnOffSize  = 8
	locnOffCRC   = 16
	locnOffFlags = 20
	locnIgnored  = 1 // RAW_LOCN_IGNORED
)

// ErrNoMDAHeader says that nothing marks a place as an mda header.
var ErrNoMDAHeader = errors.New("no LVM2 metadata area header")

// MDAHeader is the header of a metadata area.
type MDAHeader struct {
	At           int64 // where it was read: bytes from the start of the PV
	Checksum     Checksum
	Version      uint32
	Start        int64 // where it says it is: bytes from the start of the PV; 0 when that cannot be
	Size         int64 // bytes, header and ring; 0 when the field cannot be true
	Committed    RawLocn
	Precommitted RawLocn
	Problems     []Problem // offsets are from the start of the header
}

// RawLocn points at a text in the ring. The zero value of Offset marks an empty slot.
type RawLocn struct {
	Offset   int64 // bytes from the start of the metadata area
	Size     int64 // bytes, terminating NUL included
	Checksum uint32
	Flags    uint32
}

// Empty reports whether the slot points at nothing.
func (l RawLocn) Empty() bool { return l.Offset == 0 }

// Ignored reports whether lvm2 was told to leave the area alone: its text is the one that
// was current then. Only the committed slot carries the flag.
func (h *MDAHeader) Ignored() bool { return h.Committed.Flags&locnIgnored != 0 }

// Check tells whether the slot can point at a text in an area of areaSize bytes.
func (l RawLocn) Check(areaSize int64) error {
	ring := areaSize - MDAHeaderSize
	switch {
	case l.Offset < MDAHeaderSize || l.Offset >= areaSize:
		return fmt.Errorf("text at byte %d is outside the ring, bytes %d-%d of the area", l.Offset, MDAHeaderSize, areaSize-1)
	case l.Size <= 0 || l.Size > ring:
		return fmt.Errorf("text of %d bytes does not fit a ring of %d bytes", l.Size, ring)
	case l.Size > MaxTextSize:
		return fmt.Errorf("text of %d bytes is longer than the limit of %d", l.Size, MaxTextSize)
	}
	return nil
}

// ParseMDAHeader reads the mda header in b that stands at byte at of its PV.
//
// Each field is checked alone, so that one wrong field does not hide the rest. Only when
// magic, checksum and start all say that this is no header, ErrNoMDAHeader is returned.
func ParseMDAHeader(b []byte, at int64) (*MDAHeader, error) {
	if len(b) < MDAHeaderSize {
		return nil, ErrNoMDAHeader
	}
	b = b[:MDAHeaderSize]
	var probs problems
	h := &MDAHeader{At: at}
	marked := h.readIdentity(b, &probs)
	if !marked && h.Checksum != ChecksumValid && (h.Start != at || at == 0) {
		return nil, ErrNoMDAHeader
	}
	h.Size = probs.bytes64(binary.LittleEndian.Uint64(b[mdaOffSize:]), "mda-size", "mda_header.size", mdaOffSize)
	if h.Size < MDAHeaderSize || h.Size > math.MaxInt64-at {
		probs.add("mda-size", "mda_header.size", mdaOffSize, "an area of %d bytes at byte %d cannot be", h.Size, at)
		h.Size = 0
	}
	h.Committed = h.readLocn(b, "raw_locns[0]", mdaOffLocns, &probs)
	h.Precommitted = h.readLocn(b, "raw_locns[1]", mdaOffLocns+locnLength, &probs)
	h.Problems = probs
	return h, nil
}

// readIdentity reads what tells an mda header from other bytes, and whether the magic is there.
func (h *MDAHeader) readIdentity(b []byte, probs *problems) (marked bool) {
	stored, computed := binary.LittleEndian.Uint32(b[mdaOffCRC:]), Sum(b[MDAMagicOffset:])
	h.Checksum = compare(stored, computed)
	if h.Checksum != ChecksumValid {
		probs.add("mda-crc", "mda_header.checksum_xl", mdaOffCRC,
			"checksum is 0x%08x, computed 0x%08x", stored, computed)
	}
	magic := b[MDAMagicOffset:mdaOffVersion]
	marked = string(magic) == MDAMagic
	if !marked {
		probs.add("mda-magic", "mda_header.magic", MDAMagicOffset, "magic is %q, expected %q", magic, MDAMagic)
	}
	h.Version = binary.LittleEndian.Uint32(b[mdaOffVersion:])
	if h.Version != mdaVersion {
		probs.add("mda-version", "mda_header.version", mdaOffVersion, "version is %d, expected %d", h.Version, mdaVersion)
	}
	h.Start = probs.bytes64(binary.LittleEndian.Uint64(b[mdaOffStart:]), "mda-start", "mda_header.start", mdaOffStart)
	if h.Start != h.At {
		probs.add("mda-start", "mda_header.start", mdaOffStart,
			"header says it is at byte %d of its PV, found at byte %d", h.Start, h.At)
	}
	return marked
}

// readLocn reads the slot at byte at. Numbers that no area can hold make an empty slot.
func (h *MDAHeader) readLocn(b []byte, name string, at int64, probs *problems) RawLocn {
	slot := b[at : at+locnLength]
	offset, size := binary.LittleEndian.Uint64(slot), binary.LittleEndian.Uint64(slot[locnOffSize:])
	l := RawLocn{
		Checksum: binary.LittleEndian.Uint32(slot[locnOffCRC:]),
		Flags:    binary.LittleEndian.Uint32(slot[locnOffFlags:]),
	}
	if offset == 0 {
		return l
	}
	if offset > math.MaxInt64 || size > math.MaxInt64 {
		probs.add("mda-locn", name, at, "%d bytes at byte %d are in no metadata area", size, offset)
		return l
	}
	l.Offset, l.Size = int64(offset), int64(size)
	if h.Size == 0 {
		return l // nothing to hold it against
	}
	if err := l.Check(h.Size); err != nil {
		probs.add("mda-locn", name, at, "%s", err)
	}
	return l
}
