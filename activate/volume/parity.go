package volume

import (
	"iter"

	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// parity is raid4, raid5 and raid6: rows of chunks, some of which are parity. What a leg
// does not have for sure is computed from the others, sector by sector if need be.
type parity struct {
	layout dmraid.Layout
	legs   []block.Device // of equal size, a multiple of the chunk
	size   int64
	sync   block.Device // of a leg's size: doubtful where parity may not fit the data
}

func (s *parity) Size() int64 { return s.size }

// data is the number of data chunks in a row.
func (s *parity) data() int64 { return int64(s.layout.Columns()) }

// row is the number of bytes in the data chunks of a row.
func (s *parity) row() int64 { return s.layout.Chunk * s.data() }

// judgement is what is known of all legs at one place of a row, and what follows from it.
type judgement struct {
	*parity
	known         []block.Extent // of the legs
	sync          block.Extent   // of their being in sync
	unsures, bads int            // how many legs are
	unsure        []bool         // legs that are bad or doubtful
	bad           []bool
	lost          string // why the data of bad legs is lost; "" when it can be computed
}

// judge takes what lockstep knows of the legs and, behind them, of their being in sync.
func (s *parity) judge(k known) judgement {
	n := len(s.legs)
	flags := make([]bool, 2*n)
	j := judgement{parity: s, known: k.legs[:n], sync: k.legs[n], unsure: flags[:n], bad: flags[n:]}
	for i, e := range j.known {
		if !e.State.Sure() {
			j.unsure[i] = true
			j.unsures++
		}
		if e.State == block.Bad {
			j.bad[i] = true
			j.bads++
		}
	}
	if !s.layout.CanRebuild(j.bads) {
		j.lost = lostLegs(s.layout.Name(), j.known)
	}
	return j
}

// of tells what comes out for the data of one leg. If it has to be computed, without names
// the legs that are left out, else it is nil.
func (j judgement) of(leg int) (e block.Extent, without []bool) {
	own := j.known[leg]
	inSync := j.sync.State.Sure()
	switch {
	case own.State.Sure():
		return own, nil
	case inSync && j.layout.CanRebuild(j.unsures):
		return block.Extent{State: block.Data}, j.unsure
	case own.State == block.Doubtful:
		return own, nil
	case j.layout.CanRebuild(j.unsures):
		return j.sync, j.unsure
	case j.layout.CanRebuild(j.bads):
		return j.firstDoubt(), j.bad
	}
	return block.Extent{State: block.Bad, Why: j.lost}, nil
}

// firstDoubt is the state of the first leg that is doubtful. There is one.
func (j judgement) firstDoubt() block.Extent {
	for i, e := range j.known {
		if j.unsure[i] && !j.bad[i] {
			return e
		}
	}
	return j.sync
}

// everywhere tells what comes out for the data of all legs, if it is the same.
func (j judgement) everywhere() (block.Extent, bool) {
	first, _ := j.of(0)
	for i := range j.known {
		e, _ := j.of(i)
		if e.State.Sure() && first.State.Sure() && e.State != first.State {
			first.State = block.Data
			continue
		}
		if e.State != first.State || e.Why != first.Why {
			return first, false
		}
	}
	return first, true
}

// Extents implements block.Device. Where what is known of the legs does not change over many
// rows, and the same follows for all data, there is one extent for them.
func (s *parity) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		off, end := block.Clip(s.size, off, n)
		if off >= end {
			return
		}
		chunk := s.layout.Chunk
		w := rowWalker{parity: s, yield: func(lo, hi int64, e block.Extent) bool {
			e.Off = max(lo, off)
			e.Len = min(hi, end) - e.Off
			return e.Len <= 0 || yield(e)
		}}
		lo, hi := off/s.row()*chunk, ((end-1)/s.row()+1)*chunk
		seqs := append(extentsOf(s.legs, lo, hi), s.sync.Extents(lo, hi-lo))
		lockstep(lo, hi, seqs, w.walk)
	})
}

// rowWalker turns runs of legs into extents of the array, in the array's order. A row that
// is cut into several runs is kept until it is whole.
type rowWalker struct {
	*parity
	yield func(lo, hi int64, e block.Extent) bool // in bytes of the array
	row   []cut
}

// cut is a part [lo, hi) of a row, in bytes of the legs.
type cut struct {
	lo, hi int64
	judgement
}

func (w *rowWalker) walk(k known) bool {
	chunk := w.layout.Chunk
	k.legs = append([]block.Extent(nil), k.legs...)
	j := w.judge(k)
	for lo := k.lo; lo < k.hi; {
		if lo%chunk == 0 && k.hi-lo >= chunk {
			rows := (k.hi - lo) / chunk
			if !w.rows(lo/chunk, rows, j) {
				return false
			}
			lo += rows * chunk
			continue
		}
		hi := min(k.hi, (lo/chunk+1)*chunk)
		w.row = append(w.row, cut{lo, hi, j})
		if hi%chunk == 0 {
			if !w.cuts(hi/chunk - 1) {
				return false
			}
			w.row = w.row[:0]
		}
		lo = hi
	}
	return true
}

// rows yields whole rows of which the same is known.
func (w *rowWalker) rows(row, n int64, j judgement) bool {
	chunk := w.layout.Chunk
	if e, ok := j.everywhere(); ok {
		return w.yield(row*w.parity.row(), (row+n)*w.parity.row(), e)
	}
	for ; n > 0; n, row = n-1, row+1 {
		w.row = append(w.row[:0], cut{row * chunk, (row + 1) * chunk, j})
		if !w.cuts(row) {
			return false
		}
	}
	w.row = w.row[:0]
	return true
}

// cuts yields a row, chunk by chunk.
func (w *rowWalker) cuts(row int64) bool {
	r := w.layout.Row(row)
	for d := range w.data() {
		leg := r.Device(int(d))
		base := (row*w.data()+d)*w.layout.Chunk - row*w.layout.Chunk
		for _, c := range w.row {
			e, _ := c.of(leg)
			if !w.yield(base+c.lo, base+c.hi, e) {
				return false
			}
		}
	}
	return true
}
