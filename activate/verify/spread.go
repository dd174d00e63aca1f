package verify

import (
	"github.com/lvrescue/lvrescue/scan/block"
)

// checkSpread compares the copies of each chunk of a raid10 that spreads them.
func (c *checker) checkSpread() error {
	end := c.part.Off + c.part.Len
	layout, chunk := c.layout.Spread(end), c.layout.Chunk
	end = min(end, layout.Chunks()*chunk)
	unsynced, err := block.NewOverlay(block.NewZero(end), c.array.Unsynced)
	if err != nil {
		return err
	}
	for at := c.part.Off / chunk * chunk; at < end; at += chunk {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		places := layout.Places(at / chunk)
		w := newWindow(at, min(at+chunk, end))
		for _, p := range places {
			if err := w.read(p.Device, c.legs[p.Device], p.Off); err != nil {
				return err
			}
		}
		for e := range unsynced.Extents(at, w.n) {
			if e.State == block.Doubtful {
				w.set(w.unsure, e)
			}
		}
		c.compareSpread(w, func(i int, at int64) (leg int, legOff int64) {
			return places[i].Device, places[i].Off + at - w.lo
		})
		c.progress()
	}
	c.flush()
	return nil
}

// compareSpread holds the copies of a chunk against each other. place tells where copy i has
// a byte of the array.
func (c *checker) compareSpread(w *window, place func(i int, at int64) (leg int, legOff int64)) {
	report := func(i int, lo, hi int64) {
		m := Mismatch{Liar: -1, Off: lo, Len: hi - lo, LegLen: hi - lo}
		m.Liar, m.LegOff = place(max(i, 0), lo)
		if i < 0 {
			m.Liar = -1
		}
		c.add(m, len(w.legs))
	}
	for at := w.lo; at < w.lo+w.n; at += block.SectorSize {
		end := min(at+block.SectorSize, w.lo+w.n)
		if !c.count(w, at, end-at) {
			continue
		}
		if liar, differ := oddOne(w.cut(w.legs, at, end)); differ {
			report(liar, at, end)
		}
	}
	for _, l := range w.lies {
		for i := range w.legs {
			if leg, _ := place(i, l.lo); leg == l.leg {
				report(i, l.lo, l.hi)
			}
		}
	}
}
