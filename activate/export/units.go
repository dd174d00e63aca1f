package export

import (
	"iter"

	"github.com/lvrescue/lvrescue/scan/block"
)

// unit is a range of the image that is dealt with in one piece: a chunk that is read and
// written, or a run of any length in which there is nothing to read and nothing to write.
type unit struct {
	off, n int64
	run    *block.Extent // what the whole run is; nil for a chunk
}

func (u unit) end() int64 { return u.off + u.n }

// units cuts the device into units, in order and gapless. Chunks lie on a grid, so that
// they do not depend on where extents start. hole says of which extents no byte need be
// written.
func units(dev block.Device, chunk int64, hole func(block.Extent) bool) iter.Seq[unit] {
	size := dev.Size()
	return func(yield func(unit) bool) {
		pos := int64(0)
		chunks := func(to int64) bool {
			for pos < to {
				n := min(to, (pos/chunk+1)*chunk) - pos
				if !yield(unit{off: pos, n: n}) {
					return false
				}
				pos += n
			}
			return true
		}
		for e := range block.Merge(dev.Extents(0, size)) {
			lo, hi := (e.Off+chunk-1)/chunk*chunk, e.End()/chunk*chunk
			if e.End() == size {
				hi = size
			}
			if hole(e) && hi-lo >= chunk {
				run := block.Extent{Off: lo, Len: hi - lo, State: e.State, Why: e.Why}
				if !chunks(lo) || !yield(unit{off: lo, n: hi - lo, run: &run}) {
					return
				}
				pos = hi
			}
			if !chunks(hi) {
				return
			}
		}
		chunks(size)
	}
}
