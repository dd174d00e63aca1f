package volume

import (
	"fmt"
	"iter"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/scan/block"
)

// thinLV reads a thin device chunk by chunk from its pool's data. What it needs of the
// metadata is read when it is needed, so a pool of any size costs the same memory.
// Source: drivers/md/dm-thin.c.
type thinLV struct {
	dev      thin.Device
	data     block.Device
	external block.Device // what is read where nothing is mapped; of 0 bytes when there is none
	chunk    int64        // bytes
	off      int64        // of the first byte in the thin device
	size     int64
}

// thin opens a thin target of n bytes.
func (o opener) thin(t activate.Thin, n int64) block.Device {
	meta := o.input(t.Metadata, t.MetadataSize)
	d := &thinLV{
		dev:      t.Device(meta),
		data:     o.input(t.Data, t.DataSize),
		external: block.NewZero(0),
		chunk:    t.ChunkSize,
		off:      t.Off,
		size:     n,
	}
	if t.External != nil {
		d.external = o.input(*t.External, t.ExternalSize)
	}
	if t.Doubt != "" {
		return block.NewDoubtful(d, t.Doubt)
	}
	return d
}

func (d *thinLV) Size() int64 { return d.size }

// pieces gives the bytes [lo, hi) of the device in pieces: ordered, without gaps.
func (d *thinLV) pieces(lo, hi int64) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		if lo >= hi {
			return
		}
		for r := range d.dev.Runs(uint64((lo+d.off)/d.chunk), uint64((hi-1+d.off)/d.chunk)) {
			from := max(lo, int64(r.First)*d.chunk-d.off)
			to := min(hi, int64(r.Last)*d.chunk+d.chunk-d.off)
			for from < to {
				p := d.piece(r, from, to-from)
				if !yield(p) {
					return
				}
				from += p.n
			}
		}
	}
}

// piece places up to n bytes from off on, which lie in a run.
func (d *thinLV) piece(r thin.Run, off, n int64) piece {
	p := d.place(r, off, n)
	if r.Doubt != "" {
		p.dev = block.NewDoubtful(p.dev, r.Doubt)
	}
	return p
}

// place is piece without regard to doubt.
func (d *thinLV) place(r thin.Run, off, n int64) piece {
	in := off + d.off // in the thin device
	switch {
	case r.State == thin.Lost:
		return piece{off, n, block.NewBad(n, "the pool's metadata for this range is damaged: "+block.Why(r.Err)), 0}
	case r.State == thin.Hole && in < d.external.Size():
		return piece{off, min(n, d.external.Size()-in), d.external, in}
	case r.State == thin.Hole:
		return piece{off, n, block.NewZero(n), 0}
	}
	blocks := uint64(d.data.Size() / d.chunk)
	first := r.Data + uint64(in/d.chunk) - r.First // the chunk of the data that off lies in
	if r.Data >= blocks || first >= blocks {
		why := fmt.Sprintf("the pool's metadata points beyond the %d chunks of its data", blocks)
		return piece{off, n, block.NewBad(n, why), 0}
	}
	left := int64(blocks-first)*d.chunk - in%d.chunk
	return piece{off, min(n, left), d.data, int64(first)*d.chunk + in%d.chunk}
}

// ReadAt implements io.ReaderAt.
func (d *thinLV) ReadAt(p []byte, off int64) (int, error) {
	return pieces(d.pieces).readAt(d.size, p, off)
}

// Extents implements block.Device.
func (d *thinLV) Extents(off, n int64) iter.Seq[block.Extent] {
	if n/d.chunk >= manyChunks {
		if data := list(d.data); data != nil {
			all := *d
			all.data = data
			d = &all
		}
	}
	return pieces(d.pieces).extents(d.size, off, n)
}
