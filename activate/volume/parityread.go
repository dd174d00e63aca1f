package volume

import (
	"math"
	"slices"

	"github.com/lvrescue/lvrescue/scan/block"
)

// request is a part of a read, and the part [lo, hi) of the legs that it touches: whole
// rows, or a part of one chunk.
type request struct {
	p      []byte
	off    int64 // in the array
	lo, hi int64 // in the legs
}

// ReadAt implements io.ReaderAt.
func (s *parity) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(s.size, p, off)
	if len(p) == 0 {
		return 0, eof
	}
	for n < len(p) {
		r := s.request(p[n:], off+int64(n))
		if s.direct(r) {
			n += len(r.p)
			continue
		}
		m, err := s.repair(r)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// request takes what can be done at once off the start of a read.
func (s *parity) request(p []byte, off int64) request {
	chunk, window := s.layout.Chunk, max(windowSize/int64(len(s.legs)), block.SectorSize)
	row, in := off/s.row(), off%s.row()
	if rest := chunk - off%chunk; chunk > window || int64(len(p)) <= rest {
		n := min(int64(len(p)), rest, window)
		lo := row*chunk + off%chunk
		return request{p[:n], off, lo, lo + n}
	}
	rows := min((in+int64(len(p))-1)/s.row()+1, window/chunk)
	n := min(int64(len(p)), rows*s.row()-in)
	return request{p[:n], off, row * chunk, (row + rows) * chunk}
}

// direct reads straight from the legs. It is false if one does not have all of it for sure.
func (s *parity) direct(r request) bool {
	for _, leg := range s.legs {
		if !sureOf(leg, r.lo, r.hi) {
			return false
		}
	}
	if s.layout.Chunk <= smallChunk && r.hi-r.lo > s.layout.Chunk {
		return s.gather(r)
	}
	chunk, data := s.layout.Chunk, s.data()
	for n := int64(0); n < int64(len(r.p)); {
		off := r.off + n
		row, d, in := off/s.row(), off/chunk%data, off%chunk
		part := r.p[n:min(int64(len(r.p)), n+chunk-in)]
		if m, _ := s.legs[s.layout.Row(row).Device(int(d))].ReadAt(part, row*chunk+in); m < len(part) {
			return false
		}
		n += int64(len(part))
	}
	return true
}

// gather reads small chunks with one read for each leg.
func (s *parity) gather(r request) bool {
	w := windows.Get().(*[]byte)
	defer windows.Put(w)
	if int64(cap(*w)) < r.hi-r.lo {
		*w = make([]byte, r.hi-r.lo)
	}
	b := (*w)[:r.hi-r.lo]
	for leg, dev := range s.legs {
		if n, _ := dev.ReadAt(b, r.lo); n < len(b) {
			return false
		}
		s.scatter(r, leg, b)
	}
	return true
}

// scatter copies the data chunks among a leg's bytes to their places in the read.
func (s *parity) scatter(r request, leg int, b []byte) {
	chunk := s.layout.Chunk
	for lo := r.lo; lo < r.hi; lo += chunk {
		if dst, at := s.place(r, leg, lo, lo+chunk); dst != nil {
			copy(dst, b[at-r.lo:])
		}
	}
}

// place finds the part of the read that stems from [lo, hi) of a leg, which lies in one
// chunk, and the byte of the leg that it begins with; nil when there is none.
func (s *parity) place(r request, leg int, lo, hi int64) (dst []byte, at int64) {
	chunk := s.layout.Chunk
	row := lo / chunk
	d := s.layout.Row(row).DataOf(leg)
	if d < 0 {
		return nil, 0
	}
	shift := (row*s.data()+int64(d))*chunk - row*chunk // from leg to array
	from, to := max(lo+shift, r.off), min(hi+shift, r.off+int64(len(r.p)))
	if from >= to {
		return nil, 0
	}
	return r.p[from-r.off : to-r.off], from - shift
}

// repair reads all legs and computes what some do not have.
func (s *parity) repair(r request) (int, error) {
	w, err := readWindow(s.legs, r.lo, r.hi)
	if err != nil {
		return 0, err
	}
	defer w.close()
	lost := block.BadRangeError{Off: math.MaxInt64}
	w.known(s.sync.Extents(r.lo, r.hi-r.lo), func(k known) bool {
		j := s.judge(k)
		worse := anyWorse(s.legs, k)
		for lo := k.lo; lo < k.hi; {
			hi := min(k.hi, (lo/s.layout.Chunk+1)*s.layout.Chunk)
			for leg := range s.legs {
				if dst, at := s.place(r, leg, lo, hi); dst != nil {
					s.deliver(w, j, leg, dst, at, worse, &lost)
				}
			}
			lo = hi
		}
		return true
	})
	if lost.Off < math.MaxInt64 {
		lost.Doubtful = slices.Clone(lost.Doubtful) // which is the reader's
		return int(lost.Off - r.off), &lost
	}
	return len(r.p), nil
}

// deliver fills dst, which stems from the bytes of a leg at at, or enters the loss. worse says
// that reading has found legs in a worse state than was known, so that what is doubtful now may
// have been called sure.
func (s *parity) deliver(w *window, j judgement, leg int, dst []byte, at int64, worse bool, lost *block.BadRangeError) {
	end := at + int64(len(dst))
	e, without := j.of(leg)
	switch {
	case e.State == block.Bad:
	case without == nil:
		copy(dst, w.at(leg, at, end))
	default:
		chunks := make([][]byte, len(s.legs))
		for i := range chunks {
			chunks[i] = w.at(i, at, end)
		}
		s.layout.Row(at/s.layout.Chunk).Rebuild(dst, chunks, without, leg)
	}
	if e.State != block.Bad && (e.State.Sure() || !worse) {
		return
	}
	row := at / s.layout.Chunk
	off := at + (row*s.data()+int64(s.layout.Row(row).DataOf(leg)))*s.layout.Chunk - row*s.layout.Chunk
	if off < lost.Off {
		*lost = block.BadRangeError{Off: off, Len: end - at, Why: e.Why}
		if e.State != block.Bad {
			lost.Doubtful = dst
		}
	}
}
