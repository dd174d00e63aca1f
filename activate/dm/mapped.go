package dm

import (
	"slices"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/cache"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/writecache"
)

// Of targets that look up where their bytes lie, the runs are what the lookup gives: from
// then on the kernel needs to know nothing of them. What activate/volume does read by read is
// done here once for all.

// snapshot lays the chunks of a store over an origin, of which it has n bytes from off on.
func (c *compiler) snapshot(t activate.Snapshot, off, n int64) (runs, error) {
	out, err := c.input(t.Origin, off, n)
	if err != nil {
		return nil, err
	}
	l := layer{runs: out.doubted(t.Unlisted), off: off, all: n}
	for _, r := range t.List.Runs {
		err := l.put(r.Old*t.ChunkSize, r.Len*t.ChunkSize, func(skip, n int64) (runs, error) {
			rs, err := c.input(t.Store, r.New*t.ChunkSize+skip, n)
			return rs.doubted(t.Listed), err
		})
		if err != nil {
			return nil, err
		}
	}
	return l.done()
}

// writecache lays the blocks of a writecache over its origin.
func (c *compiler) writecache(t activate.Writecache, off, n int64) (runs, error) {
	out, err := c.input(t.Origin, off, n)
	if err != nil {
		return nil, err
	}
	l := layer{runs: out, off: off, all: n}
	if m := t.Map; m != nil {
		for _, e := range m.Entries {
			err := l.put(e.Block*m.BlockSize, m.BlockSize, func(skip, n int64) (runs, error) {
				if e.Index == writecache.Disputed {
					return lose(n), nil
				}
				return c.input(t.Cache, m.DataOffset()+e.Index*m.BlockSize+skip, n)
			})
			if err != nil {
				return nil, err
			}
		}
	}
	rs, err := l.done()
	return rs.doubted(t.Doubt), err
}

// cache lays the blocks of a cache over its origin.
func (c *compiler) cache(t activate.Cache, off, n int64) (runs, error) {
	out, err := c.input(t.Origin, off, n)
	if err != nil {
		return nil, err
	}
	l := layer{runs: out.doubted(t.Stale), off: off, all: n}
	if m := t.Map; m != nil {
		for _, e := range m.Mappings {
			start := int64(e.Origin) * m.ChunkSize
			err := l.put(start, m.ChunkSize, func(skip, n int64) (runs, error) {
				return c.cached(t, e, start, skip, n)
			})
			if err != nil {
				return nil, err
			}
		}
	}
	rs, err := l.done()
	return rs.doubted(t.Doubt), err
}

// cached gives n bytes of a block of the origin, which begins at start there, that a cache
// has: where both hold the same, the other makes up for what one has lost.
func (c *compiler) cached(t activate.Cache, m cache.Mapping, start, skip, n int64) (runs, error) {
	if m.State == cache.Disputed {
		return lose(n), nil
	}
	var first runs
	at, end := int64(m.Block)*t.Map.ChunkSize+skip, t.DataSize
	first, err := c.input(t.Data, min(at, end), max(min(n, end-at), 0))
	if err != nil {
		return nil, err
	}
	first = first.add(lose(n - first.size())...)
	if m.State == cache.Dirty && (t.Map.Clean || t.Mode == activate.Writeback) {
		return first, nil
	}
	second, err := c.input(t.Origin, start+skip, n)
	if err != nil {
		return nil, err
	}
	if t.Mode == activate.Passthrough {
		first, second = second, first
	}
	return best(first, second), nil
}

// thin follows a thin device's tree.
func (c *compiler) thin(t activate.Thin, off, n int64) (rs runs, err error) {
	dev := t.Device(c.open(t.Metadata, t.MetadataSize))
	lo, hi := t.Off+off, t.Off+off+n // in the thin device
	blocks := t.DataSize / t.ChunkSize
	for r := range dev.Runs(uint64(lo/t.ChunkSize), uint64((hi-1)/t.ChunkSize)) {
		from, to := max(lo, int64(r.First)*t.ChunkSize), min(hi, int64(r.Last)*t.ChunkSize+t.ChunkSize)
		if from >= to {
			continue
		}
		part, err := c.thinRun(t, r, from, to, blocks)
		if err != nil {
			return nil, err
		}
		if rs = rs.add(part.doubted(r.Doubt)...); len(rs) > maxRuns {
			return nil, errTooMany
		}
	}
	return rs.doubted(t.Doubt), nil
}

// thinRun gives the bytes [from, to) of a thin device, which lie in one run of its tree.
func (c *compiler) thinRun(t activate.Thin, r thin.Run, from, to, blocks int64) (runs, error) {
	switch r.State {
	case thin.Lost:
		return lose(to - from), nil
	case thin.Hole:
		var rs runs
		if t.External != nil && from < t.ExternalSize {
			var err error
			if rs, err = c.input(*t.External, from, min(to, t.ExternalSize)-from); err != nil {
				return nil, err
			}
		}
		return rs.add(run{n: to - from - rs.size()}), nil
	}
	if r.Data >= uint64(blocks) {
		return lose(to - from), nil
	}
	at := int64(r.Data)*t.ChunkSize + from - int64(r.First)*t.ChunkSize
	have := max(min(to-from, blocks*t.ChunkSize-at), 0)
	rs, err := c.input(t.Data, min(at, t.DataSize), have)
	return rs.add(lose(to - from - have)...), err
}

// mirror takes from each place of a mirror the first leg, or one that is as good.
func (c *compiler) mirror(t activate.Mirror, off, n int64) (runs, error) {
	legs := make([]runs, len(t.Legs))
	for i, in := range t.Legs {
		var err error
		if legs[i], err = c.input(in, off, n); err != nil {
			return nil, err
		}
	}
	if legs[0].clean() || t.Log == nil {
		for i := range legs[1:] {
			legs[i+1] = legs[i+1].doubted("not in sync")
		}
		return best(legs...), nil
	}
	var out runs
	for at := off; at < off+n; {
		region := at / t.RegionSize
		sync, count := t.Log.Run(region)
		end := off + n
		if count < (end-1)/t.RegionSize+1-region {
			end = (region + count) * t.RegionSize
		}
		here := make([]runs, len(legs))
		for i, leg := range legs {
			here[i] = leg.cut(at-off, end-at)
			if i > 0 && !sync {
				here[i] = here[i].doubted("not in sync")
			}
		}
		if out = out.add(best(here...)...); len(out) > maxRuns {
			return nil, errTooMany
		}
		at = end
	}
	return out, nil
}

// best takes each byte from the list that has it for sure, or at least has it; the first of
// equals. All lists have the same size.
func best(lists ...runs) (out runs) {
	if lists[0].clean() {
		return lists[0]
	}
	lists = slices.Clone(lists)
	for i := range lists {
		lists[i] = slices.Clone(lists[i])
	}
	for len(lists[0]) > 0 {
		pick, n := lists[0][0], lists[0][0].n
		for _, rs := range lists[1:] {
			n = min(n, rs[0].n)
			if pick.worse(rs[0]) {
				pick = rs[0]
			}
		}
		pick.n = n
		out = out.add(pick)
		for i, rs := range lists {
			if rs[0].n -= n; rs[0].n == 0 {
				lists[i] = rs[1:]
				continue
			}
			rs[0].off += n
		}
	}
	return out
}

// layer is runs over which others are laid in ascending order.
type layer struct {
	runs
	off  int64 // of the first byte
	all  int64 // bytes in runs
	out  runs
	next int   // run that begins at or holds at
	at   int64 // bytes in out
	in   int64 // bytes of the next run that are in out, or covered
}

// take moves runs up to byte to to out, or drops them.
func (l *layer) take(to int64, drop bool) {
	for l.at < to && l.next < len(l.runs) {
		r := l.runs[l.next]
		n := min(r.n-l.in, to-l.at)
		if r.on != nil {
			r.off += l.in
		}
		full := r.n-l.in == n
		r.n = n
		if !drop {
			l.out = l.out.add(r)
		}
		l.at += n
		if l.in += n; full {
			l.next, l.in = l.next+1, 0
		}
	}
}

// put lays n bytes over the runs from byte start on, both as the layer's target counts them.
// of gives n bytes of them from skip on.
func (l *layer) put(start, n int64, of func(skip, n int64) (runs, error)) error {
	lo, hi := max(start-l.off, 0), min(start+n-l.off, l.all)
	if lo >= hi || lo < l.at {
		return nil
	}
	l.take(lo, false)
	rs, err := of(lo+l.off-start, hi-lo)
	if err != nil {
		return err
	}
	l.take(hi, true)
	if l.out = l.out.add(rs...); len(l.out) > maxRuns {
		return errTooMany
	}
	return nil
}

// done gives all of it.
func (l *layer) done() (runs, error) {
	l.take(l.all, false)
	return l.out, nil
}
