package scan

import (
	"bytes"
	"errors"
	"io"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Limits of what is searched and kept for one source, in bytes.
const (
	maxRingSearch = 1 << 30  // of one ring; lvm2's default is 1 MiB
	maxRingTexts  = 32 << 20 // of all texts found by search
)

// ring is the area's ring, of the given size of the area.
func (a *Area) ring(size int64) *metadata.Ring {
	return metadata.NewRing(io.NewSectionReader(a.PV.Dev, a.Offset, size), size)
}

// readArea reads the texts of a metadata area: those its header points at, and the others
// when they are wanted, or needed because the newest is lost.
func (s *sourceScan) readArea(a *Area) {
	slots := map[int64]bool{} // places in the area that the header points at
	intact := false
	if h := a.Header; h != nil {
		slot := Committed
		if h.Ignored() {
			slot = Ignored
		}
		intact = s.readSlot(a, h.Committed, slot, slots)
		s.readSlot(a, h.Precommitted, Precommitted, slots)
	}
	if s.history || !intact && !a.empty() {
		s.searchRing(a, slots)
	}
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
	s.copies = append(s.copies, &Copy{
		Content: s.texts.content(raw), Source: s.src, Offset: at, Area: a, Slot: slot, Checksum: sum,
	})
}

// searchRing adds every whole text in the ring that no slot points at.
func (s *sourceScan) searchRing(a *Area, slots map[int64]bool) {
	size := areaBytes(a.PV.Dev, a)
	start := a.PV.Offset + a.Offset
	if size > maxRingSearch {
		s.find(Warning, "ring-limit", start, "metadata area of %d bytes; only the first %d are searched for texts", size, maxRingSearch)
		size = maxRingSearch
	}
	fragments := 0
	for t := range a.ring(size).Texts() {
		at := start + t.Offset
		switch {
		case t.Part == metadata.Unreadable:
			s.find(Warning, "ring-unreadable", at, "%d bytes of a metadata area cannot be read: %s", t.Size, why(t.Err))
		case t.Part != metadata.Whole:
			fragments++
		case slots[t.Offset]:
		case s.textBytes+t.Size > maxRingTexts:
			s.find(Warning, "ring-limit", at, "more than %d bytes of texts on one source; the rest is left out", maxRingTexts)
			return
		default:
			s.textBytes += t.Size
			s.addCopy(a, t.Raw, at, Ring, metadata.ChecksumAbsent)
		}
	}
	if fragments > 0 {
		s.find(Info, "ring-fragments", start, "%d older texts in this metadata area are overwritten in part, and left out", fragments)
	}
}

// why is the reason for which a read failed.
func why(err error) string {
	var bad *block.BadRangeError
	if errors.As(err, &bad) {
		return bad.Why
	}
	return err.Error()
}

// hasText reports whether any whole text stands in the area's ring.
func hasText(a *Area) bool {
	for t := range a.ring(areaBytes(a.PV.Dev, a)).Texts() {
		if t.Part == metadata.Whole {
			return true
		}
	}
	return false
}
