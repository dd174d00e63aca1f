package volume

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// reluctant is a leg whose medium refuses to read some sectors, of which nothing is known before.
type reluctant struct {
	block.Device
	refuses []bool // by sector
}

func (d *reluctant) ReadAt(p []byte, off int64) (int, error) {
	for at := off; at < off+int64(len(p)); at += block.SectorSize - at%block.SectorSize {
		if d.refuses[at/block.SectorSize] {
			n, _ := d.Device.ReadAt(p[:at-off], off)
			return n, &block.BadRangeError{Off: at, Len: off + int64(len(p)) - at, Why: "refused", Coarse: true}
		}
	}
	return d.Device.ReadAt(p, off)
}

// tried is an array of which legs are doubtful, wrong at that, and refuse reads.
func tried(t *testing.T, rnd *rand.Rand, l dmraid.Layout, size int64) (block.Device, []byte, [][]fate) {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	devs := make([]block.Device, l.Devices)
	fates := make([][]fate, l.Devices)
	for i, leg := range encode(l, data) {
		fates[i] = make([]fate, len(leg))
		sectors := (len(leg) + block.SectorSize - 1) / block.SectorSize
		refuses := make([]bool, sectors)
		var marks []block.Extent
		for s := range sectors {
			lo, hi := s*block.SectorSize, min((s+1)*block.SectorSize, len(leg))
			f := fate{}
			switch rnd.IntN(8) {
			case 0:
				refuses[s], f = true, fate{block.Bad, "refused"}
			case 1:
				f = fate{block.Doubtful, fmt.Sprintf("leg %d is old", i)}
				marks = append(marks, block.Extent{Off: int64(lo), Len: int64(hi - lo), State: f.state, Why: f.why})
				for b := lo; b < hi; b++ {
					leg[b] ^= 0x55
				}
			}
			for b := lo; b < hi; b++ {
				fates[i][b] = f
			}
		}
		var err error
		devs[i], err = block.NewOverlay(&reluctant{memory(leg), refuses}, marks)
		require.NoError(t, err)
	}
	return openArray(activate.Part{Len: size, Layout: l}, devs, nil), data, fates
}

// TestRefusedReads: where a leg turns out to be unreadable only when it is read, nothing that was
// called sure is made up for by a doubtful leg, unless it is said to be doubtful then.
func TestRefusedReads(t *testing.T) {
	for _, name := range layouts {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(9, uint64(len(name))))
			for round := range 24 {
				l, err := dmraid.LayoutOf(name, []int{4, 6}[round%2], 2, 512<<(round%4))
				require.NoError(t, err)
				size := l.Chunk*int64(l.Columns())*4 - int64(round%2)*512
				dev, data, fates := tried(t, rnd, l, size)
				for range 4 {
					off := rnd.Int64N(size)
					checkRefused(t, dev, l, data, fates, off, rnd.Int64N(size-off)+1)
				}
				checkRefused(t, dev, l, data, fates, 0, size)
			}
		})
	}
}

func checkRefused(t *testing.T, dev block.Device, l dmraid.Layout, data []byte, fates [][]fate, off, n int64) {
	p := make([]byte, n)
	require.NoError(t, block.ReadRange(dev, p, off, func(e block.Extent) {
		for at := e.Off; at < e.End(); at++ {
			if want := expected(l, fates, at, int64(len(data))); e.State != want.state && !(e.State.Sure() && want.state.Sure()) {
				require.Failf(t, "state", "byte %d is %s (%s), want %s (%s)", at, e.State, e.Why, want.state, want.why)
			}
			if e.State.Sure() && p[at-off] != data[at] {
				require.Failf(t, "wrong", "byte %d, which is called sure", at)
			}
		}
	}))
	called := make([]bool, n) // sure, before anything is read
	for e := range dev.Extents(off, n) {
		for at := e.Off; at < e.End(); at++ {
			called[at-off] = e.State.Sure()
		}
	}
	got, _ := dev.ReadAt(p, off)
	for i := range got {
		if called[i] && p[i] != data[off+int64(i)] {
			require.Failf(t, "wrong", "byte %d of a plain read, which was called sure", off+int64(i))
		}
	}
}
