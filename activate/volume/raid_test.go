package volume

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// times is multiplication in the field of RAID6, bit by bit.
func times(a, b byte) (p byte) {
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		a = a<<1 ^ 0x1d*(a>>7)
	}
	return p
}

// encode deals data to the legs of an array, with parity.
func encode(l dmraid.Layout, data []byte) [][]byte {
	legs := make([][]byte, l.Devices)
	for i := range legs {
		legs[i] = make([]byte, l.LegSize(int64(len(data))))
	}
	if l.Copies() > 1 {
		for off, b := range data {
			group, at := 0, off
			if l.Level == 10 {
				chunk, in := off/int(l.Chunk), off%int(l.Chunk)
				group, at = chunk%l.Columns(), chunk/l.Columns()*int(l.Chunk)+in
			}
			for c := range l.Copies() {
				legs[group*l.Copies()+c][at] = b
			}
		}
		return legs
	}
	for off, b := range data {
		chunk, in := int64(off)/l.Chunk, int64(off)%l.Chunk
		row := chunk / int64(l.Columns())
		r := l.Row(row)
		device := r.Device(int(chunk % int64(l.Columns())))
		at := row*l.Chunk + in
		legs[device][at] = b
		if r.P >= 0 {
			legs[r.P][at] ^= b
		}
		if r.Q >= 0 {
			w := byte(1)
			for range r.Exponent(device) {
				w = times(w, 2)
			}
			legs[r.Q][at] ^= times(w, b)
		}
	}
	return legs
}

// fate is what happened to a byte of a leg.
type fate struct {
	state block.State
	why   string
}

// sufferer is an array with marks, and byte by byte what must come out.
func sufferer(t *testing.T, rnd *rand.Rand, l dmraid.Layout, size int64, marksPerLeg int) (block.Device, model) {
	m := model{make([]byte, size), make([]block.State, size), make([]string, size)}
	for i := range m.bytes {
		m.bytes[i] = byte(rnd.Uint32())
	}
	legs := encode(l, m.bytes)
	fates := make([][]fate, l.Devices)
	devs := make([]block.Device, l.Devices)
	for i, leg := range legs {
		fates[i] = make([]fate, len(leg))
		var marks []block.Extent
		for at := rnd.Int64N(int64(len(leg)) + 1); at < int64(len(leg)) && len(marks) < marksPerLeg; {
			mark := block.Extent{Off: at, Len: 1 + rnd.Int64N(int64(len(leg))-at), State: block.Bad, Why: fmt.Sprintf("reason %d", i)}
			if rnd.IntN(2) == 0 {
				mark.State = block.Doubtful
			}
			marks = append(marks, mark)
			for b := mark.Off; b < mark.End(); b++ {
				fates[i][b] = fate{mark.State, mark.Why}
				if mark.State == block.Bad {
					leg[b] = 0xEE // what is bad must not be used
				}
			}
			at = mark.End() + rnd.Int64N(int64(len(leg)))
		}
		var err error
		devs[i], err = block.NewOverlay(memory(leg), marks)
		require.NoError(t, err)
	}
	unsynced := rnd.Int64N(2 * int64(len(legs[0])))
	sync := []block.Extent{{Off: unsynced, Len: int64(len(legs[0])) + 1, State: block.Doubtful, Why: "unsynced"}}
	for off := range size {
		f := expected(l, fates, off, unsynced)
		m.state[off], m.why[off] = f.state, f.why
	}
	part := activate.Part{Len: size, Layout: l}
	return openArray(part, devs, sync), m
}

// expected is the fate of a byte of an array.
func expected(l dmraid.Layout, legs [][]fate, off, unsynced int64) fate {
	var row []fate // of all legs that have a part in the byte
	own, at := 0, off
	switch {
	case l.Level == 1:
		row = column(legs, off)
	case l.Level == 10:
		chunk := off / l.Chunk
		group := int(chunk) % l.Columns() * l.Copies()
		row = column(legs[group:group+l.Copies()], chunk/int64(l.Columns())*l.Chunk+off%l.Chunk)
	default:
		chunk := off / l.Chunk
		r := chunk / int64(l.Columns())
		own, at = l.Row(r).Device(int(chunk%int64(l.Columns()))), r*l.Chunk+off%l.Chunk
		row = column(legs, at)
	}
	var bad, doubtful []int
	for i, f := range row {
		switch f.state {
		case block.Bad:
			bad = append(bad, i)
		case block.Doubtful:
			doubtful = append(doubtful, i)
		}
	}
	lost := func() fate {
		if len(bad) == 1 {
			return fate{block.Bad, fmt.Sprintf("leg %d of %s is lost here: %s", bad[0], l.Name(), row[bad[0]].why)}
		}
		names, whys := "", ""
		for i, b := range bad {
			names += [...]string{"", ", ", " and "}[min(i, 1)+btoi(i > 0 && i == len(bad)-1)] + fmt.Sprint(b)
			whys += [...]string{"", "; "}[min(i, 1)] + row[b].why
		}
		return fate{block.Bad, fmt.Sprintf("legs %s of %s are lost here: %s", names, l.Name(), whys)}
	}
	if l.Copies() > 1 {
		switch {
		case len(bad)+len(doubtful) < len(row):
			return fate{}
		case len(doubtful) > 0:
			return row[doubtful[0]]
		}
		return lost()
	}
	switch spare := l.Parity(); {
	case row[own].state == block.Data:
		return fate{}
	case len(bad)+len(doubtful) <= spare && at < unsynced:
		return fate{}
	case row[own].state == block.Doubtful:
		return row[own]
	case len(bad)+len(doubtful) <= spare:
		return fate{block.Doubtful, "unsynced"}
	case len(bad) <= spare:
		return row[doubtful[0]]
	}
	return lost()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func column(legs [][]fate, at int64) (row []fate) {
	for _, l := range legs {
		row = append(row, l[at])
	}
	return row
}

var layouts = []string{"raid0", "raid1", "raid10", "raid4", "raid5_ls", "raid5_la", "raid5_rs", "raid5_ra", "raid5_n",
	"raid6_zr", "raid6_nr", "raid6_nc", "raid6_ls_6", "raid6_la_6", "raid6_rs_6", "raid6_ra_6", "raid6_n_6"}

func TestRAIDAgainstModel(t *testing.T) {
	for _, name := range layouts {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(7, uint64(len(name))))
			for round := range 12 {
				l, err := dmraid.LayoutOf(name, []int{4, 6}[round%2], 2, 512<<(round%3))
				require.NoError(t, err)
				size := l.Chunk*int64(l.Columns())*4 - int64(round%2)*512
				dev, m := sufferer(t, rnd, l, size, round%4)
				require.Equal(t, size, dev.Size())
				checkRead(t, dev, m, 0, size)
				checkExtents(t, dev, m, 0, size)
				for range 6 {
					off := rnd.Int64N(size)
					n := rnd.Int64N(size-off) + 1
					checkRead(t, dev, m, off, n)
					checkExtents(t, dev, m, off, n)
				}
			}
		})
	}
}

// TestRAIDOverTerabytes: where the same is known of the legs all over, so it is of the array,
// in one extent.
func TestRAIDOverTerabytes(t *testing.T) {
	const size = 1 << 40
	for level, lost := range map[string]int{"raid1": 1, "raid10": 1, "raid4": 1, "raid5_ls": 1, "raid6_nr": 2} {
		l, err := dmraid.LayoutOf(level, 6, 2, 64<<10)
		require.NoError(t, err)
		legs := make([]block.Device, l.Devices)
		for i := range legs {
			legs[i] = block.NewDoubtful(block.NewZero(l.LegSize(size)), "old")
			if i < lost {
				legs[i] = block.NewBad(l.LegSize(size), "lost")
			}
		}
		array := openArray(activate.Part{Len: size, Layout: l}, legs, nil)
		extents := slices.Collect(array.Extents(0, size))
		require.Equal(t, []block.Extent{{Len: size, State: block.Doubtful, Why: "old"}}, extents, level)
	}
}

// BenchmarkRAID reads arrays over legs in memory, 1 MiB at a time, healthy and without some
// legs.
func BenchmarkRAID(b *testing.B) {
	for _, c := range []struct {
		level   string
		devices int
		chunk   int64
		lost    []int
	}{
		{"raid5_ls", 5, 64 << 10, nil},
		{"raid5_ls", 5, 4 << 10, nil},
		{"raid5_ls", 5, 64 << 10, []int{1}},
		{"raid6_zr", 6, 64 << 10, nil},
		{"raid6_zr", 6, 64 << 10, []int{1}},
		{"raid6_zr", 6, 64 << 10, []int{1, 2}},
		{"raid6_zr", 6, 4 << 10, []int{1, 2}},
		{"raid10", 4, 64 << 10, []int{1}},
	} {
		b.Run(fmt.Sprintf("%s chunk%dk without %v", c.level, c.chunk>>10, c.lost), func(b *testing.B) {
			l, err := dmraid.LayoutOf(c.level, c.devices, 2, c.chunk)
			require.NoError(b, err)
			const size = 64 << 20
			legs := make([]block.Device, l.Devices)
			for i := range legs {
				legs[i] = memory(make([]byte, l.LegSize(size)))
			}
			for _, i := range c.lost {
				legs[i] = block.NewBad(l.LegSize(size), "missing")
			}
			dev := openArray(activate.Part{Len: size, Layout: l}, legs, nil)
			p := make([]byte, 1<<20)
			b.SetBytes(int64(len(p)))
			for i := 0; b.Loop(); i++ {
				if _, err := dev.ReadAt(p, int64(i)<<20%size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
