package activate

import (
	"cmp"
	"math"
	"slices"

	"github.com/lvrescue/lvrescue/metadata/dmraid"
)

// readBitmap takes the write-intent bitmaps of all legs that are up to date: what one of them
// calls dirty is.
func (a *array) readBitmap() {
	for _, l := range a.order {
		if l.sb == nil || l.meta == nil || l.stale != "" {
			continue
		}
		b, err := dmraid.ReadBitmap(l.meta)
		if err != nil || b.Stale || b.Events < a.fresh.sb.Events {
			continue
		}
		if a.bitmap == nil {
			a.bitmap = b
		} else if !a.bitmap.Merge(b) {
			a.bitmap = nil
			return
		}
	}
}

// span is a range [lo, hi) of the data of each leg.
type span struct{ lo, hi int64 }

var everything = []span{{0, math.MaxInt64}}

func from(lo int64) []span { return []span{{lo, math.MaxInt64}} }

// maxSpans bounds what is kept of a bitmap, for all legs together. What has more is taken as
// a whole.
const maxSpans = 1 << 19

// dirty gives the ranges of the legs that the bitmap calls dirty.
func (a *array) dirty() []span {
	if a.bitmap == nil {
		return everything
	}
	var s []span
	for lo, hi := range a.bitmap.Dirty() {
		d := a.onLegs(lo, hi)
		if n := len(s); n > 0 && d.lo <= s[n-1].hi {
			s[n-1].hi = max(s[n-1].hi, d.hi)
			continue
		}
		if len(s) == maxSpans/len(a.order) {
			return everything
		}
		s = append(s, d)
	}
	return a.withCopies(s)
}

// onLegs turns a range that is synchronised into one of the legs, where raid10 has its first
// copies. It counts bytes of the array there (drivers/md/md-bitmap.h).
func (a *array) onLegs(lo, hi int64) span {
	chunk := a.layout.Chunk
	if a.layout.Level != 10 {
		return span{lo, hi}
	}
	if a.layout.Spreads() {
		from, to := a.layout.Spread(a.size).Rows(lo/chunk, (hi-1)/chunk)
		return span{from * chunk, to * chunk}
	}
	row := chunk * int64(a.layout.Columns())
	return span{lo / row * chunk, ((hi-1)/row + 1) * chunk}
}

// withCopies adds to the rows of first copies those of far ones. Near copies that go on in
// the next row stand there too.
func (a *array) withCopies(s []span) []span {
	if !a.layout.Spreads() {
		return s
	}
	var all []span
	for _, shift := range a.layout.Spread(a.size).Shifts() {
		for _, d := range s {
			all = append(all, span{d.lo + shift, d.hi + shift + a.layout.Chunk})
		}
	}
	slices.SortFunc(all, func(x, y span) int { return cmp.Compare(x.lo, y.lo) })
	merged := all[:0]
	for _, d := range all {
		if n := len(merged); n > 0 && d.lo <= merged[n-1].hi {
			merged[n-1].hi = max(merged[n-1].hi, d.hi)
			continue
		}
		merged = append(merged, d)
	}
	return merged
}
