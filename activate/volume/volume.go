// Package volume reads LVs in user space: it turns a plan into a [block.Device], without
// the kernel, without root, on any operating system.
//
// Each kind of target has a file of its own. A volume is a table of targets; a target
// translates offsets and lets the layer below speak for what is bad or doubtful.
package volume

import (
	"fmt"
	"iter"
	"sort"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Open makes the device that a plan describes.
func Open(p *activate.Plan) block.Device { return OpenVolume(p.Root) }

// OpenVolume makes the device of one volume of a plan. It is the [activate.Opener] to plan
// with.
func OpenVolume(v *activate.Volume) block.Device { return opener{}.volume(v) }

// opener keeps the volumes made so far: an LV that is used twice is opened once.
type opener map[*activate.Volume]block.Device

func (o opener) volume(v *activate.Volume) block.Device {
	if d := o[v]; d != nil {
		return d
	}
	t := &table{size: v.Size}
	for _, s := range v.Segments {
		t.segs = append(t.segs, segment{off: s.Off, dev: o.target(s)})
	}
	o[v] = t
	if len(t.segs) == 1 && t.segs[0].dev.Size() == t.size { // the usual case needs no table
		o[v] = t.segs[0].dev
	}
	return o[v]
}

// target opens one segment of a table.
func (o opener) target(s activate.Segment) block.Device {
	switch t := s.Target.(type) {
	case activate.Linear:
		return o.input(t.Input, s.Len)
	case activate.Striped:
		legs := make([]block.Device, len(t.Stripes))
		for i, in := range t.Stripes {
			legs[i] = o.input(in, s.Len/int64(len(legs)))
		}
		return newStriped(legs, t.ChunkSize)
	case activate.Mirror:
		return o.mirror(t, s.Len)
	case activate.Integrity:
		return o.integrity(t, s.Len)
	case activate.Snapshot:
		return o.snapshot(t, s.Len)
	case activate.Thin:
		return o.thin(t, s.Len)
	case activate.Cache:
		return o.cache(t, s.Len)
	case activate.Writecache:
		return o.writecache(t, s.Len)
	case activate.VDO:
		return o.vdo(t, s.Len)
	case activate.RAID:
		return o.raid(t, s.Len)
	case activate.Zero:
		if t.Doubt != "" {
			return block.NewDoubtful(block.NewZero(s.Len), t.Doubt)
		}
		return block.NewZero(s.Len)
	case activate.Error:
		return block.NewBad(s.Len, t.Why)
	}
	return block.NewBad(s.Len, fmt.Sprintf("no reader for %T", s.Target))
}

// input opens n bytes of a PV or of another volume.
func (o opener) input(in activate.Input, n int64) block.Device {
	if in.Volume != nil {
		return block.NewSection(o.volume(in.Volume), in.Off, n, "LV "+in.Volume.LV.Name+" is too short")
	}
	return block.NewSection(in.PV.Dev, in.Off, n, "PV "+in.PV.Meta.Key+" is too short")
}

// table is a volume: segments one after the other, sorted by offset, without gaps.
type table struct {
	size int64
	segs []segment
}

type segment struct {
	off int64
	dev block.Device
}

func (t *table) Size() int64 { return t.size }

// at finds the segment that holds the byte at off.
func (t *table) at(off int64) int {
	return sort.Search(len(t.segs), func(i int) bool { return t.segs[i].off > off }) - 1
}

// ReadAt implements io.ReaderAt.
func (t *table) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(t.size, p, off)
	if len(p) == 0 {
		return 0, eof
	}
	for i := t.at(off); n < len(p); i++ {
		s := t.segs[i]
		in := off + int64(n) - s.off
		want := int(min(int64(len(p)-n), s.dev.Size()-in))
		m, err := s.dev.ReadAt(p[n:n+want], in)
		n += m
		if m < want {
			return n, block.Shift(err, s.off)
		}
	}
	return n, eof
}

// Extents implements block.Device.
func (t *table) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(t.size, off, n)
		if lo >= hi {
			return
		}
		for i := t.at(lo); i < len(t.segs) && t.segs[i].off < hi; i++ {
			s := t.segs[i]
			from := max(lo-s.off, 0)
			for e := range s.dev.Extents(from, hi-s.off-from) {
				e.Off += s.off
				if !yield(e) {
					return
				}
			}
		}
	}
}
