package volume

import (
	"errors"
	"iter"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/dmmirror"
	"github.com/lvrescue/lvrescue/scan/block"
)

// mirror reads from the best of its legs. Where the legs are not known to be in sync the
// others can only stand in for the first, doubtfully.
type mirror struct {
	legs     []block.Device // of equal size
	region   int64          // bytes
	log      *dmmirror.Log  // nil: nothing is known to be in sync
	unsynced string         // why another leg than the first is doubtful then
}

func (o opener) mirror(t activate.Mirror, n int64) block.Device {
	m := &mirror{region: t.RegionSize, log: t.Log, unsynced: t.Unsynced}
	for _, in := range t.Legs {
		m.legs = append(m.legs, o.input(in, n))
	}
	return m
}

func (m *mirror) Size() int64 { return m.legs[0].Size() }

// choice is what a mirror gives for a range, and the leg that it comes from.
type choice struct {
	block.Extent
	leg  int
	sync bool // the other legs hold the same bytes
}

// choose yields a leg for each part of [lo, hi).
func (m *mirror) choose(lo, hi int64, yield func(choice) bool) {
	for lo < hi {
		sync, end := m.synced(lo, hi)
		for e := range m.legs[0].Extents(lo, end-lo) {
			if e.State.Sure() {
				if !yield(choice{e, 0, sync}) {
					return
				}
				continue
			}
			if !m.among(e, sync, yield) {
				return
			}
		}
		lo = end
	}
}

// synced tells whether the legs are in sync at lo, and up to where, at most hi, that is so.
func (m *mirror) synced(lo, hi int64) (sync bool, end int64) {
	if m.log == nil {
		return false, hi
	}
	region := lo / m.region
	sync, n := m.log.Run(region)
	if n >= (hi-1)/m.region+1-region {
		return sync, hi
	}
	return sync, (region + n) * m.region
}

// among chooses between all legs for an extent that the first cannot give for sure.
func (m *mirror) among(e block.Extent, sync bool, yield func(choice) bool) bool {
	legs := make([]*cursor, len(m.legs))
	for i, l := range m.legs {
		legs[i] = newCursor(l, e.Off, e.Len)
		defer legs[i].stop()
	}
	for at := e.Off; at < e.End(); {
		best, end := choice{sync: sync}, e.End()
		for i, l := range legs {
			l.seek(at)
			end = min(end, l.cur.End())
			cur := l.cur
			if i > 0 && !sync {
				cur = doubt(cur, m.unsynced)
			}
			if i == 0 || cost(cur.State) < cost(best.State) {
				best.Extent, best.leg = cur, i
			}
		}
		best.Off, best.Len = at, end-at
		if !yield(best) {
			return false
		}
		at = end
	}
	return true
}

// cost orders states: the lower the better.
func cost(s block.State) int {
	switch s {
	case block.Data, block.Zero:
		return 0
	case block.Doubtful:
		return 1
	}
	return 2
}

// Extents implements block.Device.
func (m *mirror) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(m.Size(), off, n)
		m.choose(lo, hi, func(c choice) bool { return yield(c.Extent) })
	})
}

// ReadAt implements io.ReaderAt.
func (m *mirror) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(m.Size(), p, off)
	if len(p) == 0 {
		return 0, eof
	}
	err = eof
	m.choose(off, off+int64(len(p)), func(c choice) bool {
		k, rerr := m.read(c, p[n:n+int(c.Len)])
		n += k
		if rerr != nil {
			err = rerr
		}
		return rerr == nil
	})
	return n, err
}

// read reads what was chosen. What the medium refuses is taken from the other legs, if
// they are in sync and sure of it.
func (m *mirror) read(c choice, p []byte) (n int, err error) {
	if c.State == block.Bad {
		return 0, &block.BadRangeError{Off: c.Off, Len: c.Len, Why: c.Why}
	}
	for n < len(p) {
		var k int
		k, err = piece{c.Off, c.Len, m.legs[c.leg], c.Off}.read(p[n:])
		n, c.Off, c.Len = n+k, c.Off+int64(k), c.Len-int64(k)
		var bad *block.BadRangeError
		if err == nil || !errors.As(err, &bad) || !c.sync || c.State == block.Doubtful {
			return n, err
		}
		k = m.heal(c, p[n:], bad)
		if n, c.Off, c.Len = n+k, c.Off+int64(k), c.Len-int64(k); k == 0 {
			return n, err
		}
	}
	return n, nil
}

// heal reads bytes that the chosen leg refused from another, as many as one gives in a run,
// and at most up to the end of bad. If none gives any, bad is cut to what all refuse.
func (m *mirror) heal(c choice, p []byte, bad *block.BadRangeError) int {
	p = p[:min(int64(len(p)), bad.Off+bad.Len-c.Off)]
	for i, leg := range m.legs {
		if i == c.leg {
			continue
		}
		for e := range leg.Extents(c.Off, int64(len(p))) {
			if cost(e.State) > 0 {
				bad.Len = min(bad.Len, e.Len)
				break
			}
			k, err := piece{c.Off, c.Len, leg, c.Off}.read(p[:e.Len])
			if k > 0 {
				return k
			}
			var other *block.BadRangeError
			if errors.As(err, &other) {
				bad.Len, bad.Coarse = min(bad.Len, other.Len), bad.Coarse || other.Coarse
			}
			break
		}
	}
	return 0
}
