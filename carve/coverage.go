package carve

import (
	"fmt"
	"iter"
	"slices"
	"sort"

	"github.com/lvrescue/lvrescue/scan/block"
)

// coverage tells how far the search of a source has come: finished is searched, a bad sector
// was refused by the medium, and everything else is still to be searched.
type coverage struct {
	size   int64
	blocks []block.MapBlock // gapless, neighbours differ
}

// newCoverage takes over what a mapfile says of a source of size bytes.
func newCoverage(size int64, m *block.Mapfile) *coverage {
	c := &coverage{size: size, blocks: []block.MapBlock{{Len: size, Status: block.NonTried}}}
	for _, b := range m.Blocks {
		if b.Status == block.Finished || b.Status == block.BadSector {
			c.set(b.Off, b.Len, b.Status)
		}
	}
	return c
}

// at is the index of the block that holds byte off.
func (c *coverage) at(off int64) int {
	return sort.Search(len(c.blocks), func(i int) bool { return c.blocks[i].End() > off })
}

// set gives n bytes from off a status.
func (c *coverage) set(off, n int64, status block.MapStatus) {
	lo, hi := block.Clip(c.size, off, n)
	if lo == hi {
		return
	}
	first, last := c.at(lo), c.at(hi-1)
	var m block.Mapfile
	if first > 0 {
		first--
	}
	last = min(last+1, len(c.blocks)-1)
	m.Blocks = append(m.Blocks, block.MapBlock{Off: c.blocks[first].Off})
	for _, b := range c.blocks[first : last+1] {
		m.Add(min(b.End(), max(b.Off, lo))-b.Off, b.Status)
		m.Add(min(b.End(), hi)-max(b.Off, lo), status)
		m.Add(b.End()-max(b.Off, min(b.End(), hi)), b.Status)
	}
	if m.Blocks[0].Len == 0 {
		m.Blocks = m.Blocks[1:]
	}
	c.blocks = slices.Replace(c.blocks, first, last+1, m.Blocks...)
}

// todo yields what of [from, to) is still to be searched, in pieces of at most unit bytes
// that end at multiples of it; with retry also what was refused.
func (c *coverage) todo(from, to, unit int64, retry bool) iter.Seq[Piece] {
	blocks := slices.Clone(c.blocks)
	return func(yield func(Piece) bool) {
		for _, b := range blocks {
			if b.Status != block.NonTried && !(retry && b.Status == block.BadSector) {
				continue
			}
			for lo, hi := max(b.Off, from), min(b.End(), to); lo < hi; {
				end := min((lo/unit+1)*unit, hi)
				if !yield(Piece{lo, end - lo}) {
					return
				}
				lo = end
			}
		}
	}
}

// sum adds up the bytes of [from, to) that have a status.
func (c *coverage) sum(from, to int64, status block.MapStatus) (n int64) {
	for _, b := range c.blocks {
		if b.Status == status {
			n += max(min(b.End(), to)-max(b.Off, from), 0)
		}
	}
	return n
}

// mapfile is the coverage as ddrescue would write it.
func (c *coverage) mapfile(name string) *block.Mapfile {
	m := &block.Mapfile{Blocks: slices.Clone(c.blocks), Status: byte(block.Finished)}
	m.Comments = []string{fmt.Sprintf("lvrescue carve: what of %s has been searched", name)}
	if c.sum(0, c.size, block.NonTried) > 0 {
		m.Status = byte(block.NonTried)
	}
	return m
}

// merge takes over what another search of the source has finished.
func (c *coverage) merge(o *coverage) {
	for _, status := range []block.MapStatus{block.BadSector, block.Finished} {
		for _, b := range o.blocks {
			if b.Status == status {
				c.better(b)
			}
		}
	}
}

// better sets a block where it says more than what is there.
func (c *coverage) better(b block.MapBlock) {
	if b.Status == block.Finished {
		c.set(b.Off, b.Len, b.Status)
		return
	}
	for p := range c.todo(b.Off, b.End(), c.size+1, false) {
		c.set(p.Offset, p.Length, b.Status)
	}
}
