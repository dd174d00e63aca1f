package verify

import (
	"bytes"

	"github.com/lvrescue/lvrescue/scan/block"
)

// compareParity holds the parity of a part [lo, hi) of one row against its data.
func (c *checker) compareParity(w *window, lo, hi int64) {
	row := c.layout.Row(lo / c.layout.Chunk)
	chunks := w.cut(w.legs, lo, hi)
	p, q := make([]byte, hi-lo), make([]byte, hi-lo)
	row.SyndromeP(p, chunks)
	if row.Q >= 0 {
		row.SyndromeQ(q, chunks)
	}
	for at := lo; at < hi; at += block.SectorSize {
		end := min(at+block.SectorSize, hi)
		if !c.count(w, at, end-at) {
			continue
		}
		ps, qs := p[at-lo:end-lo], q[at-lo:end-lo]
		if block.AllZero(ps) && block.AllZero(qs) {
			continue
		}
		m := Mismatch{Liar: -1, LegOff: at, LegLen: end - at}
		if row.Q >= 0 {
			m.Liar = row.Liar(ps, qs)
		}
		m.Off, m.Len = c.stripe(at)
		if m.Liar >= 0 {
			m.Len = 0
			if d := row.DataOf(m.Liar); d >= 0 {
				m.Off, m.Len = c.column(at, end, d)
			}
		}
		c.add(m, len(c.legs))
	}
}

// compareCopies holds the copies of a part [lo, hi) of one row against each other.
func (c *checker) compareCopies(w *window, lo, hi int64) {
	n := c.layout.Copies()
	for at := lo; at < hi; at += block.SectorSize {
		end := min(at+block.SectorSize, hi)
		if !c.count(w, at, end-at) {
			continue
		}
		for group := 0; group < len(c.legs); group += n {
			copies := w.cut(w.legs[group:group+n], at, end)
			liar, differ := oddOne(copies)
			if !differ {
				continue
			}
			if liar >= 0 {
				liar += group
			}
			m := Mismatch{Liar: liar, LegOff: at, LegLen: end - at}
			m.Off, m.Len = c.column(at, end, group/n)
			c.add(m, len(c.legs))
		}
	}
}

// oddOne tells whether copies differ, and which one it is if all others agree and are more
// than one; else -1.
func oddOne(copies [][]byte) (liar int, differ bool) {
	votes := func(i int) (n int) {
		for _, o := range copies {
			if bytes.Equal(copies[i], o) {
				n++
			}
		}
		return n
	}
	most := votes(0)
	if most == len(copies) {
		return -1, false
	}
	if len(copies) < 3 {
		return -1, true
	}
	liar = -1
	for i := range copies {
		switch votes(i) {
		case len(copies) - 1:
		case 1:
			if liar >= 0 {
				return -1, true
			}
			liar = i
		default:
			return -1, true
		}
	}
	return liar, true
}

// addLies reports what legs' own checksums speak against.
func (c *checker) addLies(w *window) {
	for _, l := range w.lies {
		for at := l.lo; at < l.hi; {
			m := Mismatch{Liar: l.leg, LegOff: at}
			end := l.hi
			switch {
			case c.layout.Level == 1:
				m.Off, m.Len = at, end-at
			case c.layout.Copies() > 1:
				end = min(end, (at/c.layout.Chunk+1)*c.layout.Chunk)
				m.Off, m.Len = c.column(at, end, l.leg/c.layout.Copies())
			default:
				end = min(end, (at/c.layout.Chunk+1)*c.layout.Chunk)
				if d := c.layout.Row(at / c.layout.Chunk).DataOf(l.leg); d >= 0 {
					m.Off, m.Len = c.column(at, end, d)
				} else {
					m.Off, _ = c.stripe(at)
				}
			}
			m.LegLen = end - at
			c.add(m, len(c.legs))
			at = end
		}
	}
}

// column is where in the array the part [lo, hi) of a leg's chunk lies that is number d in
// its row.
func (c *checker) column(lo, hi int64, d int) (off, n int64) {
	if c.layout.Level == 1 {
		return lo, hi - lo
	}
	chunk := c.layout.Chunk
	row := lo / chunk
	return (row*int64(c.layout.Columns())+int64(d))*chunk + lo - row*chunk, hi - lo
}

// stripe is all that the row of a leg's byte holds of the array.
func (c *checker) stripe(at int64) (off, n int64) {
	n = c.layout.Chunk * int64(c.layout.Columns())
	return at / c.layout.Chunk * n, n
}

// add reports a mismatch between so many legs, given in the part's own terms, together with
// those that it goes on from.
func (c *checker) add(m Mismatch, legs int) {
	c.totals.Wrong += m.LegLen * int64(legs)
	lo, hi := max(m.Off, c.part.Off), min(m.Off+m.Len, c.part.Off+c.part.Len)
	m.LV, m.Off, m.Len = c.lv, c.base+lo, max(hi-lo, 0)
	m.LegOff += c.part.DataOffset
	if m.Liar >= 0 {
		if v := c.array.Legs[m.Liar].Image.Volume; v != nil {
			m.Suspect = v.LV.Name
		}
	}
	l := &c.last
	if l.LegLen > 0 && l.Liar == m.Liar && l.LegOff+l.LegLen == m.LegOff && l.Off <= m.Off && m.Off <= l.Off+l.Len {
		l.LegLen += m.LegLen
		l.Len = max(l.Len, m.Off+m.Len-l.Off)
		return
	}
	c.flush()
	*l = m
}

func (c *checker) flush() {
	if c.last.LegLen > 0 {
		c.report(c.last)
	}
	c.last = Mismatch{}
}
