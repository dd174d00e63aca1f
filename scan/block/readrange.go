package block

import (
	"errors"
	"fmt"
)

// steps are the sizes in bytes of the ever smaller reads with which the readable parts of
// a refused range are found, down to the sector.
var steps = [...]int64{64 << 10, 4 << 10, SectorSize}

// ReadRange reads from dev at off whatever can be read, and never less: ranges known to be
// bad are stepped over, and where the medium refuses a read, smaller reads find the very
// sectors that it refuses. Every byte of p is set, those that are zero or bad to 0.
//
// report is told the outcome as ordered, gapless extents in the coordinates of dev, which
// cover p. Bytes beyond the end of dev are bad.
//
// The error is of another kind: a device that is closed, or one that breaks its contract.
// p is then not to be used.
func ReadRange(dev Device, p []byte, off int64, report func(Extent)) error {
	if off < 0 {
		return fmt.Errorf("read at negative offset %d", off)
	}
	r := rangeReader{dev: dev, base: off, buf: p, report: report}
	for e := range dev.Extents(off, int64(len(p))) {
		if err := r.extent(e); err != nil {
			return err
		}
	}
	if rest := r.end() - r.pos(); rest > 0 {
		r.lose(rest, "beyond the end of the device")
	}
	r.flush()
	return nil
}

// rangeReader is one ReadRange at work. done bytes of buf are dealt with; last is the
// outcome not yet reported, since it may go on.
type rangeReader struct {
	dev    Device
	base   int64
	buf    []byte
	done   int64
	last   Extent
	report func(Extent)
}

func (r *rangeReader) pos() int64 { return r.base + r.done }

func (r *rangeReader) end() int64 { return r.base + int64(len(r.buf)) }

// extent deals with one extent, which must be the next and not run past the buffer.
func (r *rangeReader) extent(e Extent) error {
	if e.Off != r.pos() || e.Len <= 0 || e.Len > r.end()-r.pos() {
		return fmt.Errorf("device tells of an extent of %d bytes at %d, want one at %d", e.Len, e.Off, r.pos())
	}
	switch e.State {
	case Bad:
		r.lose(e.Len, e.Why)
	case Zero:
		clear(r.buf[r.done : r.done+e.Len])
		r.add(e)
	default:
		return r.read(e)
	}
	return nil
}

// read reads an extent, in one go if the device lets it.
func (r *rangeReader) read(e Extent) error {
	for r.pos() < e.End() {
		p := r.buf[r.done : r.done+e.End()-r.pos()]
		n, err := r.dev.ReadAt(p, r.pos())
		n = min(max(n, 0), len(p))
		if n > 0 {
			r.add(Extent{Off: r.pos(), Len: int64(n), State: e.State, Why: e.Why})
		}
		if n == len(p) {
			return nil
		}
		var bad *BadRangeError
		if !errors.As(err, &bad) {
			return fmt.Errorf("read %d bytes at %d, got %d: %w", len(p), r.pos()-int64(n), n, noProgress(err))
		}
		if err := r.refused(e, bad); err != nil {
			return err
		}
	}
	return nil
}

// noProgress gives a short read without an error its due.
func noProgress(err error) error {
	if err == nil {
		return errors.New("no error was given")
	}
	return err
}

// refused deals with the range of the extent e that a read just stopped at.
func (r *rangeReader) refused(e Extent, bad *BadRangeError) error {
	n := min(max(bad.Off+bad.Len-r.pos(), 1), e.End()-r.pos())
	if doubtful := bad.doubtfulAt(r.pos()); len(doubtful) > 0 {
		n = min(n, int64(len(doubtful)))
		copy(r.buf[r.done:r.done+n], doubtful)
		r.add(Extent{Off: r.pos(), Len: n, State: Doubtful, Why: bad.Why})
		return nil
	}
	step := int64(0)
	if bad.Coarse {
		step = smallerStep(r.pos(), n)
	}
	if step == 0 {
		r.lose(n, bad.Why)
		return nil
	}
	for end := r.pos() + n; r.pos() < end; {
		piece := e
		piece.Off = r.pos()
		piece.Len = min(end, (r.pos()/step+1)*step) - r.pos()
		if err := r.read(piece); err != nil {
			return err
		}
	}
	return nil
}

// smallerStep is the first step of which a boundary lies within the n bytes at off, so
// that they can be cut there, or 0 when all of them are in one sector.
func smallerStep(off, n int64) int64 {
	for _, s := range steps {
		if off/s != (off+n-1)/s {
			return s
		}
	}
	return 0
}

// lose clears the next n bytes and calls them bad.
func (r *rangeReader) lose(n int64, why string) {
	clear(r.buf[r.done : r.done+n])
	r.add(Extent{Off: r.pos(), Len: n, State: Bad, Why: why})
}

// add takes down the outcome of the next bytes.
func (r *rangeReader) add(e Extent) {
	r.done += e.Len
	if r.last.joins(e) {
		r.last.Len += e.Len
		return
	}
	r.flush()
	r.last = e
}

func (r *rangeReader) flush() {
	if r.last.Len > 0 {
		r.report(r.last)
	}
}
