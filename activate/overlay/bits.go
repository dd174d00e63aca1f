package overlay

import (
	"maps"
	"slices"
)

// A page is the bits of 4096 sectors, 2 MiB. Pages without a bit are not kept, and those
// with all of them are one, so that memory grows with the places that were written to, and
// not with the size of the device.
const (
	pageSize    = 512
	pageSectors = pageSize * 8
)

type page [pageSize]byte

// full is the page of which every sector was written. It never changes.
var full = func() *page {
	p := new(page)
	for i := range p {
		p[i] = 0xff
	}
	return p
}()

// pageCount is how many pages a device of this size has.
func (o *Overlay) pageCount() int64 {
	return (o.size + pageSectors*sector - 1) / (pageSectors * sector)
}

// keep takes a page that was read from the disk; p may be used again.
func (o *Overlay) keep(i int64, p *page) {
	switch {
	case *p == page{}:
	case *p == *full:
		o.pages[i] = full
	default:
		o.pages[i] = new(*p)
	}
}

// maxRun bounds how many sectors are looked at while writers wait.
const maxRun = 1 << 22

// run returns a run of sectors from first on, to end at most, that are all written or all
// not: the sector behind it, and which.
func (o *Overlay) run(first, end int64) (next int64, written bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	end = min(end, first+maxRun)
	want, byteWant := o.bit(first), byte(0)
	if want {
		byteWant = 0xff
	}
	for next = first + 1; next < end; {
		p := o.pages[next/pageSectors]
		switch in := next % pageSectors; {
		case in == 0 && (p == nil && !want || p == full && want): // a whole page at once
			next += pageSectors
		case in%8 == 0 && p != nil && p[in/8] == byteWant: // a whole byte
			next += 8
		case o.bit(next) != want:
			return next, want
		default:
			next++
		}
	}
	return end, want
}

// bit tells whether a sector was written. The lock must be held.
func (o *Overlay) bit(s int64) bool {
	p := o.pages[s/pageSectors]
	return p != nil && p[s%pageSectors/8]&(1<<(s%8)) != 0
}

// mark notes that the sectors [first, end) are written.
func (o *Overlay) mark(first, end int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for first < end {
		i := first / pageSectors
		stop := min(end, (i+1)*pageSectors)
		o.markPage(i, first-i*pageSectors, stop-i*pageSectors)
		first = stop
	}
}

// markPage sets the bits [lo, hi) of a page.
func (o *Overlay) markPage(i, lo, hi int64) {
	p := o.pages[i]
	if p == full {
		return
	}
	if lo == 0 && hi == pageSectors {
		o.pages[i], o.dirty[i] = full, true
		return
	}
	if p == nil {
		p = new(page)
		o.pages[i] = p
	}
	before := *p
	for b := lo; b < hi; b++ {
		p[b/8] |= 1 << (b % 8)
	}
	if *p == before {
		return
	}
	o.dirty[i] = true
	if *p == *full {
		o.pages[i] = full
	}
}

// write is neighbouring pages that go to the disk in one go.
type write struct {
	first int64 // page
	bits  []byte
}

// mostPages bounds one write.
const mostPages = 2048

// takeDirty copies the pages that are not on the disk yet.
func (o *Overlay) takeDirty() (todo []write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range slices.Sorted(maps.Keys(o.dirty)) {
		if n := len(todo) - 1; n < 0 || todo[n].first+int64(len(todo[n].bits)/pageSize) != i || len(todo[n].bits) >= mostPages*pageSize {
			todo = append(todo, write{first: i})
		}
		last := &todo[len(todo)-1]
		last.bits = append(last.bits, o.pages[i][:]...)
	}
	clear(o.dirty)
	return todo
}

// putBack makes pages dirty again that did not come to the disk.
func (o *Overlay) putBack(todo []write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range todo {
		for i := range int64(len(w.bits) / pageSize) {
			o.dirty[w.first+i] = true
		}
	}
}
