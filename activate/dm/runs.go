package dm

// run is a run of bytes that come from one place, or are zeros, or cannot be had.
type run struct {
	n     int64
	on    Node // nil: zeros or an error
	off   int64
	lost  bool // on is nil, and the bytes are not known
	doubt bool // the plan doubts them
	lossy bool // some of them may give errors
}

// goesOn tells whether s goes on where r ends.
func (r run) goesOn(s run) bool {
	return r.on == s.on && r.lost == s.lost && r.doubt == s.doubt && r.lossy == s.lossy && (r.on == nil || r.off+r.n == s.off)
}

// worse tells whether r is worth less than s.
func (r run) worse(s run) bool { return r.rank() > s.rank() }

// rankLossy is the rank of what may give errors anywhere.
const rankLossy = 2

// rank orders runs by what they are worth: the lower the better.
func (r run) rank() int {
	switch {
	case r.lost:
		return 3
	case r.lossy:
		return rankLossy
	case r.doubt:
		return 1
	}
	return 0
}

// runs is a list of runs of which no two neighbours could be one.
type runs []run

// add appends runs.
func (rs runs) add(more ...run) runs {
	for _, r := range more {
		switch last := len(rs) - 1; {
		case r.n <= 0:
		case last >= 0 && rs[last].goesOn(r):
			rs[last].n += r.n
		default:
			rs = append(rs, r)
		}
	}
	return rs
}

// clean tells whether all bytes can be had, beyond doubt.
func (rs runs) clean() bool {
	return rs.rank() == 0
}

// rank is that of the worst run.
func (rs runs) rank() (worst int) {
	for _, r := range rs {
		worst = max(worst, r.rank())
	}
	return worst
}

// size is the number of bytes.
func (rs runs) size() (n int64) {
	for _, r := range rs {
		n += r.n
	}
	return n
}

// lost is the number of bytes that cannot be had.
func (rs runs) lost() (n int64) {
	for _, r := range rs {
		if r.lost {
			n += r.n
		}
	}
	return n
}

// cut is the n bytes from off on.
func (rs runs) cut(off, n int64) (part runs) {
	for _, r := range rs {
		if lo, hi := max(off, 0), min(off+n, r.n); lo < hi {
			c := r
			c.n = hi - lo
			if c.on != nil {
				c.off += lo
			}
			part = part.add(c)
		}
		off -= r.n
	}
	return part
}

// doubted is rs with all of it in doubt if there is a reason.
func (rs runs) doubted(why string) runs {
	if why == "" {
		return rs
	}
	var out runs
	for _, r := range rs {
		r.doubt = r.doubt || !r.lost
		out = out.add(r)
	}
	return out
}
