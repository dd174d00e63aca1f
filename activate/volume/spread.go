package volume

import (
	"iter"

	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// spread is raid10 whose copies stand in other rows or go over the end of a row. Source:
// drivers/md/raid10.c.
type spread struct {
	name   string
	layout dmraid.Spread
	chunk  int64 // bytes
	legs   []block.Device
	size   int64
	sync   block.Device // of the array's size: doubtful where only the first copy counts
}

func (s *spread) Size() int64 { return s.size }

// copies is the array's chunk number c: raid1 over its copies.
func (s *spread) copies(c int64) block.Device {
	if c >= s.layout.Chunks() {
		return block.NewBad(s.chunk, "the array's layout has no place for this")
	}
	var why string
	for e := range s.sync.Extents(c*s.chunk, s.chunk) {
		if !e.State.Sure() {
			why = e.Why
		}
	}
	places := s.layout.Places(c)
	copies := &copies{name: s.name, legs: make([]block.Device, len(places))}
	for i, p := range places {
		copies.legs[i] = block.NewSection(s.legs[p.Device], p.Off, s.chunk, "the images end here")
		if why != "" && i > 0 {
			copies.legs[i] = block.NewDoubtful(copies.legs[i], why)
		}
	}
	return copies
}

// pieces gives the bytes [lo, hi) chunk by chunk.
func (s *spread) pieces(lo, hi int64) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for lo < hi {
			n := min(hi-lo, s.chunk-lo%s.chunk)
			if !yield(piece{lo, n, s.copies(lo / s.chunk), lo % s.chunk}) {
				return
			}
			lo += n
		}
	}
}

// ReadAt implements io.ReaderAt.
func (s *spread) ReadAt(p []byte, off int64) (int, error) {
	return pieces(s.pieces).readAt(s.size, p, off)
}

// Extents implements block.Device. Where first copies are sure, and alike, over many rows
// there is one extent for them.
func (s *spread) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		off, end := block.Clip(s.size, off, n)
		if off >= end {
			return
		}
		next, more := off, true
		slowly := func(to int64) {
			for p := range s.pieces(next, min(to, end)) {
				if more = p.extents(yield); !more {
					return
				}
			}
			next = max(next, min(to, end))
		}
		lo, hi := s.layout.Rows(off/s.chunk, (end-1)/s.chunk)
		lockstep(lo*s.chunk, hi*s.chunk, extentsOf(s.legs, lo*s.chunk, hi*s.chunk), func(k known) bool {
			first, last := s.layout.Inside((k.lo+s.chunk-1)/s.chunk, k.hi/s.chunk)
			from, to := max(first*s.chunk, next), min(last*s.chunk, end, s.layout.Chunks()*s.chunk)
			if from >= to || !alike(k.legs) {
				return true
			}
			if slowly(from); !more {
				return false
			}
			next = to
			more = yield(block.Extent{Off: from, Len: to - from, State: k.legs[0].State})
			return more
		})
		if more {
			slowly(end)
		}
	})
}

// alike tells whether all legs are sure and in one state.
func alike(legs []block.Extent) bool {
	for _, e := range legs {
		if !e.State.Sure() || e.State != legs[0].State {
			return false
		}
	}
	return true
}
