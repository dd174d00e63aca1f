package volume

import (
	"iter"
	"sort"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/cache"
	"github.com/lvrescue/lvrescue/scan/block"
)

// cachedLV is an origin of which a cache holds some blocks. Source: drivers/md/dm-cache-target.c.
type cachedLV struct {
	origin, data block.Device
	chunk        int64 // bytes
	mode         activate.CacheMode
	clean        bool            // the cache was shut down cleanly
	mappings     []cache.Mapping // by origin block
	stale        string          // why the origin may be older elsewhere; "" when it is not
}

// cache opens a cache target of n bytes.
func (o opener) cache(t activate.Cache, n int64) block.Device {
	d := &cachedLV{origin: o.input(t.Origin, n), mode: t.Mode, stale: t.Stale, chunk: n}
	if t.Map != nil {
		d.data = o.input(t.Data, t.DataSize)
		d.chunk, d.clean, d.mappings = t.Map.ChunkSize, t.Map.Clean, t.Map.Mappings
	}
	if t.Doubt != "" {
		return block.NewDoubtful(d, t.Doubt)
	}
	return d
}

func (d *cachedLV) Size() int64 { return d.origin.Size() }

// at finds the piece of [off, end) that begins at off, and why it is doubtful.
func (d *cachedLV) at(off, end int64) (piece, string) {
	first := uint64(off / d.chunk)
	i := sort.Search(len(d.mappings), func(i int) bool { return d.mappings[i].Origin >= first })
	if i == len(d.mappings) || d.mappings[i].Origin > uint64((end-1)/d.chunk) {
		return piece{off, end - off, d.origin, off}, d.stale
	}
	m := d.mappings[i]
	start := int64(m.Origin) * d.chunk
	if off < start {
		return piece{off, start - off, d.origin, off}, d.stale
	}
	end = min(end, start+d.chunk)
	return piece{off, end - off, d.block(m, start), off - start}, ""
}

// block is what a mapped block of the origin, which begins at start there, reads as.
func (d *cachedLV) block(m cache.Mapping, start int64) block.Device {
	n := min(d.chunk, d.origin.Size()-start)
	origin := block.NewSection(d.origin, start, n, "")
	cached := block.NewSection(d.data, int64(m.Block)*d.chunk, n, "the cache's metadata points beyond its data")
	switch {
	case m.State == cache.Disputed:
		return block.NewBad(n, "two blocks of the cache claim to hold this block of the origin")
	case m.State == cache.Dirty && (d.clean || d.mode == activate.Writeback):
		return cached
	case d.mode == activate.Passthrough:
		return &copies{"cached block", []block.Device{origin, cached}}
	}
	return &copies{"cached block", []block.Device{cached, origin}}
}

// ReadAt implements io.ReaderAt.
func (d *cachedLV) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(d.Size(), p, off)
	for end := off + int64(len(p)); n < len(p); {
		c, _ := d.at(off+int64(n), end)
		m, err := c.read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// Extents implements block.Device.
func (d *cachedLV) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(d.Size(), off, n)
		for lo < hi {
			c, why := d.at(lo, hi)
			if !c.extents(func(e block.Extent) bool { return yield(doubt(e, why)) }) {
				return
			}
			lo += c.n
		}
	})
}
