package volume

import (
	"iter"
	"sort"

	"github.com/lvrescue/lvrescue/scan/block"
)

// listed is a device of which all extents were asked for at once. Asking for those of a
// million chunks one by one takes longer than reading where they are.
type listed struct {
	block.Device
	extents []block.Extent // of all of it
}

const (
	manyChunks  = 4096 // fewer are asked for one by one
	mostExtents = 4096 // that are kept
)

// list asks dev for all its extents; nil if it has too many.
func list(dev block.Device) block.Device {
	var l []block.Extent
	for e := range dev.Extents(0, dev.Size()) {
		if len(l) == mostExtents {
			return nil
		}
		l = append(l, e)
	}
	return &listed{dev, l}
}

// Extents implements block.Device.
func (d *listed) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(d.Size(), off, n)
		for i := sort.Search(len(d.extents), func(i int) bool { return d.extents[i].End() > lo }); i < len(d.extents) && lo < hi; i++ {
			e := d.extents[i]
			e.Off, e.Len = lo, min(e.End(), hi)-lo
			if !yield(e) {
				return
			}
			lo = e.End()
		}
	}
}
