package activate

import (
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// peek opens n bytes of an input, for what a plan has to know of them.
func (p *planner) peek(in Input, n int64) block.Device {
	v := &Volume{LV: &metadata.LV{}}
	v.add(n, Linear{in})
	return p.open(v)
}

// doubts says why some of the n bytes of an input are doubtful; "" when none are. Whatever
// is decided by them is then doubtful too.
func (p *planner) doubts(in Input, n int64) string { return doubtIn(p.peek(in, n), 0, n) }

// doubtIn says why some of n bytes at off of a device are doubtful; "" when none are.
func doubtIn(dev block.Device, off, n int64) string {
	for e := range dev.Extents(off, n) {
		if e.State == block.Doubtful {
			return e.Why
		}
	}
	return ""
}
