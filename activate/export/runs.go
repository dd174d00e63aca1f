package export

import (
	"iter"
	"slices"
	"sort"
)

// stretch is a range of an image, with what is to be known of it.
type stretch struct {
	off, n int64  // bytes
	kind   byte   // a block.State, or a block.MapStatus
	why    string // the reason, if there is one
}

func (s stretch) end() int64 { return s.off + s.n }

// run is count stretches of one kind, length and reason, one every step bytes. A disk that is
// missing under a striped LV leaves millions of them.
type run struct {
	stretch       // the first
	step    int64 // 0 for one alone
	count   int64
}

func (r *run) at(i int64) stretch {
	s := r.stretch
	s.off += i * r.step
	return s
}

func (r *run) end() int64 { return r.at(r.count - 1).end() }

// takes adds a stretch to the run, if it is the one that comes next there.
func (r *run) takes(s stretch) bool {
	switch {
	case s.n != r.n || s.kind != r.kind || s.why != r.why:
		return false
	case r.count == 1:
		r.step = s.off - r.off
	case s.off != r.off+r.count*r.step:
		return false
	}
	r.count++
	return true
}

// stretches is a list of stretches that are added in order and do not overlap. What it takes
// in memory depends on how many runs they come to, not on their number. The zero value is
// empty.
type stretches struct {
	runs  []run   // by the offset of their first stretch
	last  stretch // added last: it may still grow
	limit int     // of len(runs); 0 is none
}

// lookBack is how many of the last runs may go on: as many may lie across each other.
const lookBack = 16

// add adds a stretch; one that goes on where the last one ends becomes part of it. It reports
// whether there is room for it.
func (l *stretches) add(s stretch) bool {
	if l.last.n > 0 && l.last.end() == s.off && l.last.kind == s.kind && l.last.why == s.why {
		l.last.n += s.n
		return true
	}
	if !l.settle() {
		return false
	}
	l.last = s
	return true
}

// settle puts the last stretch into a run, if there is room.
func (l *stretches) settle() bool {
	if l.last.n == 0 {
		return true
	}
	for i := len(l.runs) - 1; i >= max(0, len(l.runs)-lookBack); i-- {
		if l.runs[i].takes(l.last) {
			return true
		}
	}
	if l.limit > 0 && len(l.runs) >= l.limit {
		return false
	}
	l.runs = append(l.runs, run{stretch: l.last, count: 1})
	return true
}

// clone is a copy that stays as it is.
func (l *stretches) clone() *stretches {
	return &stretches{runs: slices.Clone(l.runs), last: l.last}
}

// all lists the runs, that of the last stretch included.
func (l *stretches) all() []run {
	c := l.clone()
	if !c.settle() {
		c.runs = append(c.runs, run{stretch: c.last, count: 1})
	}
	return c.runs
}

// from gives, in order, the stretches of which something lies at or behind lo.
func (l *stretches) from(lo int64) iter.Seq[stretch] {
	return func(yield func(stretch) bool) {
		next := sort.Search(len(l.runs), func(i int) bool { return l.runs[i].off > lo })
		var open []cursor // of the runs that lie across each other here
		for _, r := range l.runs[max(0, next-lookBack):next] {
			if r.end() > lo {
				open = append(open, cursor{r, r.first(lo)})
			}
		}
		for len(open) > 0 || next < len(l.runs) {
			least := -1
			for i := range open {
				if least < 0 || open[i].stretch().off < open[least].stretch().off {
					least = i
				}
			}
			if next < len(l.runs) && (least < 0 || l.runs[next].off < open[least].stretch().off) {
				open = append(open, cursor{l.runs[next], 0})
				next++
				continue
			}
			c := &open[least]
			if !yield(c.stretch()) {
				return
			}
			if c.i++; c.i == c.run.count {
				open = slices.Delete(open, least, least+1)
			}
		}
		if l.last.n > 0 && l.last.end() > lo {
			yield(l.last)
		}
	}
}

// first is the first stretch of a run that ends behind lo.
func (r *run) first(lo int64) int64 {
	if r.step == 0 || r.stretch.end() > lo {
		return 0
	}
	return (lo-r.stretch.end())/r.step + 1
}

// cursor is a place in a run.
type cursor struct {
	run run
	i   int64
}

func (c *cursor) stretch() stretch { return c.run.at(c.i) }
