package block

import (
	"fmt"
	"iter"
	"sort"
)

// overlay is a device over which a list of worse states is laid.
type overlay struct {
	Device
	marks []Extent // Bad or Doubtful, ascending, apart
}

// NewOverlay returns dev with some of its ranges marked as bad or doubtful. The marks must
// ascend and not overlap; parts beyond the end of dev have no effect. A mark never makes a
// range better: what dev calls bad stays bad.
func NewOverlay(dev Device, marks []Extent) (Device, error) {
	end := int64(0)
	for i, m := range marks {
		if m.State != Bad && m.State != Doubtful {
			return nil, fmt.Errorf("mark %d at byte %d is %v, want bad or doubtful", i, m.Off, m.State)
		}
		if m.Off < end || m.Len <= 0 || m.End() < m.Off {
			return nil, fmt.Errorf("mark %d: %d bytes at byte %d overlap what is before, or are empty", i, m.Len, m.Off)
		}
		end = m.End()
	}
	if len(marks) == 0 {
		return dev, nil
	}
	return &overlay{dev, marks}, nil
}

// NewDoubtful returns dev with everything that it can deliver marked as doubtful for the
// reason why.
func NewDoubtful(dev Device, why string) Device {
	if dev.Size() == 0 {
		return dev
	}
	return &overlay{dev, []Extent{{Len: dev.Size(), State: Doubtful, Why: why}}}
}

// from returns the marks of which something lies at or behind off.
func (o *overlay) from(off int64) []Extent {
	return o.marks[sort.Search(len(o.marks), func(i int) bool { return o.marks[i].End() > off }):]
}

func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	p, eof := ClipRead(o.Size(), p, off)
	if len(p) == 0 {
		return 0, eof
	}
	for _, m := range o.from(off) {
		if m.Off >= off+int64(len(p)) {
			break
		}
		if m.State != Bad {
			continue
		}
		want := int(max(m.Off-off, 0))
		n, err := readSome(o.Device, p[:want], off)
		if n < want {
			return n, err
		}
		lo := max(m.Off, off)
		return n, &BadRangeError{Off: lo, Len: m.End() - lo, Why: m.Why}
	}
	n, err := o.Device.ReadAt(p, off)
	if err == nil && n == len(p) {
		err = eof
	}
	return n, err
}

// readSome is ReadAt for a buffer that may be empty.
func readSome(dev Device, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return dev.ReadAt(p, off)
}

func (o *overlay) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		lo, hi := Clip(o.Size(), off, n)
		for _, m := range o.from(lo) {
			if lo >= hi || m.Off >= hi {
				break
			}
			if m.Off > lo && !pass(o.Device.Extents(lo, m.Off-lo), yield) {
				return
			}
			lo = max(lo, m.Off)
			end := min(hi, m.End())
			if !o.marked(lo, end, m, yield) {
				return
			}
			lo = end
		}
		if lo < hi {
			pass(o.Device.Extents(lo, hi-lo), yield)
		}
	}
}

// marked yields [lo, hi) as the mark m leaves it.
func (o *overlay) marked(lo, hi int64, m Extent, yield func(Extent) bool) bool {
	if m.State == Bad {
		return yield(Extent{Off: lo, Len: hi - lo, State: Bad, Why: m.Why})
	}
	for e := range o.Device.Extents(lo, hi-lo) {
		if e.State.Sure() {
			e.State, e.Why = m.State, m.Why
		}
		if !yield(e) {
			return false
		}
	}
	return true
}

// pass hands a sequence on and says whether more is wanted.
func pass(seq iter.Seq[Extent], yield func(Extent) bool) bool {
	for e := range seq {
		if !yield(e) {
			return false
		}
	}
	return true
}
