package block

import (
	"cmp"
	"iter"
	"slices"
)

// joins says whether next goes on where e ends, in the same state for the same reason.
func (e Extent) joins(next Extent) bool {
	return e.Len > 0 && e.End() == next.Off && e.State == next.State && e.Why == next.Why
}

// Merge joins neighbouring extents of one state and reason.
func Merge(seq iter.Seq[Extent]) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		var last Extent
		for e := range seq {
			if last.joins(e) {
				last.Len += e.Len
				continue
			}
			if last.Len > 0 && !yield(last) {
				return
			}
			last = e
		}
		if last.Len > 0 {
			yield(last)
		}
	}
}

// maxCauses bounds the causes that Totals keeps apart. Reasons may come from the disk.
const maxCauses = 1000

// otherCauses is the reason under which Totals counts whatever goes beyond maxCauses.
const otherCauses = "other causes"

// Cause sums up the bad or doubtful ranges that have one reason.
type Cause struct {
	State  State
	Why    string
	Bytes  int64
	Ranges int // ranges of other states or reasons lie between them
}

// Totals counts bytes by state and by cause. The zero value is empty and ready.
type Totals struct {
	Data, Zero, Doubtful, Bad int64 // bytes

	causes map[causeKey]*Cause
	end    int64    // of the extent that was added last
	last   causeKey // its state and reason
}

type causeKey struct {
	state State
	why   string
}

// Summarise adds up what is known of the whole of dev before it is read.
func Summarise(dev Device) *Totals {
	t := new(Totals)
	for e := range dev.Extents(0, dev.Size()) {
		t.Add(e)
	}
	return t
}

// Add counts one extent. Neighbours of one cause that are added one after the other count
// as one range.
func (t *Totals) Add(e Extent) {
	if e.Len <= 0 {
		return
	}
	goesOn := t.end == e.Off && t.last == causeKey{e.State, e.Why}
	t.end, t.last = e.End(), causeKey{e.State, e.Why}
	switch e.State {
	case Data:
		t.Data += e.Len
		return
	case Zero:
		t.Zero += e.Len
		return
	case Doubtful:
		t.Doubtful += e.Len
	default:
		t.Bad += e.Len
	}
	c := t.cause(e)
	c.Bytes += e.Len
	if !goesOn {
		c.Ranges++
	}
}

func (t *Totals) cause(e Extent) *Cause {
	key := causeKey{e.State, e.Why}
	if c := t.causes[key]; c != nil {
		return c
	}
	if len(t.causes) >= maxCauses {
		key.why = otherCauses
		if c := t.causes[key]; c != nil {
			return c
		}
	}
	if t.causes == nil {
		t.causes = make(map[causeKey]*Cause)
	}
	c := &Cause{State: e.State, Why: key.why}
	t.causes[key] = c
	return c
}

// Size is the number of bytes counted.
func (t *Totals) Size() int64 { return t.Data + t.Zero + t.Doubtful + t.Bad }

// Whole says that nothing is bad or doubtful.
func (t *Totals) Whole() bool { return t.Doubtful == 0 && t.Bad == 0 }

// Causes lists the causes of bad and doubtful bytes: bad ones first, then the one with the
// most bytes first.
func (t *Totals) Causes() []Cause {
	list := make([]Cause, 0, len(t.causes))
	for _, c := range t.causes {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Why, b.Why))
	})
	return list
}
