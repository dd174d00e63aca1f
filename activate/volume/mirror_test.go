package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata/dmmirror"
	"github.com/lvrescue/lvrescue/scan/block"
)

// mirrorLog makes the log of regions that are in sync or not.
func mirrorLog(t *testing.T, sync []bool) *dmmirror.Log {
	b := make([]byte, 1024+len(sync)/8+1)
	copy(b, "rRiM\x02\x00\x00\x00")
	binary.LittleEndian.PutUint64(b[8:], uint64(len(sync)))
	for i, s := range sync {
		if s {
			b[1024+i/8] |= 1 << (i % 8)
		}
	}
	l, err := dmmirror.Read(bytes.NewReader(b), int64(len(sync)))
	require.NoError(t, err)
	return l
}

// randomMarks gives up to n bad and doubtful ranges of a device.
func randomMarks(rnd *rand.Rand, size int64, n int, why string) (marks []block.Extent) {
	for at := rnd.Int64N(size + 1); at < size && len(marks) < n; at += 1 + rnd.Int64N(size) {
		m := block.Extent{Off: at, Len: 1 + rnd.Int64N(size-at)/2, State: block.Bad, Why: why}
		if rnd.IntN(2) == 0 {
			m.State = block.Doubtful
		}
		marks = append(marks, m)
		at = m.End()
	}
	return marks
}

// stateAt looks a byte up in marks.
func stateAt(marks []block.Extent, at int64) block.Extent {
	for _, m := range marks {
		if m.Off <= at && at < m.End() {
			return m
		}
	}
	return block.Extent{}
}

// mirrored makes a mirror of random legs, and the model of what it must give.
func mirrored(t *testing.T, rnd *rand.Rand, legs int, region int64, regions int) (*mirror, model) {
	size := region*int64(regions) - rnd.Int64N(region)
	sync := make([]bool, regions)
	for i := range sync {
		sync[i] = rnd.IntN(3) > 0
	}
	mi := &mirror{region: region, unsynced: "not in sync"}
	if rnd.IntN(5) == 0 {
		clear(sync)
	} else {
		mi.log = mirrorLog(t, sync)
	}
	m := model{make([]byte, size), make([]block.State, size), make([]string, size)}
	for i := range size {
		m.state[i] = block.Bad
	}
	for leg := range legs {
		data := make(memory, size)
		marks := randomMarks(rnd, size, 6, fmt.Sprintf("leg %d", leg))
		for at := range size {
			inSync := sync[at/region]
			if data[at] = byte(at*7 + at>>8); !inSync {
				data[at] += byte(leg)
			}
			e := stateAt(marks, at)
			if leg > 0 && !inSync {
				e = doubt(e, mi.unsynced)
			}
			if leg == 0 || cost(e.State) < cost(m.state[at]) {
				m.bytes[at], m.state[at], m.why[at] = data[at], e.State, e.Why
			}
		}
		dev, err := block.NewOverlay(data, marks)
		require.NoError(t, err)
		mi.legs = append(mi.legs, dev)
	}
	return mi, m
}

func TestMirrorAgainstModel(t *testing.T) {
	for legs := 1; legs <= 4; legs++ {
		t.Run(fmt.Sprintf("%d legs", legs), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(2, uint64(legs)))
			for range 60 {
				mi, m := mirrored(t, rnd, legs, 64<<rnd.IntN(4), 1+rnd.IntN(40))
				for range 20 {
					off := rnd.Int64N(mi.Size())
					n := rnd.Int64N(mi.Size()-off) + 1
					checkRead(t, mi, m, off, n)
					checkExtents(t, mi, m, off, n)
				}
				checkRead(t, mi, m, 0, mi.Size())
				checkExtents(t, mi, m, 0, mi.Size())
			}
		})
	}
}

// disk is a device that finds out about its bad sectors only when it is read, and then
// refuses all of a request, as disks do.
type disk struct {
	memory
	bad map[int64]bool // by sector
}

func (d disk) ReadAt(p []byte, off int64) (int, error) {
	for s := off / block.SectorSize; s*block.SectorSize < off+int64(len(p)); s++ {
		if d.bad[s] {
			return 0, &block.BadRangeError{Off: off, Len: int64(len(p)), Why: "medium error", Coarse: true}
		}
	}
	return d.memory.ReadAt(p, off)
}

// TestMirrorHealsWhatTheMediumRefuses: sectors that turn out bad only when they are read
// come from another leg, but only where the legs are in sync.
func TestMirrorHealsWhatTheMediumRefuses(t *testing.T) {
	const regions, region, sectors = 8, 4096, 64
	data := make(memory, regions*region)
	for i := range data {
		data[i] = byte(i * 11 >> 3)
	}
	sync := []bool{true, true, true, true, false, true, true, true} // sectors 32-39 are not
	for _, c := range []struct {
		name string
		bad  [3][]int64 // sectors of each leg
		want []int64    // sectors lost
	}{
		{name: "one leg", bad: [3][]int64{{1, 2, 30}}},
		{name: "much of one leg", bad: [3][]int64{{0, 3, 9, 15, 23, 31, 41, 48, 56, 63}}},
		{name: "each leg elsewhere", bad: [3][]int64{{1, 50}, {2, 51}, {1, 2, 52}}},
		{name: "all legs at one place", bad: [3][]int64{{9, 10}, {9, 11}, {9, 12}}, want: []int64{9}},
		{name: "out of sync", bad: [3][]int64{{33}, nil, nil}, want: []int64{33}},
		{name: "the others out of sync", bad: [3][]int64{{5}, {32, 33}, {32}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &mirror{region: region, log: mirrorLog(t, sync), unsynced: "not in sync"}
			for _, bad := range c.bad {
				d := disk{data, map[int64]bool{}}
				for _, s := range bad {
					d.bad[s] = true
				}
				m.legs = append(m.legs, d)
			}
			p := make([]byte, len(data))
			var lost []int64
			require.NoError(t, block.ReadRange(m, p, 0, func(e block.Extent) {
				require.NotEqual(t, block.Doubtful, e.State)
				if e.State == block.Bad {
					for s := e.Off / block.SectorSize; s < e.End()/block.SectorSize; s++ {
						lost = append(lost, s)
					}
					return
				}
				require.True(t, bytes.Equal(data[e.Off:e.End()], p[e.Off:e.End()]), "bytes %d-%d", e.Off, e.End())
			}))
			require.Equal(t, c.want, lost)
		})
	}
}

// closed is a device that is not there any more.
type closed struct{ memory }

var errClosed = errors.New("closed")

func (closed) ReadAt([]byte, int64) (int, error) { return 0, errClosed }

func TestMirrorPassesOtherErrorsOn(t *testing.T) {
	m := &mirror{legs: []block.Device{closed{make(memory, 64)}, make(memory, 64)}, region: 64, log: mirrorLog(t, []bool{true})}
	_, err := m.ReadAt(make([]byte, 8), 0)
	require.ErrorIs(t, err, errClosed)
}

func TestMirrorUniformLegsGiveOneExtent(t *testing.T) {
	sync := make([]bool, 1000)
	for i := range sync {
		sync[i] = i%2 == 0
	}
	m := &mirror{legs: []block.Device{make(memory, 512000), make(memory, 512000)}, region: 512, log: mirrorLog(t, sync)}
	require.Equal(t, 1, count(m.Extents(0, m.Size())))
}

func count(seq iter.Seq[block.Extent]) (n int) {
	for range seq {
		n++
	}
	return n
}

func BenchmarkMirror(b *testing.B) {
	m := &mirror{legs: []block.Device{make(memory, 64<<20), make(memory, 64<<20)}, region: 512 << 10}
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		if _, err := m.ReadAt(p, int64(i)%64<<20); err != nil {
			b.Fatal(err)
		}
	}
}
