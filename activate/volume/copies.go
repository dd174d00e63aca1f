package volume

import (
	"errors"
	"iter"
	"slices"

	"github.com/lvrescue/lvrescue/scan/block"
)

// copies is raid1: every leg holds everything. Each byte comes from the first leg that has
// it for sure, else from the first that has it at all.
type copies struct {
	name string
	legs []block.Device // of equal size
}

func (c *copies) Size() int64 { return c.legs[0].Size() }

// pick chooses a leg by what is known of all; -1 when none has anything.
func (c *copies) pick(legs []block.Extent) int {
	doubtful := -1
	for i, e := range legs[:len(c.legs)] {
		if e.State.Sure() {
			return i
		}
		if e.State == block.Doubtful && doubtful < 0 {
			doubtful = i
		}
	}
	return doubtful
}

// outcome is what the array gives for a run of its legs.
func (c *copies) outcome(k known) block.Extent {
	e := block.Extent{Off: k.lo, Len: k.hi - k.lo, State: block.Bad}
	if i := c.pick(k.legs); i >= 0 {
		e.State, e.Why = k.legs[i].State, k.legs[i].Why
	} else {
		e.Why = lostLegs(c.name, k.legs[:len(c.legs)])
	}
	return e
}

// Extents implements block.Device.
func (c *copies) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(c.Size(), off, n)
		lockstep(lo, hi, extentsOf(c.legs, lo, hi), func(k known) bool { return yield(c.outcome(k)) })
	})
}

// ReadAt implements io.ReaderAt.
func (c *copies) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(c.Size(), p, off)
	if len(p) == 0 {
		return 0, eof
	}
	if c.whole(p, off) {
		return len(p), eof
	}
	step := max(windowSize/len(c.legs), block.SectorSize)
	for n < len(p) {
		part := p[n:min(len(p), n+step)]
		m, err := c.pieces(part, off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// whole reads from a leg that has all of it for sure; false when no leg has.
func (c *copies) whole(p []byte, off int64) bool {
	for _, l := range c.legs {
		if !sureOf(l, off, off+int64(len(p))) {
			continue
		}
		if n, _ := l.ReadAt(p, off); n == len(p) {
			return true
		}
	}
	return false
}

// pieces reads each run from the leg that is best for it.
func (c *copies) pieces(p []byte, off int64) (n int, err error) {
	w, err := readWindow(c.legs, off, off+int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer w.close()
	w.known(nothing, func(k known) bool {
		i := c.pick(k.legs)
		if i < 0 {
			err = &block.BadRangeError{Off: k.lo, Len: k.hi - k.lo, Why: c.outcome(k).Why}
			return false
		}
		if !k.legs[i].State.Sure() && anyWorse(c.legs, k) {
			err = &block.BadRangeError{Off: k.lo, Len: k.hi - k.lo, Why: k.legs[i].Why, Doubtful: slices.Clone(w.at(i, k.lo, k.hi))}
			return false
		}
		n += copy(p[n:], w.at(i, k.lo, k.hi))
		return true
	})
	if err == nil && n < len(p) {
		return n, errors.New("the legs tell less than they have")
	}
	return n, err
}

// nothing is known besides.
func nothing(func(block.Extent) bool) {}
