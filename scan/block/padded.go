package block

import "iter"

// padded is a device that lacks its start.
type padded struct {
	dev   Device
	front int64
	why   string
}

// NewPadded returns dev with front bytes before it that are bad for the reason why: a disk of
// which an image lacks the start.
func NewPadded(dev Device, front int64, why string) Device {
	if front <= 0 {
		return dev
	}
	return &padded{dev, front, why}
}

func (d *padded) Size() int64 { return d.front + d.dev.Size() }

func (d *padded) ReadAt(p []byte, off int64) (int, error) {
	if off >= 0 && off < d.front && len(p) > 0 {
		return 0, &BadRangeError{Off: off, Len: d.front - off, Why: d.why}
	}
	n, err := d.dev.ReadAt(p, off-d.front)
	return n, Shift(err, d.front)
}

func (d *padded) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		lo, hi := Clip(d.Size(), off, n)
		if end := min(hi, d.front); lo < end {
			if !yield(Extent{Off: lo, Len: end - lo, State: Bad, Why: d.why}) {
				return
			}
			lo = end
		}
		if lo >= hi {
			return
		}
		for e := range d.dev.Extents(lo-d.front, hi-lo) {
			e.Off += d.front
			if !yield(e) {
				return
			}
		}
	}
}
