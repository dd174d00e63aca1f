package carve

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/signs"
	"github.com/lvrescue/lvrescue/scan/block"
)

const sector = metadata.SectorSize

// windowSize is how much is read at once of what goes on behind the piece at hand.
const windowSize = 64 << 10

// searcher looks at pieces of one source, and reads on wherever a find goes on behind them.
// It is not for use by several goroutines.
type searcher struct {
	dev  block.Device
	deep bool
	ring *atomic.Int64                    // bytes of rings that may still be searched; see maxRings
	full *atomic.Bool                     // there are as many fragments as are kept
	emit func(f *Find, text []byte) error // text: of a text, else nil

	piece []byte // whole sectors of the source, from byte base on
	base  int64

	scratch []byte // see window
	text    []byte // see collect
	err     error
}

// The first eight bytes of labels, those at byte 4 of headers of metadata areas, and those
// around the first line break of texts, as little-endian numbers.
var (
	labelStart = binary.LittleEndian.Uint64([]byte("LABELONE"))
	idStart    = binary.LittleEndian.Uint64(rawID)
	areaStart  = binary.LittleEndian.Uint64([]byte(metadata.MDAMagic))
)

// Of LVM1's label the first two, of GFS pool's all eight.
const (
	lvm1Start = 'H' | 'M'<<8
	poolStart = 0x7016010000000000
)

// search looks at a piece of the source of whole sectors. It is the loop that everything
// else waits for: a sector that begins with zeros costs one load.
func (s *searcher) search(piece []byte, base int64) error {
	s.piece, s.base, s.err = piece, base, nil
	for i := 0; i+sector <= len(piece) && s.err == nil; i += sector {
		first := binary.LittleEndian.Uint64(piece[i : i+sector])
		if first == 0 {
			continue
		}
		at := base + int64(i)
		switch {
		case first == labelStart:
			s.label(at)
		case binary.LittleEndian.Uint64(piece[i+metadata.MDAMagicOffset:]) == areaStart:
			s.area(at)
		case isPrintable(first):
			s.printable(piece[i:], at)
		}
		if signs.Maybe(piece[i:]) {
			s.sign(at)
		}
		if uint16(first) == lvm1Start || first == poolStart {
			s.legacy(piece[i:], at)
		}
	}
	if s.deep && s.err == nil {
		s.searchDeep()
	}
	return s.err
}

// isPrintable tells whether none of eight bytes has its highest bit set or is below tab:
// cheap, and true for all text.
func isPrintable(v uint64) bool {
	const ones = 0x0101010101010101
	return (v|(v-9*ones))&(0x80*ones) == 0
}

// found hands a find on.
func (s *searcher) found(f *Find, text []byte) {
	if s.err == nil {
		s.err = s.emit(f, text)
	}
}

// window is n bytes of the source at byte at, fewer at its end. What cannot be read is
// zero; bad tells the first such byte, -1 when there is none. It is good until the next call.
func (s *searcher) window(at, n int64) (b []byte, bad int64) {
	lo, hi := block.Clip(s.dev.Size(), at, n)
	if lo >= s.base && hi <= s.base+int64(len(s.piece)) {
		return s.piece[lo-s.base : hi-s.base], -1
	}
	if int64(cap(s.scratch)) < hi-lo {
		s.scratch = make([]byte, max(hi-lo, windowSize))
	}
	bad = -1
	b = s.scratch[:hi-lo]
	err := block.ReadRange(s.dev, b, lo, func(e block.Extent) {
		if e.State == block.Bad && bad < 0 {
			bad = e.Off
		}
	})
	if err != nil {
		s.err = err
	}
	return b, bad
}

// padded is window with zeros up to n bytes, where the source ends earlier.
func (s *searcher) padded(at, n int64) []byte {
	b, _ := s.window(at, n)
	if int64(len(b)) < n {
		b = append(make([]byte, 0, n), b...)[:n]
	}
	return b
}

// label looks at a label in the sector at byte at. One whose checksum is right knows where
// its PV begins.
func (s *searcher) label(at int64) {
	b := s.padded(at, sector)
	claimed := binary.LittleEndian.Uint64(b[8:])
	number := int64(1) // where lvm2 puts it
	if claimed < metadata.LabelScanSectors {
		number = int64(claimed)
	}
	l, err := metadata.ParseLabel(b, number)
	f := &Find{Kind: Label, Offset: at, Length: sector, How: BySector}
	if err != nil {
		var damage *metadata.DamageError
		if errors.As(err, &damage) {
			f.Damage = err.Error()
			f.Checksum = metadata.ChecksumInvalid.String()
			s.found(f, nil)
		}
		return
	}
	f.Checksum, f.UUID, f.Size = l.Checksum.String(), l.PVID.String(), l.DeviceSize
	if l.PVID == "" && l.Checksum != metadata.ChecksumValid {
		return // the word, in some program or text
	}
	if claimed < metadata.LabelScanSectors {
		f.start(at - number*sector)
	}
	if len(l.Problems) > 0 {
		f.Damage = l.Problems[0].Text
	}
	s.found(f, nil)
}

// start notes where what the find belongs to begins.
func (f *Find) start(at int64) { f.Start = &at }

// area looks at the header of a metadata area, and at the texts in it that do not simply
// begin on a sector and go on from there.
func (s *searcher) area(at int64) {
	b := s.padded(at, metadata.MDAHeaderSize)
	claimed := binary.LittleEndian.Uint64(b[24:])
	if claimed > 1<<62 {
		claimed = 0
	}
	h, err := metadata.ParseMDAHeader(b, int64(claimed))
	if err != nil {
		return
	}
	f := &Find{Kind: Area, Offset: at, Length: metadata.MDAHeaderSize, How: BySector, Checksum: h.Checksum.String(), Size: h.Size}
	if h.Checksum == metadata.ChecksumValid {
		f.start(at - h.Start)
	}
	if len(h.Problems) > 0 {
		f.Damage = h.Problems[0].Text
	}
	filled, texts := s.ringTexts(at, h)
	f.Says = [...]string{"no text", "a committed text", "a committed and a precommitted text"}[filled]
	s.found(f, nil)
	for _, t := range texts {
		s.ringText(at, h.Size, t)
	}
}

// sign looks at a superblock of another format.
func (s *searcher) sign(at int64) {
	b, _ := s.window(at, signs.Length)
	got := signs.Read(b)
	if got == nil {
		return
	}
	f := &Find{Kind: Signed, Offset: at, Length: sector, How: BySector, Checksum: got.Checksum.String(),
		Size: got.Size, Name: got.Label, UUID: got.UUID,
		Sign: &Sign{Format: got.Format, Backup: got.Backup, Block: got.Block, Array: got.Array}}
	if got.Start != signs.Unknown {
		f.start(at - got.Start)
	}
	s.found(f, nil)
}

// legacy looks at a label of LVM1 or GFS pool.
func (s *searcher) legacy(b []byte, at int64) {
	l, err := metadata.ParseLegacy(b)
	if err != nil || l.Format == "LVM1" && l.PVID == "" {
		return
	}
	f := &Find{Kind: Legacy, Offset: at, Length: sector, How: BySector, Checksum: metadata.ChecksumAbsent.String(),
		Size: l.Size, Name: l.Name, UUID: l.PVID.String(), Says: l.Format}
	f.start(at)
	s.found(f, nil)
}
