package scan

import (
	"bytes"
	"context"
	"io"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Limits of what is read of one source; a ring has 1 MiB if nobody asks for more, and room
// for 2,000 of the shortest texts.
const (
	maxTexts       = 8192
	maxTextBytes   = 48 << 20 // of all texts; of all sources, those that differ
	maxSearchBytes = 1 << 30  // of all rings that are searched
)

// ring is the area's ring, of the given size of the area.
func (a *Area) ring(size int64) *metadata.Ring {
	return metadata.NewRing(io.NewSectionReader(block.SkipZeros(a.PV.Dev), a.Offset, size), size)
}

// readTexts reads the texts of all metadata areas: first those that headers point at; then
// all others, where they are wanted, or needed because the newest is lost.
func (s *sourceScan) readTexts(ctx context.Context, areas []*Area) error {
	slots := make([]slotPlaces, len(areas))
	for i, a := range areas {
		slots[i] = s.readSlots(a)
	}
	for i, a := range areas {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Of a disk that has lost its label older texts help to know which it is.
		if s.history || a.PV.Label == nil || !slots[i].intact && !a.empty() {
			s.searchRing(a, slots[i])
		}
	}
	return ctx.Err()
}

// slotPlaces are the places in an area that its header points at.
type slotPlaces struct {
	intact bool // the newest text is there, with the right checksum
	at     map[int64]bool
}

func (s *sourceScan) readSlots(a *Area) slotPlaces {
	p := slotPlaces{at: map[int64]bool{}}
	if h := a.Header; h != nil {
		slot := Committed
		if h.Ignored() {
			slot = Ignored
		}
		p.intact = s.readSlot(a, h.Committed, slot, p.at)
		s.readSlot(a, h.Precommitted, Precommitted, p.at)
	}
	return p
}

// empty reports whether the area has no committed text and should have none: its header is
// whole, and so is the label, which does not count the PV to a VG, or the area is ignored.
func (a *Area) empty() bool {
	h, label := a.Header, a.PV.Label
	if h == nil || h.Checksum != metadata.ChecksumValid || !h.Committed.Empty() {
		return false
	}
	return h.Ignored() || label != nil && label.Checksum == metadata.ChecksumValid && !label.Used()
}

// readSlot reads the text that a slot points at. It reports whether the text is there with
// the right checksum.
func (s *sourceScan) readSlot(a *Area, l metadata.RawLocn, slot Slot, slots map[int64]bool) bool {
	if l.Empty() {
		return false
	}
	at := a.PV.Offset + a.Offset + l.Offset
	if l.Check(a.Size) == nil && !s.room(l.Size, at) {
		return false
	}
	if l.Size > largeText { // one at a time: there may be many workers
		s.texts.large.Lock()
		defer s.texts.large.Unlock()
	}
	raw, sum, err := a.ring(a.Size).Text(l)
	if err != nil {
		s.find(Warning, "text-unreadable", at, "the %s text cannot be read: %v", slot, err)
	}
	if sum != metadata.ChecksumValid && !plausible(raw) {
		if err == nil {
			s.find(Warning, "text-missing", at, "no metadata text where the %s one should be", slot)
		}
		return false
	}
	if err == nil && sum != metadata.ChecksumValid {
		s.find(Warning, "text-crc", at, "the %s text does not have the checksum that its header gives it: the text or the header is damaged", slot)
	}
	slots[l.Offset] = true
	s.addCopy(a, raw, at, slot, sum)
	return sum == metadata.ChecksumValid
}

// plausible tells a damaged text from bytes that are none.
func plausible(raw []byte) bool {
	_, ok := metadata.TextStart(raw)
	return ok || bytes.Contains(raw, []byte("physical_volumes {"))
}

func (s *sourceScan) addCopy(a *Area, raw []byte, at int64, slot Slot, sum metadata.Checksum) {
	content := s.texts.content(raw)
	if content == nil {
		s.leaveOut(at)
		return
	}
	s.copies = append(s.copies, &Copy{
		Content: content, Source: s.src, Offset: at, Area: a, Slot: slot, Checksum: sum,
	})
}

// room takes a text of n bytes off what a source may have of texts, and tells when nothing
// is left.
func (s *sourceScan) room(n, at int64) bool {
	if s.textCount < maxTexts && n <= maxTextBytes-s.textBytes {
		s.textCount++
		s.textBytes += n
		return true
	}
	s.leaveOut(at)
	return false
}

// leaveOut tells, once, that texts are left out.
func (s *sourceScan) leaveOut(at int64) {
	if !s.textsLeft {
		s.textsLeft = true
		s.find(Warning, "text-limit", at, "more than %d metadata texts in one source, or %d bytes of them in all; from here on some are left out", maxTexts, maxTextBytes)
	}
}

// searchable is how many bytes of an area are there and may be searched.
func (s *sourceScan) searchable(a *Area) int64 {
	size := min(a.Size, a.PV.Dev.Size()-a.Offset)
	if left := maxSearchBytes - s.searchBytes; size > left {
		s.find(Warning, "ring-limit", a.PV.Offset+a.Offset, "only %d of %d bytes of this metadata area are searched for texts", left, size)
		size = left
	}
	s.searchBytes += max(size, 0)
	return size
}

// searchRing adds every whole text in the ring that no slot points at.
func (s *sourceScan) searchRing(a *Area, slots slotPlaces) {
	start := a.PV.Offset + a.Offset
	fragments := 0
	for t := range a.ring(s.searchable(a)).Texts() {
		at := start + t.Offset
		switch {
		case t.Part == metadata.Unreadable:
			s.find(Warning, "ring-unreadable", at, "%d bytes of a metadata area cannot be read: %s", t.Size, block.Why(t.Err))
		case t.Part == metadata.Head && s.history && !slots.at[t.Offset] && bytes.Contains(t.Raw, []byte("seqno = ")) && s.room(t.Size, at):
			s.addCopy(a, t.Raw, at, Ring, metadata.ChecksumAbsent) // damaged: its start is there
		case t.Part != metadata.Whole:
			fragments++
		case !slots.at[t.Offset] && s.room(t.Size, at):
			s.addCopy(a, t.Raw, at, Ring, metadata.ChecksumAbsent)
		}
	}
	if fragments > 0 {
		s.find(Info, "ring-fragments", start, "%d older texts in this metadata area are overwritten in part, and left out", fragments)
	}
}

// hasText reports whether any whole text stands in the area's ring.
func (s *sourceScan) hasText(a *Area) bool {
	for t := range a.ring(s.searchable(a)).Texts() {
		if t.Part == metadata.Whole {
			return true
		}
	}
	return false
}
