package block

import (
	"errors"
	"iter"
)

// section is a window of a device, perhaps running past its end.
type section struct {
	dev       Device
	base      int64  // of the window in dev
	have, all int64  // bytes of the window that dev has, and bytes in all
	why       string // what the rest is bad for
}

// NewSection returns the n bytes of dev from off as a device of its own. Where the window
// runs past the end of dev, its bytes are bad for the reason why, as with a PV that is
// larger than what is left of its disk.
func NewSection(dev Device, off, n int64, why string) Device {
	n = max(n, 0)
	if off < 0 {
		return NewBad(n, why)
	}
	lo, hi := Clip(dev.Size(), off, n)
	if lo == 0 && hi == n && n == dev.Size() {
		return dev
	}
	if in, ok := dev.(*section); ok && hi-lo == n && hi <= in.have { // a window in a window
		dev, lo, hi = in.dev, lo+in.base, hi+in.base
	}
	return &section{dev: dev, base: lo, have: hi - lo, all: n, why: why}
}

func (s *section) Size() int64 { return s.all }

func (s *section) ReadAt(p []byte, off int64) (int, error) {
	p, eof := ClipRead(s.all, p, off)
	if len(p) == 0 {
		return 0, eof
	}
	_, hi := Clip(s.have, off, int64(len(p)))
	n := 0
	if off < hi {
		var err error
		n, err = s.dev.ReadAt(p[:hi-off], s.base+off)
		if n < int(hi-off) {
			return n, Shift(err, -s.base)
		}
	}
	if n < len(p) {
		return n, &BadRangeError{Off: off + int64(n), Len: s.all - off - int64(n), Why: s.why}
	}
	return n, eof
}

func (s *section) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		lo, hi := Clip(s.all, off, n)
		if dlo, dhi := Clip(s.have, lo, hi-lo); dlo < dhi {
			for e := range s.dev.Extents(s.base+dlo, dhi-dlo) {
				e.Off -= s.base
				if !yield(e) {
					return
				}
			}
		}
		if lo = max(lo, s.have); lo < hi {
			yield(Extent{Off: lo, Len: hi - lo, State: Bad, Why: s.why})
		}
	}
}

// Shift returns err as a layer above passes it on: a *BadRangeError has its offset moved
// by delta bytes, any other error stays as it is.
func Shift(err error, delta int64) error {
	var bad *BadRangeError
	if !errors.As(err, &bad) {
		return err
	}
	moved := *bad
	moved.Off += delta
	return &moved
}
