// Package verify reads all legs of RAID LVs and tells where mirrors or parity disagree, and
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
	// the start of its image LV.
	LegOff, LegLen int64

	// Liar is the leg that all others speak against, which takes raid6 or three copies;
	// otherwise -1. Suspect is the name of its image LV, or "".
	Liar    int
	Suspect string
}

// Totals sums up what was read, in bytes of all legs.
type Totals struct {
	Arrays    int   // RAID LVs found
	Checked   int64 // bytes that were compared
	Unchecked int64 // bytes that could not be: bad, stale, or never in sync
	Wrong     int64 // of Checked, the bytes in mismatches
}

// Run checks every RAID LV that a plan stands on, and reports mismatches leg by leg
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
			lo, hi := c.legRange()
			total += (hi - lo) * int64(part.Layout.Devices)
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

// walk finds the RAID segments below a volume, each once.
func walk(v *activate.Volume, seen map[*activate.Volume]bool, visit func(*activate.Volume, activate.Segment, activate.RAID)) {
	if seen[v] {
		return
	}
	seen[v] = true
	for _, s := range v.Segments {
		if r, ok := s.Target.(activate.RAID); ok {
			visit(v, s, r)
		}
		for _, in := range s.Target.Inputs() {
			if in.Volume != nil {
				walk(in.Volume, seen, visit)
			}
		}
	}
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

func (c *checker) check() error {
	c.legs = volume.OpenLegs(c.array, c.part)
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
	w := window{lo: lo, unsure: make([]bool, (hi-lo+block.SectorSize-1)/block.SectorSize)}
	for _, leg := range c.legs {
		buf := make([]byte, hi-lo)
		err := block.ReadRange(leg, buf, lo, func(e block.Extent) {
			if e.State == block.Bad || e.State == block.Doubtful {
				w.doubt(e)
			}
		})
		if err != nil {
			return err
		}
		w.legs = append(w.legs, buf)
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
	return nil
}

// window is a part of all legs as it was read.
type window struct {
	lo     int64
	legs   [][]byte
	unsure []bool // by sector: some leg has nothing certain there
}

func (w *window) doubt(e block.Extent) {
	for s := (e.Off - w.lo) / block.SectorSize; s*block.SectorSize < e.End()-w.lo; s++ {
		w.unsure[s] = true
	}
}

// cut is the part [lo, hi) of each of some legs.
func (w window) cut(legs [][]byte, lo, hi int64) [][]byte {
	cut := make([][]byte, len(legs))
	for i, l := range legs {
		cut[i] = l[lo-w.lo : hi-w.lo]
	}
	return cut
}

// count adds a sector to the totals, and is false if it cannot be compared.
func (c *checker) count(w window, at, n int64) bool {
	if w.unsure[(at-w.lo)/block.SectorSize] {
		c.totals.Unchecked += n * int64(len(c.legs))
		return false
	}
	c.totals.Checked += n * int64(len(c.legs))
	return true
}
