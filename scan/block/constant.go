package block

import "iter"

// constant is a device of one state that never has anything to read.
type constant struct {
	size int64
	Extent
}

// NewBad returns a device of size bytes of which none can be read, for the reason why. It
// stands in for what is missing.
func NewBad(size int64, why string) Device {
	return constant{max(size, 0), Extent{State: Bad, Why: why}}
}

// NewZero returns a device of size bytes of proven zeros.
func NewZero(size int64) Device {
	return constant{max(size, 0), Extent{State: Zero}}
}

func (c constant) Size() int64 { return c.size }

func (c constant) ReadAt(p []byte, off int64) (int, error) {
	p, eof := ClipRead(c.size, p, off)
	if len(p) == 0 {
		return 0, eof
	}
	if c.State == Bad {
		return 0, &BadRangeError{Off: off, Len: c.size - off, Why: c.Why}
	}
	clear(p)
	return len(p), eof
}

func (c constant) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		if lo, hi := Clip(c.size, off, n); lo < hi {
			yield(Extent{Off: lo, Len: hi - lo, State: c.State, Why: c.Why})
		}
	}
}
