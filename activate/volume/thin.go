package volume

import (
	"errors"
	"fmt"
	"iter"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/btree"
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
		dev:      thin.NewDevice(btree.NewReader(meta, meta.Size()), t.Root),
		data:     o.input(t.Data, t.DataSize),
		external: block.NewZero(0),
		chunk:    t.ChunkSize,
		off:      t.Off,
		size:     n,
	}
	if t.External != nil {
		d.external = o.input(*t.External, t.ExternalSize)
	}
	return doubted(d, t.Doubt, meta)
}

// doubted marks a device as doubtful when the plan says so, or when the metadata that it is
// read by is itself doubtful.
func doubted(d block.Device, doubt string, meta block.Device) block.Device {
	for e := range meta.Extents(0, meta.Size()) {
		if e.State == block.Doubtful && doubt == "" {
			doubt = e.Why
		}
	}
	if doubt == "" {
		return d
	}
	return block.NewDoubtful(d, doubt)
}

func (d *thinLV) Size() int64 { return d.size }

// part is a run of bytes of the thin device, and where they are to be had: n bytes of dev
// from at on.
type part struct {
	dev   block.Device
	at, n int64
}

// parts gives the bytes [lo, hi) of the device in parts: ordered, without gaps.
func (d *thinLV) parts(lo, hi int64) iter.Seq[part] {
	return func(yield func(part) bool) {
		lo, hi := lo+d.off, hi+d.off
		for r := range d.dev.Runs(uint64(lo/d.chunk), uint64((hi-1)/d.chunk)) {
			from := max(lo, int64(r.First)*d.chunk)
			to := min(hi, int64(r.Last)*d.chunk+d.chunk)
			for from < to {
				p := d.part(r, from, to-from)
				if !yield(p) {
					return
				}
				from += p.n
			}
		}
	}
}

// part places up to n bytes from off on, which lie in a run.
func (d *thinLV) part(r thin.Run, off, n int64) part {
	switch {
	case r.State == thin.Lost:
		return part{block.NewBad(n, "the pool's metadata for this range is damaged: "+reason(r.Err)), 0, n}
	case r.State == thin.Hole && off < d.external.Size():
		return part{d.external, off, min(n, d.external.Size()-off)}
	case r.State == thin.Hole:
		return part{block.NewZero(n), 0, n}
	}
	blocks := uint64(d.data.Size() / d.chunk)
	if r.Data >= blocks || r.Last-r.First >= blocks-r.Data {
		return d.beyond(r, off, n, blocks)
	}
	return part{d.data, int64(r.Data)*d.chunk + off - int64(r.First)*d.chunk, n}
}

// beyond places what of a mapped run is in the pool's data; the rest is bad.
func (d *thinLV) beyond(r thin.Run, off, n int64, blocks uint64) part {
	if r.Data < blocks {
		r.Last = r.First + blocks - r.Data - 1
		if end := int64(r.Last)*d.chunk + d.chunk; off < end {
			return d.part(r, off, min(n, end-off))
		}
	}
	why := fmt.Sprintf("the pool's metadata points beyond the %d chunks of its data", blocks)
	return part{block.NewBad(n, why), 0, n}
}

// reason is the cause of an error as ranges tell it: for what a medium refuses, its reason.
func reason(err error) string {
	var bad *block.BadRangeError
	if errors.As(err, &bad) {
		return bad.Why
	}
	return err.Error()
}

// ReadAt implements io.ReaderAt.
func (d *thinLV) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(d.size, p, off)
	if len(p) == 0 {
		return 0, eof
	}
	for part := range d.parts(off, off+int64(len(p))) {
		m, err := part.dev.ReadAt(p[n:n+int(part.n)], part.at)
		if m < int(part.n) {
			return n + m, part.moved(err, off+int64(n))
		}
		n += m
	}
	return n, eof
}

// moved translates an error of a part that lies at off of the device. A bad range may go on
// below beyond the part, or begin before it.
func (p part) moved(err error, off int64) error {
	var bad *block.BadRangeError
	if !errors.As(err, &bad) {
		return err
	}
	m := *bad
	lo, hi := max(bad.Off, p.at), min(bad.Off+bad.Len, p.at+p.n)
	m.Off, m.Len = off+lo-p.at, hi-lo
	return &m
}

// Extents implements block.Device.
func (d *thinLV) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(d.size, off, n)
		if lo >= hi {
			return
		}
		for part := range d.parts(lo, hi) {
			for e := range part.dev.Extents(part.at, part.n) {
				e.Off += lo - part.at
				if !yield(e) {
					return
				}
			}
			lo += part.n
		}
	})
}
