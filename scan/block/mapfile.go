package block

import (
	"fmt"
)

// A ddrescue mapfile tells how far ddrescue (or lvrescue, for its exports) has come with
// every range of a disk. The grammar is that of the GNU ddrescue manual, chapter "Mapfile
// structure":
//
//	# comment
//	0x00120000     ?               1        current position, status, pass
//	0x00000000  0x00117000  +               position, size, status of a block
//	0x00117000  0x00000200  -               the next block starts where this one ends

// MapStatus is the status of a block of a mapfile, as the mapfile spells it.
type MapStatus byte

// What ddrescue knows of a block.
const (
	NonTried   MapStatus = '?'
	NonTrimmed MapStatus = '*'
	NonScraped MapStatus = '/'
	BadSector  MapStatus = '-'
	Finished   MapStatus = '+'
)

func (s MapStatus) valid() bool {
	switch s {
	case NonTried, NonTrimmed, NonScraped, BadSector, Finished:
		return true
	}
	return false
}

// String is ddrescue's name of the status.
func (s MapStatus) String() string {
	switch s {
	case NonTried:
		return "non-tried"
	case NonTrimmed:
		return "non-trimmed"
	case NonScraped:
		return "non-scraped"
	case BadSector:
		return "bad sector"
	case Finished:
		return "finished"
	}
	return fmt.Sprintf("MapStatus(%q)", byte(s))
}

// MapBlock is a range of one status. Off and Len are bytes.
type MapBlock struct {
	Off, Len int64
	Status   MapStatus
}

// End is the offset behind the block.
func (b MapBlock) End() int64 { return b.Off + b.Len }

// Mapfile is the content of a ddrescue mapfile.
type Mapfile struct {
	Comments []string // without "# "
	Pos      int64    // where the work stood, in bytes
	Status   byte     // of the work: that of a block, or F (filling) or G (generating)
	Pass     int      // of the work: 1, 2, 3...
	Blocks   []MapBlock
}

// Add appends n bytes of one status behind the last block, or to it.
func (m *Mapfile) Add(n int64, status MapStatus) {
	if n <= 0 {
		return
	}
	if last := len(m.Blocks) - 1; last >= 0 && m.Blocks[last].Status == status {
		m.Blocks[last].Len += n
		return
	}
	m.Blocks = append(m.Blocks, MapBlock{m.End(), n, status})
}

// End is the offset behind the last block.
func (m *Mapfile) End() int64 {
	if len(m.Blocks) == 0 {
		return 0
	}
	return m.Blocks[len(m.Blocks)-1].End()
}

// Fits returns an error when the mapfile has finished bytes beyond size: then it is not
// the mapfile of an image of size bytes, or the image has been cut.
func (m *Mapfile) Fits(size int64) error {
	for i := len(m.Blocks) - 1; i >= 0; i-- {
		if b := m.Blocks[i]; b.Status == Finished && b.End() > size {
			return fmt.Errorf("mapfile has finished bytes up to %d, but the image ends at %d", b.End(), size)
		}
	}
	return nil
}

// Marks returns the ranges of [0, size) that are not finished, as bad extents for
// [NewOverlay]. name names the source in the reasons.
func (m *Mapfile) Marks(size int64, name string) []Extent {
	var marks []Extent
	end := int64(0)
	add := func(off, n int64, status MapStatus) {
		lo, hi := Clip(size, off, n)
		if lo == hi {
			return
		}
		why := fmt.Sprintf("%s: not read by ddrescue (%v)", name, status)
		e := Extent{Off: lo, Len: hi - lo, State: Bad, Why: why}
		if last := len(marks) - 1; last >= 0 {
			if marks[last].Why == why { // one string for all
				e.Why = marks[last].Why
			}
			if marks[last].joins(e) {
				marks[last].Len += e.Len
				return
			}
		}
		marks = append(marks, e)
	}
	for _, b := range m.Blocks {
		add(end, b.Off-end, NonTried)
		if b.Status != Finished {
			add(b.Off, b.Len, b.Status)
		}
		end = b.End()
	}
	add(end, size-end, NonTried)
	return marks
}

// WithMap returns dev with everything that its ddrescue mapfile does not call finished
// marked as bad. What lies before and behind the mapfile's blocks has not been tried. name
// names the source in the reasons.
func WithMap(dev Device, m *Mapfile, name string) Device {
	marks := m.Marks(dev.Size(), name)
	if len(marks) == 0 {
		return dev
	}
	return &overlay{dev, marks}
}
