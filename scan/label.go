package scan

import (
	"errors"

	"github.com/lvrescue/lvrescue/metadata"
)

// maxAreas is how many metadata areas of a label are read; lvm2 makes at most 2
// (lib/format_text/format-text.h, FMT_TEXT_MAX_MDAS_PER_PV).
const maxAreas = 8

// labelled finds a container's PV by its label, in sectors 0-3. It reports whether there
// is one.
func (s *sourceScan) labelled(c container) bool {
	label, at := s.label(c)
	if label == nil {
		return false
	}
	base := s.base(c, label, at)
	if base < 0 {
		s.find(Error, "pv-before-source", at, "the PV begins %d bytes before the source: the source lacks its start", -base)
	} else if base != c.start {
		s.find(Warning, "pv-shifted", at, "the label belongs into sector %d of its PV, which so begins at byte %d, not at %d as it should",
			label.ClaimedSector, base, c.start)
	}
	if s.known(base) != nil {
		return true
	}
	pv := &PV{Source: s.src, Offset: base, Dev: s.device(c, base), Where: c.where, Label: label, Mirror: c.mirror, Doubt: s.doubt(base, c), unlisted: base != c.start}
	s.pvs = append(s.pvs, pv)
	s.checkSize(pv)
	s.labelAreas(pv, c)
	return true
}

// properly tells whether a label stands where it belongs in a container, so that whatever else
// its start looks like, it is a PV, or was one.
func (s *sourceScan) properly(c container) bool {
	buf, _ := read(s.device(c, c.start), 0, metadata.LabelScanSectors*metadata.SectorSize)
	for n := int64(0); (n+1)*metadata.SectorSize <= int64(len(buf)); n++ {
		if l, err := metadata.ParseLabel(buf[n*metadata.SectorSize:], n); err == nil && l.Checksum == metadata.ChecksumValid && l.ClaimedSector == n {
			return true
		}
	}
	return false
}

// base is where the PV of a label at byte at of the source begins. A label that claims
// another sector is believed when its metadata areas agree.
func (s *sourceScan) base(c container, l *metadata.Label, at int64) int64 {
	claimed := at - l.ClaimedSector*metadata.SectorSize
	if l.ClaimedSector == l.Sector || l.ClaimedSector >= metadata.LabelScanSectors {
		return c.start
	}
	for _, a := range l.MetadataAreas {
		for _, base := range []int64{c.start, claimed} {
			b, _ := read(s.src.Dev, base+a.Offset, metadata.MDAHeaderSize)
			if h, err := metadata.ParseMDAHeader(b, a.Offset); err == nil && h.Start == a.Offset {
				return base
			}
		}
	}
	return c.start
}

// known is the PV that begins at byte base of the source, if it was found.
func (s *sourceScan) known(base int64) *PV {
	for _, pv := range s.pvs {
		if pv.Offset == base {
			return pv
		}
	}
	return nil
}

// label chooses among the labels of a container and tells of the others: as lvm2 the first
// in its right sector with a valid checksum; if there is none, the first that comes
// closest. It gives the label and its place in the source.
func (s *sourceScan) label(c container) (best *metadata.Label, at int64) {
	dev := s.device(c, c.start)
	buf, bad := read(dev, 0, metadata.LabelScanSectors*metadata.SectorSize)
	var labels []*metadata.Label
	for n := int64(0); (n+1)*metadata.SectorSize <= int64(len(buf)); n++ {
		l, err := metadata.ParseLabel(buf[n*metadata.SectorSize:], n)
		var damage *metadata.DamageError
		if errors.As(err, &damage) {
			s.problem(damage.Problem, c.start+n*metadata.SectorSize, "the label is of no use")
		}
		if err != nil {
			continue
		}
		labels = append(labels, l)
		if best == nil || labelRank(l) > labelRank(best) {
			best = l
		}
	}
	if best == nil {
		for _, e := range bad {
			s.find(Warning, "label-unreadable", c.start+e.Off, "%d bytes where a label may be cannot be read: %s", e.Len, e.Why)
		}
		return nil, 0
	}
	s.tellLabels(c, labels, best)
	return best, c.start + best.Sector*metadata.SectorSize
}

// labelRank orders labels by how far they can be believed.
func labelRank(l *metadata.Label) int {
	rank := 0
	if l.Checksum == metadata.ChecksumValid {
		rank += 2
	}
	if l.ClaimedSector == l.Sector {
		rank++
	}
	return rank
}

// tellLabels makes findings of the chosen label's problems, and of each other label.
func (s *sourceScan) tellLabels(c container, labels []*metadata.Label, best *metadata.Label) {
	for _, l := range labels {
		at := c.start + l.Sector*metadata.SectorSize
		if l != best {
			s.find(Warning, "label-extra", at, "another label, of PV %s, in sector %d; that of PV %s in sector %d is used",
				l.PVID, l.Sector, best.PVID, best.Sector)
			continue
		}
		for _, p := range l.Problems {
			s.problem(p, at, "the label is used as far as it makes sense")
		}
	}
}

// checkSize holds the label's device size against what there is.
func (s *sourceScan) checkSize(pv *PV) {
	if missing := pv.Label.DeviceSize - (s.src.Dev.Size() - pv.Offset); missing > 0 {
		s.find(Warning, "pv-cut", pv.Offset, "the PV's label says %d bytes, %d of them lie behind the end of the source: the source was cut, or copied in part",
			pv.Label.DeviceSize, missing)
	}
}

// labelAreas reads the headers of the metadata areas that the PV's label lists. When
// something is wrong with the label, and some are not there, they are searched for as well.
func (s *sourceScan) labelAreas(pv *PV, c container) {
	whole := len(pv.Label.MetadataAreas) > 0
	for i, listed := range pv.Label.MetadataAreas {
		if i == maxAreas {
			s.find(Warning, "mda-count", pv.Offset, "the label lists %d metadata areas; only the first %d are read", len(pv.Label.MetadataAreas), maxAreas)
			break
		}
		a := s.areaHeader(pv, i+1, listed)
		if a.Header == nil {
			whole = false
		}
		pv.Areas = append(pv.Areas, a)
	}
	if whole || len(pv.Label.Problems) == 0 {
		return
	}
	for _, a := range s.searchHeaders(c) {
		if a.base == pv.Offset && !pv.hasArea(a.header.At) {
			pv.Areas = append(pv.Areas, a.of(pv))
		}
	}
}

// hasArea reports whether the PV has a usable area at byte off.
func (p *PV) hasArea(off int64) bool {
	for _, a := range p.Areas {
		if a.Offset == off && a.Header != nil {
			return true
		}
	}
	return false
}

// areaHeader reads the header of an area that the label lists.
func (s *sourceScan) areaHeader(pv *PV, number int, listed metadata.DiskArea) *Area {
	a := &Area{PV: pv, Number: number, Offset: listed.Offset, Size: listed.Size}
	at := pv.Offset + listed.Offset
	b, bad := read(pv.Dev, listed.Offset, metadata.MDAHeaderSize)
	h, err := metadata.ParseMDAHeader(b, listed.Offset)
	switch {
	case listed.Offset >= pv.Dev.Size():
		s.find(Warning, "mda-outside", at, "metadata area %d begins behind the end of the source", number)
		return a
	case len(bad) > 0:
		s.find(Warning, "mda-unreadable", at, "the header of metadata area %d cannot be read: %s; texts are searched for in its ring", number, bad[0].Why)
		return a
	case err != nil:
		s.find(Warning, "mda-header-missing", at, "%v where the label has metadata area %d; texts are searched for in its ring", err, number)
		return a
	}
	a.Header = h
	s.tellHeader(h, at)
	switch {
	case h.Size == listed.Size || h.Size == 0:
	case h.Checksum == metadata.ChecksumValid:
		s.find(Warning, "mda-size", at, "the label gives metadata area %d %d bytes, its header %d; the header is believed", number, listed.Size, h.Size)
		a.Size = h.Size
	default:
		s.find(Warning, "mda-size", at, "the label gives metadata area %d %d bytes, its header %d; the label is believed", number, listed.Size, h.Size)
	}
	return a
}

// tellHeader makes findings of an mda header's problems; at is its place in the source.
func (s *sourceScan) tellHeader(h *metadata.MDAHeader, at int64) {
	for _, p := range h.Problems {
		s.problem(p, at, "the header is used as far as it makes sense")
	}
}
