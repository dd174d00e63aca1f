package volume

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/lvrescue/lvrescue/scan/block"
)

// known is a run [lo, hi) of the legs of an array over which the state of none changes.
type known struct {
	lo, hi int64
	legs   []block.Extent // State and Why count
}

// lockstep walks [lo, hi) of several sequences of extents at once. The slice legs is used
// again for the next run.
func lockstep(lo, hi int64, seqs []iter.Seq[block.Extent], yield func(known) bool) {
	cursors := make([]*cursor, len(seqs))
	for i, s := range seqs {
		c := &cursor{cur: block.Extent{Off: lo}}
		c.next, c.stop = iter.Pull(s)
		defer c.stop()
		cursors[i] = c
	}
	k := known{legs: make([]block.Extent, len(seqs))}
	for at := lo; at < hi; at = k.hi {
		k.lo, k.hi = at, hi
		for i, c := range cursors {
			c.seek(at)
			k.legs[i] = c.cur
			k.hi = min(k.hi, c.cur.End())
		}
		if !yield(k) {
			return
		}
	}
}

// extentsOf are the sequences of what is known of [lo, hi) of several devices.
func extentsOf(devs []block.Device, lo, hi int64) []iter.Seq[block.Extent] {
	seqs := make([]iter.Seq[block.Extent], len(devs))
	for i, d := range devs {
		seqs[i] = d.Extents(lo, hi-lo)
	}
	return seqs
}

// sureOf tells whether all of [lo, hi) of a device is known to be good.
func sureOf(d block.Device, lo, hi int64) bool {
	for e := range d.Extents(lo, hi-lo) {
		if !e.State.Sure() {
			return false
		}
	}
	return true
}

// lostLegs gives the reason for what several legs have lost at one place.
func lostLegs(array string, legs []block.Extent) string {
	var names, why []string
	for i, e := range legs {
		if e.State == block.Bad {
			names = append(names, fmt.Sprint(i))
			if !slices.Contains(why, e.Why) {
				why = append(why, e.Why)
			}
		}
	}
	if len(names) == 1 {
		return fmt.Sprintf("leg %s of %s is lost here: %s", names[0], array, why[0])
	}
	last := len(names) - 1
	return fmt.Sprintf("legs %s and %s of %s are lost here: %s", strings.Join(names[:last], ", "), names[last], array, strings.Join(why, "; "))
}

// windowSize bounds what is read of all legs of an array at once, in bytes.
const windowSize = 4 << 20

// window is a part [lo, hi) of all legs of an array as it was read.
type window struct {
	lo, hi  int64
	chunks  [][]byte         // by leg
	extents [][]block.Extent // by leg: what came out
	buf     *[]byte
}

var windows = sync.Pool{New: func() any { return new([]byte) }}

// readWindow reads from all legs what can be read. The window must be closed.
func readWindow(legs []block.Device, lo, hi int64) (*window, error) {
	n := int(hi - lo)
	w := &window{lo: lo, hi: hi, buf: windows.Get().(*[]byte)}
	if cap(*w.buf) < n*len(legs) {
		*w.buf = make([]byte, n*len(legs))
	}
	w.chunks, w.extents = make([][]byte, len(legs)), make([][]block.Extent, len(legs))
	for i, leg := range legs {
		w.chunks[i] = (*w.buf)[:cap(*w.buf)][i*n : (i+1)*n]
		err := block.ReadRange(leg, w.chunks[i], lo, func(e block.Extent) { w.extents[i] = append(w.extents[i], e) })
		if err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// worse tells whether reading a leg has found some of [lo, hi) in a worse state than its Extents
// say, when what came out is e: then others count on bytes that are not sure any more.
func worse(leg block.Device, e block.Extent, lo, hi int64) bool {
	if e.State.Sure() {
		return false
	}
	for before := range leg.Extents(lo, hi-lo) {
		if before.State < e.State {
			return true
		}
	}
	return false
}

// anyWorse tells so of any of the legs in a run of a window.
func anyWorse(legs []block.Device, k known) bool {
	for i, leg := range legs {
		if worse(leg, k.legs[i], k.lo, k.hi) {
			return true
		}
	}
	return false
}

func (w *window) close() { windows.Put(w.buf) }

// at is the part [lo, hi) of a leg.
func (w *window) at(leg int, lo, hi int64) []byte { return w.chunks[leg][lo-w.lo : hi-w.lo] }

// known walks the window and what is known besides of the same range.
func (w *window) known(besides iter.Seq[block.Extent], yield func(known) bool) {
	seqs := make([]iter.Seq[block.Extent], len(w.extents), len(w.extents)+1)
	for i, list := range w.extents {
		seqs[i] = sequence(list)
	}
	lockstep(w.lo, w.hi, append(seqs, besides), yield)
}

func sequence(list []block.Extent) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		for _, e := range list {
			if !yield(e) {
				return
			}
		}
	}
}
