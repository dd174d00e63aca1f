package scan

import (
	"bytes"
	"math"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

// usualHeaders are the places of the first metadata area on hosts with pages of 4 and
// 64 KiB and with old versions of lvm2 (lib/format_text/format-text.c,
// _text_pv_initialise), in bytes from the start of the PV.
var usualHeaders = [...]int64{4096, 65536, 2048, 512}

// tailSearch is how much of a container's end may hold the header of a second area of the
// default size, in bytes: the area itself, rounded to the data alignment, both of 1 MiB.
const tailSearch = 2 << 20

// The first metadata area as lvm2 makes it unless told otherwise.
const (
	usualArea    = 4096    // bytes from the start of the PV
	usualAreaEnd = 1 << 20 // bytes
)

// lostArea is a metadata area that was found without a label.
type lostArea struct {
	base   int64 // where its PV begins in the source, if the header is right
	header *metadata.MDAHeader
}

// of makes the area one of a PV. The first area begins in the first MiB, and usually ends
// with it; the second ends with the PV.
func (l lostArea) of(pv *PV) *Area {
	a := &Area{PV: pv, Number: 1, Offset: l.header.At, Size: l.header.Size, Header: l.header}
	end := int64(usualAreaEnd)
	if a.Offset >= usualAreaEnd {
		a.Number, end = 2, pv.Dev.Size()
	}
	if a.Size == 0 {
		a.Size = end - a.Offset
	}
	return a
}

// lost finds the metadata areas of a container whose PV has lost its label, and with them
// the PV. Where not even a header is left, texts may still stand in the usual ring.
func (s *sourceScan) lost(c container) {
	found := s.searchHeaders(c)
	for _, l := range found {
		at := l.base + l.header.At
		if l.base < 0 {
			s.find(Error, "pv-before-source", at, "this metadata area's PV begins %d bytes before the source: the source lacks its start", -l.base)
			s.readStrayArea(l)
			continue
		}
		pv := s.known(l.base)
		if pv != nil && (pv.Label != nil || pv.hasArea(l.header.At)) {
			continue
		}
		if pv == nil && l.base != c.start && s.labelled(container{l.base, c.start + c.size - l.base, c.where}) {
			s.find(Info, "pv-elsewhere", at, "this metadata area led to a PV at byte %d, where no table has one", l.base)
			continue
		}
		if pv == nil {
			pv = s.lostPV(c, l.base)
			s.find(Warning, "pv-label-lost", l.base, "a metadata area at byte %d tells of a PV that begins here; its label is lost", at)
		}
		s.tellHeader(l.header, at)
		pv.Areas = append(pv.Areas, l.of(pv))
	}
	s.assume(c)
}

// lostPV adds a PV without a label.
func (s *sourceScan) lostPV(c container, base int64) *PV {
	pv := &PV{Source: s.src, Offset: base, Dev: s.device(c, base), Where: c.where}
	s.pvs = append(s.pvs, pv)
	return pv
}

// assume looks for texts where the first metadata area usually lies, when nothing else
// tells of one.
func (s *sourceScan) assume(c container) {
	pv := s.known(c.start)
	if pv != nil && (pv.Label != nil || slices.ContainsFunc(pv.Areas, func(a *Area) bool { return a.Number == 1 })) {
		return
	}
	end := int64(usualAreaEnd)
	for _, other := range s.pvs {
		if other.Offset > c.start {
			end = min(end, other.Offset-c.start)
		}
	}
	a := &Area{Number: 1, Offset: usualArea, Size: end - usualArea}
	a.PV = &PV{Source: s.src, Offset: c.start, Dev: s.device(c, c.start)}
	if !hasText(a) {
		return
	}
	if pv == nil {
		pv = s.lostPV(c, c.start)
	}
	a.PV = pv
	pv.Areas = append(pv.Areas, a)
	s.find(Warning, "mda-assumed", c.start+usualArea,
		"metadata texts stand where the first metadata area of a PV usually is; its label and the area's header are lost")
}

// searchHeaders finds mda headers at the usual places of a container, and near its end.
func (s *sourceScan) searchHeaders(c container) []lostArea {
	dev := s.device(c, c.start)
	var found []lostArea
	add := func(b []byte, at int64) {
		h, err := metadata.ParseMDAHeader(b, at)
		if err != nil || !h.Marked() {
			return
		}
		l := lostArea{base: c.start, header: h}
		if h.Start != at && h.Checksum == metadata.ChecksumValid {
			// The header knows better where it is. Read it again from there, so that
			// only what is wrong with itself is told.
			if h, err = metadata.ParseMDAHeader(b, h.Start); err != nil {
				return
			}
			l = lostArea{base: c.start + at - h.Start, header: h}
		}
		found = append(found, l)
	}
	for _, at := range usualHeaders {
		b, _ := read(dev, at, metadata.MDAHeaderSize)
		add(b, at)
	}
	end := min(c.size, s.src.Dev.Size()-c.start)
	from := max(end-tailSearch, usualHeaders[1]+metadata.MDAHeaderSize)
	from -= from % metadata.SectorSize
	tail, _ := read(dev, from, end-from)
	for i := range headersIn(tail) {
		add(tail[i:], from+i)
	}
	return found
}

// headersIn yields the places in b, on sectors, that have the magic of an mda header.
func headersIn(b []byte) func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		magic := []byte(metadata.MDAMagic)
		for from := 0; ; {
			i := bytes.Index(b[from:], magic)
			if i < 0 {
				return
			}
			at := from + i - metadata.MDAMagicOffset
			if at >= 0 && at%metadata.SectorSize == 0 && !yield(int64(at)) {
				return
			}
			from += i + len(magic)
		}
	}
}

// readStrayArea reads the texts of an area whose PV has no place in the source.
func (s *sourceScan) readStrayArea(l lostArea) {
	start := l.base + l.header.At
	size := l.header.Size
	if size == 0 {
		size = math.MaxInt64 - start
	}
	pv := &PV{Source: s.src, Offset: start, Dev: s.device(container{start: start, size: s.src.Dev.Size() - start}, start)}
	before := len(s.copies)
	s.readArea(&Area{PV: pv, Number: 1, Size: size, Header: l.header})
	for _, c := range s.copies[before:] {
		c.Area = nil
	}
}
