package dm

import (
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
)

// Without metadata dm-raid starts no raid10. It then takes the layout for one that is to be
// changed, from a number of its own (drivers/md/dm-raid.c: raid_set_alloc stores the raid_type's
// algorithm, rs_reshape_requested finds it unlike the layout that was asked for, and rs_set_cur
// goes back to it), with which md_run fails as it stands for no copies (drivers/md/raid10.c,
// setup_conf). Copies that stand side by side need no raid10: they are stripes over mirrors. For
// other layouts each leg has metadata that is new, in scratch space.

// mirroredStripes deals n bytes to sets of copies. Where a sector of one fails the kernel turns to
// the others of its set.
func (c *compiler) mirroredStripes(l dmraid.Layout, legs []runs, n int64) (Target, error) {
	columns := make([]runs, 0, l.Columns())
	for set := range slices.Chunk(legs, l.Copies()) {
		rs, err := c.copies(set)
		if err != nil {
			return Target{}, err
		}
		columns = append(columns, rs)
	}
	return c.stripes(columns, l.Chunk, n)
}

// copies makes one of copies: raid1 of those that are clean, or of each byte the best.
func (c *compiler) copies(legs []runs) (runs, error) {
	if countClean(legs) < 2 {
		return bestLeg(legs)
	}
	size := legs[0].size()
	t, err := c.md(dmraid.Layout{Level: 1, Devices: len(legs)}, legs, size, runs.clean)
	if err != nil {
		return nil, err
	}
	return runs{{n: size, on: c.add("set", &Device{Size: size, Table: []Target{t}})}}, nil
}

// metaSize is how many bytes of metadata a leg gets: a superblock, and a bitmap of at most 2^21
// bits (drivers/md/dm-raid.c, validate_region_size).
const metaSize = 1 << 20

// spread puts a raid10 together whose copies do not stand side by side.
func (c *compiler) spread(t activate.RAID, l dmraid.Layout, legs []runs, n int64) (Target, error) {
	words, ok := l.Raid10Words()
	size := legs[0].size()
	switch {
	case !ok:
		return Target{}, fmt.Errorf("the kernel's target cannot be told of its layout, %#x", l.Algorithm)
	case len(t.Unsynced) > 0:
		return Target{}, fmt.Errorf("its copies are not in sync everywhere, and the kernel would read any of them")
	case countClean(legs) <= l.Devices-l.Copies():
		return Target{}, fmt.Errorf("of %d legs %d are whole and beyond doubt: user space takes each chunk from the leg that has it", l.Devices, countClean(legs))
	case n*int64(l.Copies()) != size*int64(l.Devices), l.Spread(n).Chunks()*l.Chunk != n:
		return Target{}, fmt.Errorf("its last row of chunks is not full")
	}
	params := []Arg{number(sectors(l.Chunk)), word("nosync")}
	for _, w := range words {
		params = append(params, word(w))
	}
	out := Target{Len: sectors(n), Type: "raid", Args: append([]Arg{word("raid10"), number(int64(len(params)))}, params...)}
	out.Args = append(out.Args, number(int64(len(legs))))
	for _, rs := range legs {
		// all legs have to be there for new metadata
		leg := &Device{Size: size, Table: []Target{{Len: sectors(size), Type: "error"}}}
		if rs.clean() {
			var err error
			if leg, err = c.fence(rs); err != nil {
				return out, err
			}
		} else {
			c.add("lost", leg)
		}
		out.Args = append(out.Args, Arg{On: c.room("meta", metaSize)}, Arg{On: leg})
	}
	return out, nil
}

// countClean is how many legs are whole and beyond doubt.
func countClean(legs []runs) (clean int) {
	for _, rs := range legs {
		if rs.clean() {
			clean++
		}
	}
	return clean
}
