package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// ringStart is where the ring begins in its metadata area, in bytes.
const ringStart = MDAHeaderSize

// ringWindow is how much of a ring is read at once, in bytes.
const ringWindow = 256 << 10

// Ring is the part of a metadata area behind its header. Texts stand in it one behind the
// other, each on a 512-byte boundary; one that meets the end of the area goes on at the
// start of the ring (lib/format_text/format-text.c).
type Ring struct {
	area io.ReaderAt
	size int64
}

// NewRing is the ring of a metadata area of size bytes, header included; area reads bytes
// from the area's start.
func NewRing(area io.ReaderAt, size int64) *Ring {
	return &Ring{area: area, size: size}
}

// Text reads the text that a slot points at, without its terminating NUL, and holds it
// against the slot's checksum.
//
// When a part cannot be read, what stands before it is returned with the error.
func (r *Ring) Text(l RawLocn) ([]byte, Checksum, error) {
	if err := l.Check(r.size); err != nil {
		return nil, ChecksumAbsent, err
	}
	buf := make([]byte, l.Size)
	first := min(l.Size, r.size-l.Offset)
	n, err := io.ReadFull(io.NewSectionReader(r.area, l.Offset, first), buf[:first])
	if err == nil && first < l.Size {
		var m int
		m, err = io.ReadFull(io.NewSectionReader(r.area, ringStart, l.Size-first), buf[first:])
		n += m
	}
	if err != nil {
		return cText(buf[:n]), ChecksumInvalid, fmt.Errorf("text is readable up to its byte %d: %w", n, err)
	}
	return cText(buf), compare(l.Checksum, Sum(buf)), nil
}

// cText is b up to its first NUL.
func cText(b []byte) []byte {
	text, _, _ := bytes.Cut(b, []byte{0})
	return text
}

// Part says how much of a text still stands in the ring.
type Part uint8

const (
	Whole      Part = iota // all of it, as CheckWhole has it
	Head                   // its start; a later text or damage has the rest
	Tail                   // its end; a later text has the start
	Unreadable             // no text: bytes that the medium refuses
)

func (p Part) String() string {
	switch p {
	case Whole:
		return "whole"
	case Head:
		return "head"
	case Tail:
		return "tail"
	case Unreadable:
		return "unreadable"
	}
	return fmt.Sprintf("Part(%d)", uint8(p))
}

// RingText is what was found at a place of a ring.
type RingText struct {
	Part   Part
	Offset int64  // bytes from the start of the metadata area
	Size   int64  // bytes, without the terminating NUL
	Raw    []byte // nil for Unreadable
	Err    error  // why it is no more than a Head, or cannot be read
}

// Texts finds all texts in the ring, in the order of their places, whether anything points
// at them or not. Of texts that were partly overwritten it gives Heads and Tails; the Tail
// at the start of the ring comes last, since a text that wraps around may own it.
//
// The ring is read once, in pieces: memory is bounded by ringWindow and MaxTextSize.
func (r *Ring) Texts() iter.Seq[RingText] {
	return func(yield func(RingText) bool) {
		s := ringSearch{area: r.area, size: r.size}
		var atStart *RingText
		for at := int64(ringStart); at < r.size; {
			t, next, found := s.take(at)
			if found && t.Part == Tail && at == ringStart {
				atStart = &t
			} else if found && !yield(t) {
				return
			}
			at = next
		}
		if atStart != nil && s.wrapped == 0 {
			yield(*atStart)
		}
	}
}

// ringSearch walks a ring block by block.
type ringSearch struct {
	area io.ReaderAt
	size int64 // of the area, bytes

	wrapped int64 // end of what a text that wrapped around owns at the start of the ring

	window    []byte
	windowOff int64
}

// block reads the 512 bytes at byte at of the area, fewer at its end.
func (s *ringSearch) block(at int64) ([]byte, error) {
	n := min(SectorSize, s.size-at)
	if rel := at - s.windowOff; s.window != nil && rel >= 0 && rel+n <= int64(len(s.window)) {
		return s.window[rel : rel+n], nil
	}
	want := min(ringWindow, s.size-at)
	buf := s.window[:0]
	if int64(cap(buf)) < want {
		buf = make([]byte, want)
	}
	got, err := s.area.ReadAt(buf[:want], at)
	if int64(got) < n {
		got, err = s.area.ReadAt(buf[:n], at) // the medium may refuse only the large read
	}
	s.window, s.windowOff = buf[:got], at
	if int64(got) >= n {
		return s.window[:n], nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, err
}

// take looks at the block at byte at and gives what begins there, if anything, and where
// to go on.
func (s *ringSearch) take(at int64) (t RingText, next int64, found bool) {
	b, err := s.block(at)
	switch {
	case err != nil:
		next = s.skipUnreadable(at + SectorSize)
		return RingText{Part: Unreadable, Offset: at, Size: min(next, s.size) - at, Err: err}, next, true
	case b[0] == 0:
		return t, at + SectorSize, false
	}
	_, isStart := TextStart(b)
	raw, next, err := s.collect(at)
	t = RingText{Part: Tail, Offset: at, Size: int64(len(raw)), Raw: raw, Err: err}
	switch {
	case isStart:
		t.Part = Whole
		if t.Err == nil {
			t.Err = CheckWhole(raw)
		}
		if t.Err != nil {
			t.Part = Head
		}
	case t.Err != nil || !bytes.Contains(raw, textCreated):
		return t, next, false // noise, or the middle of a text
	}
	return t, next, true
}

// skipUnreadable finds the first block from byte at on that can be read.
func (s *ringSearch) skipUnreadable(at int64) int64 {
	for ; at < s.size; at += SectorSize {
		switch _, err := s.block(at); {
		case err == nil:
			return at
		case errors.Is(err, io.EOF):
			return s.size // the area ends before its claimed size
		}
	}
	return at
}

// collect gathers the text from byte at to its NUL, around the end of the ring if need be,
// and gives the block behind it. It stops with an error where another text begins.
func (s *ringSearch) collect(start int64) (raw []byte, next int64, err error) {
	around := false
	for at := start; ; at += SectorSize {
		if at >= s.size {
			at, around = ringStart, true
		}
		if around && at >= start {
			return raw, s.size, fmt.Errorf("text has no end in the whole ring")
		}
		b, err := s.block(at)
		if err == nil && at != start {
			if name, ok := TextStart(b); ok {
				err = fmt.Errorf("overwritten from its byte %d on by a text of volume group %s", len(raw), name)
			}
		}
		if err == nil && len(raw) > MaxTextSize {
			err = fmt.Errorf("text is longer than the limit of %d bytes", MaxTextSize)
		}
		end := -1
		if err == nil {
			if end = bytes.IndexByte(b, 0); end < 0 {
				raw = append(raw, b...)
				continue
			}
			raw = append(raw, b[:end]...)
			at += SectorSize
		}
		if around {
			s.wrapped, at = at, s.size
		}
		return raw, at, err
	}
}
