package volume

import (
	"iter"
	"sync"

	"github.com/lvrescue/lvrescue/scan/block"
)

// striped deals chunks to its legs in turn: chunk c lies on leg c%n, in that leg's chunk
// row c/n. Source: drivers/md/dm-stripe.c.
type striped struct {
	legs  []block.Device // of equal size, a multiple of chunk
	chunk int64          // bytes
	size  int64
}

func newStriped(legs []block.Device, chunk int64) *striped {
	return &striped{legs: legs, chunk: chunk, size: legs[0].Size() * int64(len(legs))}
}

func (s *striped) Size() int64 { return s.size }

// row is the number of bytes in one chunk of every leg.
func (s *striped) row() int64 { return s.chunk * int64(len(s.legs)) }

// place translates an offset to a leg, the offset on it, and how many bytes follow there
// without a break.
func (s *striped) place(off int64) (leg int, at, n int64) {
	c, in := off/s.chunk, off%s.chunk
	legs := int64(len(s.legs))
	return int(c % legs), c/legs*s.chunk + in, s.chunk - in
}

// ReadAt implements io.ReaderAt.
func (s *striped) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(s.size, p, off)
	if len(p) == 0 {
		return 0, eof
	}
	for n < len(p) {
		if m := s.readRows(p[n:], off+int64(n)); m > 0 {
			n += m
			continue
		}
		m, err := s.readChunk(p[n:], off+int64(n))
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// readChunk reads up to the end of one chunk.
func (s *striped) readChunk(p []byte, off int64) (int, error) {
	leg, at, run := s.place(off)
	return piece{off, run, s.legs[leg], at}.read(p)
}

const (
	smallChunk = 32 << 10  // below this, a read of each chunk costs more than a copy
	gatherSize = 256 << 10 // bytes read from one leg at once
)

var gatherBuffers = sync.Pool{New: func() any { b := make([]byte, gatherSize); return &b }}

// readRows reads whole rows of small chunks with one read for each leg. It gives 0 where
// there is nothing to gain, and where a leg cannot be read in one piece: chunk by chunk is
// then the way to find out what can.
func (s *striped) readRows(p []byte, off int64) int {
	rows := min(int64(len(p))/s.row(), gatherSize/s.chunk)
	if s.chunk > smallChunk || off%s.row() != 0 || rows < 2 {
		return 0
	}
	buf := gatherBuffers.Get().(*[]byte)
	defer gatherBuffers.Put(buf)
	b := (*buf)[:rows*s.chunk]
	for i, leg := range s.legs {
		if n, _ := leg.ReadAt(b, off/s.row()*s.chunk); n < len(b) {
			return 0
		}
		for r := range rows {
			copy(p[r*s.row()+int64(i)*s.chunk:][:s.chunk], b[r*s.chunk:])
		}
	}
	return int(rows * s.row())
}

// Extents implements block.Device. Where all legs agree over many rows it gives one extent
// for them, else one for each run of chunks.
func (s *striped) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		off, end := block.Clip(s.size, off, n)
		if off >= end {
			return
		}
		firstRow, lastRow := off/s.row(), (end-1)/s.row()
		legs := make([]*cursor, len(s.legs))
		for i, l := range s.legs {
			legs[i] = newCursor(l, firstRow*s.chunk, (lastRow-firstRow+1)*s.chunk)
			defer legs[i].stop()
		}
		emit := func(lo, hi int64, e block.Extent) bool {
			e.Off = max(lo, off)
			e.Len = min(hi, end) - e.Off
			return e.Len <= 0 || yield(e)
		}
		for row := firstRow; row <= lastRow; {
			if rows := s.uniform(legs, row); rows > 0 {
				if !emit(row*s.row(), (row+rows)*s.row(), legs[0].cur) {
					return
				}
				row += rows
				continue
			}
			for i, l := range legs {
				base := (row*int64(len(legs)) + int64(i)) * s.chunk
				for at := row * s.chunk; at < (row+1)*s.chunk; {
					l.seek(at)
					to := min(l.cur.End(), (row+1)*s.chunk)
					if !emit(base+at-row*s.chunk, base+to-row*s.chunk, l.cur) {
						return
					}
					at = to
				}
			}
			row++
		}
	}
}

// uniform counts the whole rows from row on in which all legs have one state and reason.
func (s *striped) uniform(legs []*cursor, row int64) int64 {
	at := row * s.chunk
	rows := int64(1) << 62
	for _, l := range legs {
		l.seek(at)
		if l.cur.State != legs[0].cur.State || l.cur.Why != legs[0].cur.Why {
			return 0
		}
		rows = min(rows, (l.cur.End()-at)/s.chunk)
	}
	return rows
}

// cursor walks a leg's extents forwards.
type cursor struct {
	cur  block.Extent
	next func() (block.Extent, bool)
	stop func()
}

func newCursor(d block.Device, off, n int64) *cursor {
	c := &cursor{cur: block.Extent{Off: off}}
	c.next, c.stop = iter.Pull(d.Extents(off, n))
	return c
}

// seek moves to the extent that holds at, which never lies before an earlier one. Behind
// the last extent everything is bad: a leg that tells nothing has nothing.
func (c *cursor) seek(at int64) {
	for c.cur.End() <= at {
		e, ok := c.next()
		if !ok {
			e = block.Extent{Off: at, Len: 1 << 62, State: block.Bad, Why: "the leg ends here"}
		}
		c.cur = e
	}
}
