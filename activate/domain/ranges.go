package domain

import (
	"slices"
	"sort"

	"github.com/lvrescue/lvrescue/scan/block"
)

// Range is a run of bytes.
type Range struct{ Off, Len int64 }

// End is the offset behind the range.
func (r Range) End() int64 { return r.Off + r.Len }

// sectors widens a range to whole sectors, in which ddrescue reads.
func (r Range) sectors() Range {
	lo := r.Off / block.SectorSize * block.SectorSize
	hi := (r.End() + block.SectorSize - 1) / block.SectorSize * block.SectorSize
	return Range{lo, hi - lo}
}

// Ranges is a set of bytes: sorted ranges that neither overlap nor touch.
type Ranges []Range

// Add puts a range into the set and returns the parts of it that were not there yet.
func (s *Ranges) Add(r Range) (fresh []Range) {
	if r.Len <= 0 {
		return nil
	}
	i := sort.Search(len(*s), func(i int) bool { return (*s)[i].End() >= r.Off })
	j, at, whole := i, r.Off, r
	for ; j < len(*s) && (*s)[j].Off <= r.End(); j++ {
		old := (*s)[j]
		if at < old.Off {
			fresh = append(fresh, Range{at, old.Off - at})
		}
		at = max(at, old.End())
		lo := min(whole.Off, old.Off)
		whole = Range{lo, max(whole.End(), old.End()) - lo}
	}
	if at < r.End() {
		fresh = append(fresh, Range{at, r.End() - at})
	}
	*s = slices.Replace(*s, i, j, whole)
	return fresh
}

// Bytes is the size of the set.
func (s Ranges) Bytes() (n int64) {
	for _, r := range s {
		n += r.Len
	}
	return n
}
