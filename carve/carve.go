// Package carve searches the whole surface of disks for what LVM2 leaves on them: labels,
// metadata areas, metadata texts and backup files, wherever they stand, and for superblocks
// of other formats, which help to tell what stood where. It collects; what the finds mean
// together is rebuild's work.
//
// A search writes into a case, a directory that every later search, on any day, adds to:
//
//	CASE/case.json               what the directory is
//	CASE/sources/ID/source.json  which disk: its name, size, and samples of its content
//	CASE/sources/ID/finds.jsonl  what was found on it, a JSON object a line
//	CASE/sources/ID/surface.map  what of it is searched: a ddrescue mapfile; deep.map with Deep
//	CASE/texts/SHA256.vg         each text, as it stood
//
// Finds are on the disk before the map says that their place is searched, so that whatever
// ends a search, the next goes on and finds the same. What a find is depends on the bytes at
// its place only, not on where a search began: parts of a disk may be searched on different
// machines, and their cases merged.
//
// All offsets and lengths are bytes.
package carve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/signs"
)

// Kind is what was found.
type Kind string

const (
	Label    Kind = "label"        // of a PV of LVM2
	Legacy   Kind = "legacy label" // of LVM1, or of a GFS pool
	Area     Kind = "area"         // header of a metadata area
	Text     Kind = "text"         // as LVM2 writes it to a metadata area
	Backup   Kind = "backup"       // a file of /etc/lvm/backup or archive
	Fragment Kind = "fragment"     // of a text or backup file whose start is not here
	Devices  Kind = "devices file" // of /etc/lvm/devices, or LVM2's hints: names of PVs
	Signed   Kind = "sign"         // of another format
)

// kinds ranks them for people: what tells most comes first.
var kinds = []Kind{Label, Area, Text, Backup, Devices, Legacy, Signed, Fragment}

// Rank orders kinds.
func (k Kind) Rank() int { return slices.Index(kinds, k) }

// Find is something that was found.
type Find struct {
	Kind     Kind    `json:"kind"`
	Offset   int64   `json:"offset"`           // of its first byte in the source
	Length   int64   `json:"length"`           // bytes; of a text without the NUL at its end
	Pieces   []Piece `json:"pieces,omitempty"` // where a text is not in one piece
	Checksum string  `json:"checksum"`         // "valid", "invalid"; "absent" where the format has none
	How      How     `json:"how"`
	Damage   string  `json:"damage,omitempty"` // what is wrong with it; "" for what is whole
	SHA256   string  `json:"sha256,omitempty"` // of a text; CASE/texts has it
	Cut      string  `json:"cut,omitempty"`    // the start of a line that goes on elsewhere, up to the end of its block

	Start *int64 `json:"start,omitempty"` // byte of the source where the PV or filesystem begins, if it tells; below 0 before the source
	Size  int64  `json:"size,omitempty"`  // of the PV, area, filesystem..., as it says
	Name  string `json:"name,omitempty"`  // of the VG, or a filesystem's label
	UUID  string `json:"uuid,omitempty"`  // of the PV, VG or filesystem
	Seqno uint32 `json:"seqno,omitempty"` // of a text
	Time  int64  `json:"time,omitempty"`  // when a text was written, by its creation_time: Unix seconds
	Says  string `json:"says,omitempty"`  // description of a text

	Sign *Sign `json:"sign,omitempty"`
}

// Piece is a part of a text that stands in several places.
type Piece struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// How tells how a find was made.
type How string

const (
	BySector How = "sector" // it begins on a sector
	ByByte   How = "byte"   // it begins anywhere: a deep search
	BySlot   How = "slot"   // an area's header points at it
	ByRing   How = "ring"   // it goes around the end of an area
	ByJoin   How = "joined" // put together from pieces in different places
)

// Sign is what a [signs.Sign] tells beyond the fields of a Find.
type Sign struct {
	Format string       `json:"format"`
	Backup bool         `json:"backup,omitempty"`
	Block  int64        `json:"block,omitempty"`
	Array  *signs.Array `json:"array,omitempty"`
}

// sign gives the find as package signs has it.
func (f *Find) sign() *signs.Sign {
	s := &signs.Sign{Format: f.Sign.Format, Start: signs.Unknown, Size: f.Size, UUID: f.UUID, Label: f.Name,
		Backup: f.Sign.Backup, Block: f.Sign.Block, Array: f.Sign.Array, Checksum: f.checksum()}
	if f.Start != nil {
		s.Start = f.Offset - *f.Start
	}
	return s
}

func (f *Find) checksum() metadata.Checksum {
	switch f.Checksum {
	case metadata.ChecksumValid.String():
		return metadata.ChecksumValid
	case metadata.ChecksumInvalid.String():
		return metadata.ChecksumInvalid
	}
	return metadata.ChecksumAbsent
}

// Format names what was found more exactly than its kind.
func (f *Find) Format() string {
	if f.Sign != nil {
		return f.Sign.Format
	}
	return string(f.Kind)
}

// End is the byte behind the last of the find's bytes that follow its first.
func (f *Find) End() int64 { return f.Offset + f.Length }

// Whole tells whether nothing is wrong with the find.
func (f *Find) Whole() bool {
	return f.Damage == "" && f.Checksum != metadata.ChecksumInvalid.String()
}

// isText tells whether the find is the text of a VG, or the start of one.
func (f *Find) isText() bool { return f.Kind == Text || f.Kind == Backup }

// compare puts finds in order: by place, and where several stand in one place, by what
// vouches for them most.
func compare(a, b *Find) int {
	return cmp.Or(
		cmp.Compare(a.Offset, b.Offset),
		cmp.Compare(a.Kind.Rank(), b.Kind.Rank()),
		-cmp.Compare(vouched(a), vouched(b)),
		cmp.Compare(a.Length, b.Length),
		cmp.Compare(a.SHA256, b.SHA256),
		cmp.Compare(a.How, b.How))
}

// vouched ranks what speaks for a find.
func vouched(f *Find) int {
	rank := 0
	if f.Damage == "" {
		rank += 2
	}
	if f.checksum() == metadata.ChecksumValid {
		rank++
	}
	return rank
}

// tidy sorts finds and drops those that others make needless: repetitions, the same place
// read in a worse way, and fragments that belong to a text that is whole. What a text was
// put together from stays.
func tidy(finds []*Find) []*Find {
	slices.SortFunc(finds, compare)
	var owned []Piece
	for _, f := range finds {
		if f.isText() && f.Damage == "" && f.How != ByJoin {
			owned = append(owned, f.pieces()...)
		}
	}
	slices.SortFunc(owned, func(a, b Piece) int { return cmp.Compare(a.Offset, b.Offset) })
	var kept []*Find
	for _, f := range finds {
		last := len(kept) - 1
		switch {
		case last >= 0 && f.Offset == kept[last].Offset && f.Kind == kept[last].Kind && (f.How == ByJoin) == (kept[last].How == ByJoin):
		case f.Kind == Fragment && within(owned, f.Offset):
		default:
			kept = append(kept, f)
		}
	}
	markCopies(kept)
	return kept
}

// markCopies tells superblocks that lie within the filesystem that they are of from those at
// its start: its journal, or an image of it there, has copies.
func markCopies(finds []*Find) {
	first := map[string]*Find{}
	for _, f := range finds {
		if f.Sign == nil || f.Sign.Backup || f.Start == nil || f.UUID == "" {
			continue
		}
		of := first[f.Sign.Format+f.UUID]
		switch {
		case of == nil:
			first[f.Sign.Format+f.UUID] = f
		case f.Offset > of.Offset && f.Offset-*of.Start < of.Size:
			f.Sign.Backup, f.Start = true, nil
		}
	}
}

// pieces are the places of a text, in order.
func (f *Find) pieces() []Piece {
	if len(f.Pieces) > 0 {
		return f.Pieces
	}
	return []Piece{{f.Offset, f.Length}}
}

// within tells whether a byte lies in one of the pieces, which are sorted by their offset.
func within(pieces []Piece, at int64) bool {
	i, _ := slices.BinarySearchFunc(pieces, at, func(p Piece, at int64) int { return cmp.Compare(p.Offset, at+1) })
	for i--; i >= 0; i-- {
		if pieces[i].Offset+pieces[i].Length > at {
			return true
		}
		if pieces[i].Offset+metadata.MaxTextSize < at {
			return false
		}
	}
	return false
}

// Limits of what is kept of one source. A disk that is full of labels is an attack, or a
// test; none of it may fill the case, or memory.
const (
	maxFinds     = 1 << 16 // in all
	maxTexts     = 1 << 14 // and as many backup files
	maxOthers    = 1 << 12 // of each other kind
	maxSigns     = 1 << 10 // of one format
	maxTextBytes = 1 << 30 // of texts
)

// most is how many of a kind are kept; of signs, of one format.
func (k Kind) most() int {
	switch k {
	case Text, Backup:
		return maxTexts
	case Signed:
		return maxSigns
	}
	return maxOthers
}

// count keeps the limits of a source.
type count struct {
	all    int
	format map[string]int
	bytes  int64
	left   map[string]int // out, because there are too many
}

// take counts a find; false when there are too many.
func (c *count) take(f *Find) bool {
	if c.format == nil {
		c.format, c.left = map[string]int{}, map[string]int{}
	}
	name := f.Format()
	if c.all >= maxFinds || c.format[name] >= f.Kind.most() || f.SHA256 != "" && c.bytes+f.Length > maxTextBytes {
		c.left[name]++
		return false
	}
	c.all++
	c.format[name]++
	if f.SHA256 != "" {
		c.bytes += f.Length
	}
	return true
}

// String says what was left out.
func (c *count) String() string {
	var parts []string
	for name, n := range c.left {
		parts = append(parts, fmt.Sprintf("%d of kind %s", n, name))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
