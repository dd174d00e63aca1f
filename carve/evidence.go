package carve

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
)

// Limits of what a case adds to the evidence.
const (
	maxPlaces   = 256      // of one source
	maxAreas    = 16       // of one place
	maxCopies   = 8192     // of one source
	maxEvidence = 64 << 20 // bytes of all texts, those of the scan among them
)

// Places lists where PVs may begin on a source that is open, as its finds tell: for
// [scan.Options.Places].
func (c *Case) Places(src *scan.Source) []scan.Place {
	known := c.Find(src)
	if known == nil {
		return nil
	}
	finds, _, err := known.Finds()
	if err != nil {
		return nil // Add tells
	}
	best := map[int64]scan.Place{}
	rank := map[int64]int{}
	areas := map[int64][]int64{}
	for _, f := range finds {
		if f.Start == nil || f.Kind != Label && f.Kind != Area || f.Kind == Area && f.checksum() != metadata.ChecksumValid {
			continue
		}
		at, worth := *f.Start, vouched(f)
		p := scan.Place{Offset: at}
		if f.Kind == Area && len(areas[at]) < maxAreas {
			areas[at] = append(areas[at], f.Offset)
		}
		if f.Kind == Label {
			worth += 4
			if f.checksum() == metadata.ChecksumValid {
				p.Size = f.Size
			}
		}
		if _, ok := best[at]; !ok || worth > rank[at] {
			best[at], rank[at] = p, worth
		}
	}
	var list []scan.Place
	for at, p := range best {
		p.Areas = areas[at]
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b scan.Place) int {
		return cmp.Or(-cmp.Compare(rank[a.Offset], rank[b.Offset]), cmp.Compare(a.Offset, b.Offset))
	})
	return list[:min(len(list), maxPlaces)]
}

// Add makes the finds of the case part of the evidence of a scan that was told of [Case.Places]:
// texts become copies, superblocks signs. What the scan has found itself is left alone.
// history tells that the scan has searched all rings.
func (c *Case) Add(ev *scan.Evidence, history bool) {
	a := adder{c: c, ev: ev, history: history, contents: map[string]*scan.Content{}}
	for _, copied := range ev.Copies {
		if sum := hex.EncodeToString(copied.Content.SHA256[:]); a.contents[sum] == nil {
			a.contents[sum] = copied.Content
			a.bytes += int64(len(copied.Content.Raw))
		}
	}
	a.leaveCopies()
	given := map[*Source]bool{}
	for _, src := range ev.Sources {
		known := c.Find(src)
		switch old := c.Replaced(src); {
		case src.Dev == nil:
		case known == nil && old != nil:
			a.find(scan.Warning, "case-changed", src.Name, "is not what it was when it was carved into the case: its finds are used as those of another disk that is not here; carve it again")
		case known == nil:
			a.find(scan.Info, "case-unknown", src.Name, "has not been carved into the case")
		default:
			given[known] = true
			a.source(known, src)
		}
	}
	for _, known := range c.Sources {
		if !given[known] {
			a.source(known, &scan.Source{Name: known.Name, Kind: known.Kind})
		}
	}
	a.doubtFiles()
}

// adder adds the finds of sources.
type adder struct {
	c        *Case
	ev       *scan.Evidence
	history  bool
	contents map[string]*scan.Content // by the SHA-256 in hexadecimal
	bytes    int64                    // of contents
}

// leaveCopies leaves out carved PVs whose label stands where a PV ought to be, too: they are
// copies, as a file with the first megabytes of a disk is one. Their texts stay.
func (a *adder) leaveCopies() {
	proper := map[metadata.ID]*scan.PV{}
	for _, pv := range a.ev.PVs {
		if id := pv.ID(); id != "" && !pv.Carved() {
			proper[id] = pv
		}
	}
	left := map[*scan.PV]bool{}
	a.ev.PVs = slices.DeleteFunc(a.ev.PVs, func(pv *scan.PV) bool {
		original := proper[pv.ID()]
		if !pv.Carved() || original == nil {
			return false
		}
		left[pv] = true
		a.ev.Findings = append(a.ev.Findings, scan.Finding{Severity: scan.Info, Code: "pv-copy", Source: pv.Source.Name, Offset: pv.Offset,
			Text: fmt.Sprintf("a copy of the label of PV %s, which is at %s; --assume decides otherwise", pv.ID(), original)})
		return true
	})
	for _, c := range a.ev.Copies {
		if c.Area != nil && left[c.Area.PV] {
			c.Slot, c.Area, c.How = scan.Carved, nil, "in a copy of a metadata area"
		}
	}
}

// filesystems are the formats that hold files, so that what lies in one may be a file.
var filesystems = []string{"ext2", "ext3", "ext4", "XFS", "Btrfs", "NTFS", "exFAT", "FAT32", "FAT16", "FAT12", "VxFS"}

// doubtFiles doubts carved PVs that lie within a filesystem which begins before them: they
// may be files, in pieces, or be left over from before it.
func (a *adder) doubtFiles() {
	for _, pv := range a.ev.PVs {
		if !pv.Carved() || pv.Doubt != "" {
			continue
		}
		for _, s := range a.ev.Signs {
			start, ok := s.Begins()
			if s.Source == pv.Source && ok && !s.Backup && slices.Contains(filesystems, s.Format) && start < pv.Offset && pv.Offset-start < s.Size {
				pv.Doubt = fmt.Sprintf("%s lies within a filesystem, %s from byte %d on: it may be a file there, or be left over from before", pv, s.Format, start)
				a.ev.Findings = append(a.ev.Findings, scan.Finding{Severity: scan.Warning, Code: "pv-within", Source: pv.Source.Name, Offset: pv.Offset, Text: pv.Doubt})
				break
			}
		}
	}
}

func (a *adder) find(sev scan.Severity, code, source, format string, args ...any) {
	a.ev.Findings = append(a.ev.Findings, scan.Finding{Severity: sev, Code: code, Source: source, Offset: -1, Text: fmt.Sprintf(format, args...)})
}

// source adds what was found on a source. src has no device when the source is not here.
func (a *adder) source(known *Source, src *scan.Source) {
	finds, damaged, err := known.Finds()
	if err != nil {
		a.find(scan.Error, "case-unreadable", src.Name, "the case's finds cannot be read: %v", err)
		return
	}
	if damaged > 0 {
		a.find(scan.Warning, "case-damaged", src.Name, "%d lines of the case cannot be read, and are left out", damaged)
	}
	var texts []*Find
	for _, f := range finds {
		switch {
		case f.isText():
			texts = append(texts, f)
		case f.Kind == Signed && src.Dev != nil && !src.Foreign:
			a.ev.Signs = append(a.ev.Signs, &scan.Sign{Source: src, Offset: f.Offset, Sign: f.sign()})
		}
	}
	a.texts(src, texts)
}

// texts adds texts, the best first, up to the limits.
func (a *adder) texts(src *scan.Source, texts []*Find) {
	slices.SortStableFunc(texts, func(x, y *Find) int {
		return cmp.Or(-cmp.Compare(vouched(x), vouched(y)), -cmp.Compare(x.Seqno, y.Seqno))
	})
	found := map[int64]bool{}
	for _, c := range a.ev.Copies {
		if c.Source == src {
			found[c.Offset] = true
		}
	}
	var copies []*scan.Copy
	left := 0
	for _, f := range texts {
		slot, area, wanted := a.slot(src, f)
		switch {
		case found[f.Offset] || !wanted:
			continue
		case len(copies) >= maxCopies || a.contents[f.SHA256] == nil && a.bytes+f.Length > maxEvidence:
			left++
			continue
		}
		content, err := a.content(f)
		if err != nil {
			a.find(scan.Warning, "case-text", src.Name, "a text of the case is left out: %v", err)
			continue
		}
		found[f.Offset] = true
		copies = append(copies, &scan.Copy{Content: content, Source: src, Offset: f.Offset, Area: area, Slot: slot, How: f.words()})
	}
	if left > 0 {
		a.find(scan.Warning, "case-limit", src.Name, "%d more texts of the case are left out: at most %d of one source, and %d bytes of all, are used", left, maxCopies, maxEvidence)
	}
	slices.SortStableFunc(copies, func(x, y *scan.Copy) int { return cmp.Compare(x.Offset, y.Offset) })
	a.ev.Copies = append(a.ev.Copies, copies...)
}

// content gives a text the content that it shares with all copies of it.
func (a *adder) content(f *Find) (*scan.Content, error) {
	if c := a.contents[f.SHA256]; c != nil {
		return c, nil
	}
	raw, err := a.c.Text(f.SHA256)
	if err != nil {
		return nil, err
	}
	c := &scan.Content{Raw: raw}
	hex.Decode(c.SHA256[:], []byte(f.SHA256)) // which it was read by
	a.contents[f.SHA256] = c
	a.bytes += int64(len(raw))
	return c, nil
}

// words tells how a text was found, where that takes words.
func (f *Find) words() string {
	s := ""
	switch {
	case f.How == ByJoin:
		s = fmt.Sprintf("put together from %d pieces", len(f.Pieces))
	case f.How == ByRing:
		s = "around the end of a metadata area"
	case f.Kind == Backup:
		s = "a backup or archive file"
	}
	if f.Damage != "" {
		s += "; " + f.Damage
	}
	return s
}

// slot tells what a text is in the metadata areas that the scan has found: a text in the
// ring of one whose header is sound is no more than that. Unless all rings are wanted, it
// then is not, as with a scan without a case.
func (a *adder) slot(src *scan.Source, f *Find) (slot scan.Slot, area *scan.Area, wanted bool) {
	for _, pv := range a.ev.PVs {
		if pv.Source != src {
			continue
		}
		for _, area := range pv.Areas {
			start := pv.Offset + area.Offset
			if area.Header == nil || area.Header.Checksum != metadata.ChecksumValid || f.Offset < start || f.Offset >= start+area.Size {
				continue
			}
			if f.Damage != "" {
				return scan.Ring, area, false // a ring is full of them
			}
			return scan.Ring, area, a.history || !a.settled(area)
		}
	}
	return scan.Carved, nil, true
}

// settled tells whether an area says for certain which text is current, or that none is.
func (a *adder) settled(area *scan.Area) bool {
	if area.Header.Committed.Empty() {
		return area.Header.Ignored() || area.PV.Label != nil && area.PV.Label.Checksum == metadata.ChecksumValid && !area.PV.Label.Used()
	}
	return slices.ContainsFunc(a.ev.Copies, func(c *scan.Copy) bool {
		return c.Area == area && (c.Slot == scan.Committed || c.Slot == scan.Ignored) && c.Checksum == metadata.ChecksumValid
	})
}
