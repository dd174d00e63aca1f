package volume

import (
	"errors"
	"iter"

	"github.com/lvrescue/lvrescue/scan/block"
)

// piece is a run of bytes of a device that one place on another device holds.
type piece struct {
	off, n int64 // bytes, in the device above
	dev    block.Device
	at     int64 // in dev
}

// read fills p from the piece's first bytes. An error names bytes of the device above, and
// none behind the piece, whatever lies there in the device below.
func (c piece) read(p []byte) (int, error) {
	p = p[:min(c.n, int64(len(p)))]
	n, err := c.dev.ReadAt(p, c.at)
	if n == len(p) {
		return n, nil
	}
	var bad *block.BadRangeError
	if !errors.As(err, &bad) {
		return n, err
	}
	moved := bad.From(max(bad.Off, c.at))
	moved.Len = min(moved.Len, c.n-(moved.Off-c.at))
	moved.Off += c.off - c.at
	return n, moved
}

// extents tells what is known of the piece, in the terms of the device above. It is false
// when yield wants no more.
func (c piece) extents(yield func(block.Extent) bool) bool {
	for e := range c.dev.Extents(c.at, c.n) {
		e.Off += c.off - c.at
		if !yield(e) {
			return false
		}
	}
	return true
}

// pieces tells, in order and without gaps, of which pieces a device's bytes [lo, hi) are made.
type pieces func(lo, hi int64) iter.Seq[piece]

// readAt is the ReadAt of a device of size bytes that is made of pieces.
func (ps pieces) readAt(size int64, p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(size, p, off)
	for c := range ps(off, off+int64(len(p))) {
		m, err := c.read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// extents is the Extents of a device of size bytes that is made of pieces.
func (ps pieces) extents(size, off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(size, off, n)
		for c := range ps(lo, hi) {
			if !c.extents(yield) {
				return
			}
		}
	})
}

// doubt makes doubtful what can be delivered, for the reason why.
func doubt(e block.Extent, why string) block.Extent {
	if why != "" && e.State.Sure() {
		e.State, e.Why = block.Doubtful, why
	}
	return e
}
