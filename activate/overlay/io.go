package overlay

import (
	"fmt"
	"io"
	"iter"

	"github.com/lvrescue/lvrescue/activate/outfile"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Size is that of the device below.
func (o *Overlay) Size() int64 { return o.size }

// piece returns the bytes from off on, to end at most, that all come from one place.
func (o *Overlay) piece(off, end int64) (next int64, written bool) {
	s, written := o.run(off/sector, (end+sector-1)/sector)
	return min(s*sector, end), written
}

// ReadAt implements io.ReaderAt.
func (o *Overlay) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(o.size, p, off)
	for n < len(p) {
		at := off + int64(n)
		next, written := o.piece(at, off+int64(len(p)))
		want := int(next - at)
		if written {
			m, err := o.data.ReadAt(p[n:n+want], at)
			if n += m; m < want {
				return n, &block.BadRangeError{Off: at + int64(m), Len: int64(want - m), Why: o.data.Name() + " cannot be read", Err: err, Coarse: true}
			}
			continue
		}
		m, err := o.base.ReadAt(p[n:n+want], at)
		if n += m; m < want {
			return n, err
		}
	}
	return n, eof
}

// Extents implements block.Device: what was written is data.
func (o *Overlay) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		for lo, hi := block.Clip(o.size, off, n); lo < hi; {
			next, written := o.piece(lo, hi)
			if written {
				if !yield(block.Extent{Off: lo, Len: next - lo}) {
					return
				}
			} else {
				for e := range o.base.Extents(lo, next-lo) {
					if !yield(e) {
						return
					}
				}
			}
			lo = next
		}
	}
}

// WriteAt writes all of p, or fails. A sector of which p is only a part must be readable.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if err := o.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	if o.whole(off, end) {
		o.sectors.RLock()
		defer o.sectors.RUnlock()
		return len(p), o.writeSectors(p, off)
	}
	o.sectors.Lock()
	defer o.sectors.Unlock()
	lo, hi := off/sector*sector, min((end+sector-1)/sector*sector, o.size)
	buf := make([]byte, hi-lo)
	for _, part := range [][2]int64{{lo, off}, {end, hi}} {
		if _, err := o.ReadAt(buf[part[0]-lo:part[1]-lo], part[0]); err != nil && err != io.EOF {
			return 0, fmt.Errorf("the rest of a sector that is written in part: %w", err)
		}
	}
	copy(buf[off-lo:], p)
	return len(p), o.writeSectors(buf, lo)
}

// inside refuses a range that is not wholly in the device.
func (o *Overlay) inside(off, n int64) error {
	if off < 0 || n < 0 || off > o.size || n > o.size-off {
		return fmt.Errorf("%d bytes at %d do not lie in a device of %d", n, off, o.size)
	}
	return nil
}

// whole tells whether [off, end) is made of whole sectors; the last may be short.
func (o *Overlay) whole(off, end int64) bool {
	return off%sector == 0 && (end%sector == 0 || end == o.size)
}

// writeSectors writes whole sectors: the data, and then the word that it is there.
func (o *Overlay) writeSectors(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if _, err := o.data.WriteAt(p, off); err != nil {
		return err
	}
	o.mark(off/sector, (off+int64(len(p))+sector-1)/sector)
	return nil
}

// zeros is what Zero writes where no holes can be made.
var zeros [64 << 10]byte

// Zero makes n bytes at off read as zeros. Whole sectors of them take up no room.
func (o *Overlay) Zero(off, n int64) error {
	if err := o.inside(off, n); err != nil || n == 0 {
		return err
	}
	end := off + n
	lo, hi := (off+sector-1)/sector*sector, end/sector*sector
	if end == o.size {
		hi = end
	}
	if lo >= hi { // parts of one sector, or of two
		_, err := o.WriteAt(make([]byte, n), off)
		return err
	}
	for _, part := range [][2]int64{{off, lo}, {hi, end}} {
		if _, err := o.WriteAt(zeros[:part[1]-part[0]], part[0]); err != nil {
			return err
		}
	}
	o.sectors.RLock()
	defer o.sectors.RUnlock()
	if outfile.PunchHole(o.data, lo, hi-lo) == nil {
		o.mark(lo/sector, (hi+sector-1)/sector)
		return nil
	}
	for ; lo < hi; lo += int64(len(zeros)) {
		if err := o.writeSectors(zeros[:min(int64(len(zeros)), hi-lo)], lo); err != nil {
			return err
		}
	}
	return nil
}

// Discard gives back the room that n bytes at off take up, if they were written.
func (o *Overlay) Discard(off, n int64) error {
	if err := o.inside(off, n); err != nil {
		return err
	}
	o.sectors.RLock()
	defer o.sectors.RUnlock()
	for lo, hi := (off+sector-1)/sector*sector, (off+n)/sector*sector; lo < hi; {
		next, written := o.piece(lo, hi)
		if written {
			if err := outfile.PunchHole(o.data, lo, next-lo); err != nil {
				return nil // without holes there is nothing to give back
			}
		}
		lo = next
	}
	return nil
}
