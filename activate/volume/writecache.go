package volume

import (
	"iter"
	"sort"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/writecache"
	"github.com/lvrescue/lvrescue/scan/block"
)

// writecached is an origin over which the blocks of a writecache are laid.
// Source: drivers/md/dm-writecache.c.
type writecached struct {
	origin, blocks block.Device       // blocks: the cache from its block 0 on
	size           int64              // of a block, bytes
	entries        []writecache.Entry // by block of the origin
}

// writecache opens a writecache target of n bytes.
func (o opener) writecache(t activate.Writecache, n int64) block.Device {
	d := &writecached{origin: o.input(t.Origin, n), size: n}
	if m := t.Map; m != nil {
		d.size, d.entries = m.BlockSize, m.Entries
		d.blocks = block.NewSection(o.input(t.Cache, t.CacheSize), m.DataOffset(), m.Blocks*m.BlockSize, "the writecache is too short")
	}
	if t.Doubt != "" {
		return block.NewDoubtful(d, t.Doubt)
	}
	return d
}

func (d *writecached) Size() int64 { return d.origin.Size() }

// at finds the piece of [off, end) that begins at off. Blocks that follow each other on both
// sides are one piece.
func (d *writecached) at(off, end int64) piece {
	i := sort.Search(len(d.entries), func(i int) bool { return d.entries[i].Block >= off/d.size })
	if i == len(d.entries) || d.entries[i].Block*d.size >= end {
		return piece{off, end - off, d.origin, off}
	}
	e := d.entries[i]
	start := e.Block * d.size
	if off < start {
		return piece{off, start - off, d.origin, off}
	}
	if e.Index == writecache.Disputed {
		n := min(end, start+d.size) - off
		return piece{off, n, block.NewBad(n, "two entries of the writecache claim this block with one sequence number"), 0}
	}
	blocks := int64(1)
	for i++; i < len(d.entries) && start+blocks*d.size < end; i++ {
		if next := d.entries[i]; next.Block != e.Block+blocks || next.Index != e.Index+blocks {
			break
		}
		blocks++
	}
	return piece{off, min(end, start+blocks*d.size) - off, d.blocks, e.Index*d.size + off - start}
}

// ReadAt implements io.ReaderAt.
func (d *writecached) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(d.Size(), p, off)
	for end := off + int64(len(p)); n < len(p); {
		m, err := d.at(off+int64(n), end).read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// Extents implements block.Device.
func (d *writecached) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(d.Size(), off, n)
		for lo < hi {
			c := d.at(lo, hi)
			if !c.extents(yield) {
				return
			}
			lo += c.n
		}
	})
}
