package dm

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Arrays are given to the kernel without their metadata LVs: the plan has decided which legs
// count, and without metadata md has no superblock or bitmap to write. It is told not to bring
// the legs in sync either; with raid6 it cannot be told, and does so at 1 KiB a second, into
// fences.
//
// A leg that does not count in full is left out if the others make up for it everywhere: the
// kernel takes no leg sector by sector, as user space does.

// raid puts an array of n bytes together.
func (c *compiler) raid(t activate.RAID, n int64) (Target, error) {
	if len(t.Parts) != 1 {
		return Target{}, fmt.Errorf("a reshape is under way, which the kernel would go on with")
	}
	p := t.Parts[0]
	l := p.Layout
	size := l.LegSize(n)
	legs := make([]runs, l.Devices)
	for i := range legs {
		var err error
		if legs[i], err = c.raidLeg(t.Legs[i], p.DataOffset, size); err != nil {
			return Target{}, err
		}
		legs[i] = legs[i].doubted(t.Doubt)
	}
	clean := countClean(legs)
	switch {
	case l.Level == 0:
		return c.stripes(legs, l.Chunk, n)
	case l.Parity() > 0 && clean >= l.Devices-l.Parity(), l.Level == 1 && clean > 1:
		return c.md(l, legs, n, runs.clean)
	case l.Level == 1: // none can stand in for another
		rs, err := bestLeg(legs)
		if err != nil {
			return Target{}, err
		}
		return c.linear(rs)
	case l.Spreads():
		return c.spread(t, l, legs, n)
	case l.Level == 10:
		return c.mirroredStripes(l, legs, n)
	}
	return c.doubtful(l, legs, n)
}

// bestLeg takes each byte from the best of some copies, if that can be told beforehand.
func bestLeg(legs []runs) (runs, error) {
	rs := best(legs...)
	if len(legs) > 1 && slices.ContainsFunc(rs, func(r run) bool { return r.lossy }) {
		return nil, fmt.Errorf("legs with checksums have lost sectors, and user space takes each sector from the leg that has it")
	}
	return rs, nil
}

// raidLeg gives the runs of size bytes of a leg, from off on, as the plan trusts them.
func (c *compiler) raidLeg(l activate.Leg, off, size int64) (runs, error) {
	if l.Lost != "" {
		return lose(size), nil
	}
	rs, err := c.input(l.Image, off, min(size, max(l.Size-off, 0)))
	if err != nil {
		return nil, err
	}
	rs = rs.add(lose(size - rs.size())...)
	marks := layer{runs: rs, off: off, all: size}
	for _, m := range l.Marks {
		lo, hi := boundary(m.Off, true), boundary(m.End(), false)
		err := marks.put(lo, hi-lo, func(skip, n int64) (runs, error) {
			if m.State == block.Bad {
				return lose(n), nil
			}
			return rs.cut(lo+skip-off, n).doubted(m.Why), nil
		})
		if err != nil {
			return nil, err
		}
	}
	return marks.done()
}

// doubtful puts an array with parity together for which there are not enough clean legs:
// from all that have lost nothing, if these are enough.
func (c *compiler) doubtful(l dmraid.Layout, legs []runs, n int64) (Target, error) {
	whole := func(rs runs) bool { return rs.rank() < rankLossy }
	have, parts := 0, 0
	for _, rs := range legs {
		if whole(rs) {
			have++
		} else if rs.lost() < rs.size() {
			parts++
		}
	}
	switch {
	case have >= l.Devices-l.Parity():
		return c.md(l, legs, n, whole)
	case have+parts >= l.Devices-l.Parity():
		return Target{}, fmt.Errorf("of %d legs %d are there in full, and %d in part: the kernel needs %d in full, while user space takes each sector from the legs that have it",
			l.Devices, have, parts, l.Devices-l.Parity())
	}
	return Target{}, fmt.Errorf("%d of %d legs are there, and %s needs %d: the kernel does not start it, while user space reads what the legs hold",
		have+parts, l.Devices, cmp.Or(l.Name(), "the array"), l.Devices-l.Parity())
}

// md makes the kernel's array of the legs that count.
func (c *compiler) md(l dmraid.Layout, legs []runs, n int64, counts func(runs) bool) (Target, error) {
	params := []Arg{number(sectors(l.Chunk)), word("nosync")}
	if l.Level == 6 {
		params = []Arg{params[0], word("min_recovery_rate"), number(1), word("max_recovery_rate"), number(1)}
	}
	t := Target{Len: sectors(n), Type: "raid", Args: append([]Arg{word(l.Name()), number(int64(len(params)))}, params...)}
	t.Args = append(t.Args, number(int64(len(legs))))
	for _, rs := range legs {
		t.Args = append(t.Args, word("-"))
		if !counts(rs) {
			t.Args = append(t.Args, word("-"))
			continue
		}
		leg, err := c.fence(rs)
		if err != nil {
			return t, err
		}
		t.Args = append(t.Args, Arg{On: leg})
	}
	return t, nil
}

// fenceChunk is the unit in which a fence copies, in bytes: what md mends at once.
const fenceChunk = 4096

// fence makes a writable device of runs, of which what is written goes to scratch space.
func (c *compiler) fence(rs runs) (*Device, error) {
	size := rs.size()
	origin, err := c.plain("leg", rs)
	if err != nil {
		return nil, err
	}
	cow := c.room("cow", (size+fenceChunk-1)/fenceChunk*fenceChunk+1<<20)
	return c.add("fence", &Device{Size: size, Writable: true, Table: []Target{
		{Len: sectors(size), Type: "snapshot", Args: []Arg{{On: origin}, {On: cow}, word("N"), number(sectors(fenceChunk))}},
	}}), nil
}

// room makes a writable device of size bytes of scratch space.
func (c *compiler) room(kind string, size int64) *Device {
	if c.scratch == nil {
		c.scratch = &Scratch{}
	}
	d := c.add(kind, &Device{Size: size, Writable: true, Table: []Target{
		{Len: sectors(size), Type: "linear", Args: []Arg{{On: c.scratch}, number(sectors(c.scratch.Size))}},
	}})
	c.scratch.Size += size
	return d
}
