package scan

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

// Where a container is searched for mda headers, in bytes: at its start, where the first
// area is, at 4096 or 65536 with today's lvm2 (lib/format_text/format-text.c,
// _text_pv_initialise); and before its end, where a second one of the default size is,
// rounded to the data alignment, both of 1 MiB.
const (
	headSearch = 1 << 20
	tailSearch = 2 << 20

	maxHeaders = 16 // that are believed, of one container
)

// MaxLacking is how much of a PV's start a source may lack, in bytes.
const MaxLacking = 1 << 50

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
	headers := s.searchHeaders(c)
	for _, l := range headers {
		at := l.base + l.header.At
		if l.base < -MaxLacking {
			s.find(Warning, "pv-before-source", at, "this metadata area says that its PV begins %d bytes before the source, which is not believed", -l.base)
			continue
		}
		pv := s.known(l.base)
		if pv != nil && (pv.Label != nil || pv.hasArea(l.header.At)) {
			continue
		}
		if pv == nil && l.base >= 0 && l.base != c.start && s.labelled(container{start: l.base, size: c.start + c.size - l.base, where: c.where}) {
			s.find(Info, "pv-elsewhere", at, "this metadata area led to a PV at byte %d, where no table has one", l.base)
			s.elsewhere(s.known(l.base), headers)
			continue
		}
		switch {
		case pv != nil:
		case l.base < 0:
			pv = s.lostPV(c, l.base)
			s.find(Error, "pv-before-source", at, "this metadata area's PV begins %d bytes before the source: the source lacks its start", -l.base)
		default:
			pv = s.lostPV(c, l.base)
			s.find(Warning, "pv-label-lost", l.base, "a metadata area at byte %d tells of a PV that begins here; its label is lost", at)
		}
		s.tellHeader(l.header, at)
		pv.Areas = append(pv.Areas, l.of(pv))
	}
	s.assume(c)
}

// elsewhere notes that a PV was found where no table has one, by a header that gave its
// place. It is in doubt when an area that its label lists stands where it would if the PV
// began at another place: bytes were moved then, and which ones is not known.
func (s *sourceScan) elsewhere(pv *PV, headers []lostArea) {
	pv.unlisted = true
	for _, l := range headers {
		if l.base == pv.Offset || l.header.Checksum != metadata.ChecksumValid || pv.hasArea(l.header.At) {
			continue
		}
		for _, listed := range pv.Label.MetadataAreas {
			if listed.Offset == l.header.At {
				pv.Doubt = cmp.Or(pv.Doubt, fmt.Sprintf("%s: one of its metadata areas has it begin at byte %d", pv, l.base))
			}
		}
	}
}

// doubtUnlisted doubts PVs that were found where no table has one, unless the committed text
// of one of their areas is where it should be, and the PV fits in behind: what tells of the
// PV may have been moved there, without the rest.
func (s *sourceScan) doubtUnlisted() {
	for _, pv := range s.pvs {
		switch {
		case !pv.unlisted && !pv.Carved():
		case pv.Label != nil && pv.Label.DeviceSize > s.src.Dev.Size()-pv.Offset:
			pv.Doubt = cmp.Or(pv.Doubt, fmt.Sprintf("%s: the PV that a label tells of there does not fit in", pv))
		case !slices.ContainsFunc(s.copies, func(c *Copy) bool {
			return c.Area != nil && c.Area.PV == pv && (c.Slot == Committed || c.Slot == Ignored) && c.Checksum == metadata.ChecksumValid
		}):
			pv.Doubt = cmp.Or(pv.Doubt, fmt.Sprintf("%s: nothing but a label and a header tells of a PV there", pv))
		}
	}
}

// lostPV adds a PV without a label.
func (s *sourceScan) lostPV(c container, base int64) *PV {
	pv := &PV{Source: s.src, Offset: base, Dev: s.device(c, base), Where: c.where, Mirror: c.mirror, Doubt: s.doubt(base, c)}
	s.pvs = append(s.pvs, pv)
	return pv
}

// assume looks for texts where the first metadata area usually lies, when nothing else
// tells of one.
func (s *sourceScan) assume(c container) {
	pv := s.known(c.start)
	if slices.ContainsFunc(s.pvs, func(p *PV) bool { return p.Offset < 0 }) {
		return // that is what stands there
	}
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
	if !s.hasText(a) {
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

// searchHeaders finds mda headers near the start and near the end of a container, and where
// carving has found some that have the PV begin with the container.
func (s *sourceScan) searchHeaders(c container) []lostArea {
	dev := s.device(c, c.start)
	end := min(c.size, s.src.Dev.Size()-c.start)
	tail := max(end-tailSearch, headSearch) &^ (metadata.SectorSize - 1)
	var found []lostArea
	for _, w := range []struct{ from, to int64 }{{0, min(headSearch, end)}, {tail, end}} {
		b, _ := read(dev, w.from, w.to-w.from)
		for i := range headersIn(b) {
			if l, ok := lostHeader(b[i:], c, w.from+i); ok && len(found) < maxHeaders {
				found = append(found, l)
			}
		}
	}
	for _, at := range c.areas {
		b, _ := read(s.src.Dev, at, metadata.MDAHeaderSize)
		l, ok := lostHeader(b, c, at-c.start)
		if ok && l.base == c.start && len(found) < maxHeaders && !slices.ContainsFunc(found, func(o lostArea) bool { return o.base == l.base && o.header.At == l.header.At }) {
			found = append(found, l)
		}
	}
	return found
}

// lostHeader reads the mda header at byte at of a container. One with the right checksum
// knows better than the container where its PV begins; only what is wrong with itself is
// then a problem.
func lostHeader(b []byte, c container, at int64) (lostArea, bool) {
	h, err := metadata.ParseMDAHeader(b, at)
	if err != nil || h.Checksum != metadata.ChecksumValid || h.Start == at {
		return lostArea{c.start, h}, err == nil
	}
	base := c.start + at - h.Start
	h, err = metadata.ParseMDAHeader(b, h.Start)
	return lostArea{base, h}, err == nil
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
