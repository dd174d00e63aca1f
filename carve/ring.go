package carve

import (
	"io"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

// Bounds of the areas whose ring is searched, in bytes; lvm2 makes them of 1 MiB. A disk
// full of headers would else be read over and over.
const (
	maxRing  = 64 << 20
	maxRings = 256 << 20 // of one source
)

// ringText is a text that only its area tells of: a slot vouches for it, or it goes around
// the end of the ring. All others are found by their sector.
type ringText struct {
	offset   int64 // from the area's start
	raw      []byte
	checksum metadata.Checksum
	how      How
}

// ringTexts reads such texts of the area whose header stands at byte at of the source, and
// counts the filled slots.
func (s *searcher) ringTexts(at int64, h *metadata.MDAHeader) (filled int, texts []ringText) {
	slots := slices.DeleteFunc([]metadata.RawLocn{h.Committed, h.Precommitted}, metadata.RawLocn.Empty)
	size := min(h.Size, s.dev.Size()-at)
	if h.Checksum != metadata.ChecksumValid || h.Size == 0 || h.Size > maxRing || s.ring.Add(-size) < 0 {
		return len(slots), nil
	}
	ring := metadata.NewRing(io.NewSectionReader(s.dev, at, size), h.Size)
	known := map[int64]bool{}
	for _, slot := range slots {
		if raw, sum, err := ring.Text(slot); err == nil && sum == metadata.ChecksumValid && !known[slot.Offset] {
			known[slot.Offset] = true
			texts = append(texts, ringText{slot.Offset, raw, sum, BySlot})
		}
	}
	if t, ok := s.around(at, h.Size); ok && !known[t.offset] {
		texts = append(texts, t)
	}
	return len(slots), texts
}

// around finds the whole text that goes around the end of an area's ring, if one does.
func (s *searcher) around(at, size int64) (ringText, bool) {
	if at > s.dev.Size()-size {
		return ringText{}, false
	}
	for t := range metadata.NewRing(io.NewSectionReader(s.dev, at, size), size).Texts() {
		if t.Part == metadata.Whole && t.Offset+t.Size > size {
			return ringText{t.Offset, t.Raw, metadata.ChecksumAbsent, ByRing}, true
		}
	}
	return ringText{}, false
}
