// Package verify reads all legs of RAID LVs and of mirrors and tells where mirrors or parity disagree, and
// which leg is then likely to be wrong.
//
// All offsets and lengths are bytes.
package verify

import (
	"context"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Mismatch is a range in which the legs of an array do not fit together.
type Mismatch struct {
	LV string // the RAID LV, visible or hidden

	// Off and Len are the bytes of that LV that may be wrong. If the liar is known they are
	// the ones that stand on it, none when it has parity there; else all of the stripes.
	Off, Len int64

	// LegOff and LegLen are the range in which the legs disagree, the same on each leg, from
	// the start of its image LV, or of what a mirror has of its leg. Of a raid10 that spreads its copies it is where the liar has
	// it, or the first copy.
	LegOff, LegLen int64

	// Liar is the leg that its own checksums or all others speak against; else -1. That takes
	// integrity, raid6 or three copies. Suspect is the name of its image LV, or "".
	Liar    int
	Suspect string
}

// Totals sums up what was read, in bytes of all legs.
type Totals struct {
	Arrays    int   // RAID LVs and mirrors found
	Checked   int64 // bytes that were compared
	Unchecked int64 // bytes that could not be: bad, stale, or never in sync
	Wrong     int64 // of Checked, the bytes in mismatches
}

// Run checks every RAID LV and mirror that a plan stands on, and reports mismatches leg by leg
// offset, each as long as it goes on. progress, which may be nil, is told the bytes of all
// legs that are done, and how many there are in all.
func Run(ctx context.Context, p *activate.Plan, progress func(done, total int64), report func(Mismatch)) (Totals, error) {
	var t Totals
	var checks []*checker
	var total int64
	walk(p.Root, map[*activate.Volume]bool{}, func(v *activate.Volume, s activate.Segment, r activate.RAID) {
		t.Arrays++
		for _, part := range r.Parts {
			if part.Layout.Parity() == 0 && part.Layout.Copies() == 1 {
				continue
			}
			c := &checker{ctx: ctx, lv: v.LV.Name, base: s.Off, array: r, part: part, layout: part.Layout, totals: &t, report: report}
			total += c.total()
			checks = append(checks, c)
		}
	})
	for _, c := range checks {
		c.progress = func() {
			if progress != nil {
				progress(min(t.Checked+t.Unchecked, total), total)
			}
		}
		if err := c.check(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// walk finds the RAID and mirror segments below a volume, each once.
func walk(v *activate.Volume, seen map[*activate.Volume]bool, visit func(*activate.Volume, activate.Segment, activate.RAID)) {
	if seen[v] {
		return
	}
	seen[v] = true
	for _, s := range v.Segments {
		switch t := s.Target.(type) {
		case activate.RAID:
			visit(v, s, t)
		case activate.Mirror:
			visit(v, s, asRAID(t, s.Len))
		}
		for _, in := range s.Target.Inputs() {
			if in.Volume != nil {
				walk(in.Volume, seen, visit)
			}
		}
	}
}

// mostMarks bounds how many runs of regions that are not in sync are kept apart.
const mostMarks = 1 << 20

// asRAID gives a mirror of n bytes as raid1, of which only the regions count that its log calls
// in sync.
func asRAID(t activate.Mirror, n int64) activate.RAID {
	r := activate.RAID{Parts: []activate.Part{{Len: n, Layout: dmraid.Layout{Level: 1, Devices: len(t.Legs)}}}}
	var marks []block.Extent
	for at := int64(0); at < n; {
		sync, end := false, n
		if t.Log != nil {
			var regions int64
			sync, regions = t.Log.Run(at / t.RegionSize)
			end = min(n, (at/t.RegionSize+regions)*t.RegionSize)
		}
		if len(marks) == mostMarks {
			sync, end = false, n
		}
		if !sync {
			marks = append(marks, block.Extent{Off: at, Len: end - at, State: block.Doubtful, Why: t.Unsynced})
		}
		at = end
	}
	for _, in := range t.Legs {
		r.Legs = append(r.Legs, activate.Leg{Image: in, Size: n, Marks: marks})
	}
	return r
}

// checker works on one part of an array.
type checker struct {
	ctx    context.Context
	lv     string
	base   int64 // of the segment in the LV
	array  activate.RAID
	part   activate.Part
	layout dmraid.Layout // of the part
	totals *Totals

	report   func(Mismatch)
	progress func()

	legs []block.Device
	last Mismatch // not yet reported, since it may go on
}

const windowSize = 4 << 20 // bytes of all legs read at once

// total is how many bytes of all legs are compared.
func (c *checker) total() int64 {
	if c.layout.Spreads() {
		return c.part.Len * int64(c.layout.Copies())
	}
	lo, hi := c.legRange()
	return (hi - lo) * int64(c.layout.Devices)
}

func (c *checker) check() error {
	c.legs = volume.OpenLegs(c.array, c.part)
	if c.layout.Spreads() {
		return c.checkSpread()
	}
	lo, hi := c.legRange()
	step := max(windowSize/int64(len(c.legs)), block.SectorSize) / block.SectorSize * block.SectorSize
	for ; lo < hi; lo += step {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.window(lo, min(lo+step, hi)); err != nil {
			return err
		}
		c.progress()
	}
	c.flush()
	return nil
}

// legRange is what the part takes of each leg, in whole rows.
func (c *checker) legRange() (lo, hi int64) {
	if c.layout.Level == 1 {
		return c.part.Off, c.part.Off + c.part.Len
	}
	row := c.layout.Chunk * int64(c.layout.Columns())
	return c.part.Off / row * c.layout.Chunk, ((c.part.Off+c.part.Len-1)/row + 1) * c.layout.Chunk
}

// window reads [lo, hi) of all legs and compares sector by sector what could be read.
func (c *checker) window(lo, hi int64) error {
	w := newWindow(lo, hi)
	for i, leg := range c.legs {
		if err := w.read(i, leg, lo); err != nil {
			return err
		}
	}
	sectors := c.compareParity
	if c.layout.Copies() > 1 {
		sectors = c.compareCopies
	}
	for at := lo; at < hi; {
		end := hi
		if c.layout.Level != 1 {
			end = min(hi, (at/c.layout.Chunk+1)*c.layout.Chunk)
		}
		sectors(w, at, end)
		at = end
	}
	c.addLies(w)
	return nil
}

// window is a part of all legs as it was read.
type window struct {
	lo, n  int64
	legs   [][]byte
	unsure []bool // by sector: some leg has nothing certain there
	lied   []bool // by sector: so it is because of a leg's own checksums
	lies   []lie
}

// lie is a range that a leg's own checksums speak against.
type lie struct {
	leg    int
	lo, hi int64
}

func newWindow(lo, hi int64) *window {
	sectors := (hi - lo + block.SectorSize - 1) / block.SectorSize
	return &window{lo: lo, n: hi - lo, unsure: make([]bool, sectors), lied: make([]bool, sectors)}
}

// read reads the window from a leg, where it begins at byte at.
func (w *window) read(leg int, dev block.Device, at int64) error {
	buf := make([]byte, w.n)
	w.legs = append(w.legs, buf)
	return block.ReadRange(dev, buf, at, func(e block.Extent) {
		e.Off += w.lo - at
		switch {
		case e.State == block.Bad && e.Why == volume.WrongChecksum:
			w.lies = append(w.lies, lie{leg, e.Off, e.End()})
			w.set(w.lied, e)
		case !e.State.Sure():
			w.set(w.unsure, e)
		}
	})
}

// set notes the sectors that an extent touches.
func (w *window) set(flags []bool, e block.Extent) {
	for s := (e.Off - w.lo) / block.SectorSize; s*block.SectorSize < e.End()-w.lo; s++ {
		flags[s] = true
	}
}

// cut is the part [lo, hi) of each of some legs.
func (w *window) cut(legs [][]byte, lo, hi int64) [][]byte {
	cut := make([][]byte, len(legs))
	for i, l := range legs {
		cut[i] = l[lo-w.lo : hi-w.lo]
	}
	return cut
}

// count adds a sector to the totals, and is false if it cannot be compared.
func (c *checker) count(w *window, at, n int64) bool {
	sector, n := (at-w.lo)/block.SectorSize, n*int64(len(w.legs))
	if w.unsure[sector] && !w.lied[sector] {
		c.totals.Unchecked += n
		return false
	}
	c.totals.Checked += n
	return !w.lied[sector]
}
