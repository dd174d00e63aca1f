package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

// memory is a device of bytes, all of them data.
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	p, eof := block.ClipRead(m.Size(), p, off)
	return copy(p, m[min(off, m.Size()):]), eof
}

func (m memory) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		if lo, hi := block.Clip(m.Size(), off, n); lo < hi {
			yield(block.Extent{Off: lo, Len: hi - lo})
		}
	}
}

// model is what a striped device must be, byte by byte.
type model struct {
	bytes []byte
	state []block.State
	why   []string
}

// stripe makes legs of random bytes and random marks, and the model of what they add up to.
func stripe(t *testing.T, rnd *rand.Rand, legs int, chunk, rows int64) (*striped, model) {
	size := chunk * rows
	m := model{make([]byte, size*int64(legs)), make([]block.State, size*int64(legs)), make([]string, size*int64(legs))}
	devs := make([]block.Device, legs)
	for i := range devs {
		data := make(memory, size)
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		var marks []block.Extent
		for at := rnd.Int64N(size + 1); at < size && len(marks) < 4; at += rnd.Int64N(size) {
			mark := block.Extent{Off: at, Len: 1 + rnd.Int64N(size-at), State: block.Bad, Why: fmt.Sprintf("leg %d", i)}
			if rnd.IntN(2) == 0 {
				mark.State = block.Doubtful
			}
			marks = append(marks, mark)
			at = mark.End()
		}
		dev, err := block.NewOverlay(data, marks)
		require.NoError(t, err)
		devs[i] = dev
		for at := range size {
			above := (at/chunk*int64(legs)+int64(i))*chunk + at%chunk
			m.bytes[above] = data[at]
			for _, k := range marks {
				if k.Off <= at && at < k.End() {
					m.state[above], m.why[above] = k.State, k.Why
				}
			}
		}
	}
	return newStriped(devs, chunk), m
}

func TestStripedAgainstModel(t *testing.T) {
	for _, c := range []struct {
		legs        int
		chunk, rows int64
	}{{2, 512, 1}, {2, 512, 9}, {3, 512, 7}, {4, 1024, 5}, {5, 4096, 4}, {2, 65536, 3}} {
		t.Run(fmt.Sprintf("%d legs, chunk %d", c.legs, c.chunk), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(c.legs)))
			for range 20 {
				s, m := stripe(t, rnd, c.legs, c.chunk, c.rows)
				require.Equal(t, int64(len(m.bytes)), s.Size())
				for range 20 {
					off := rnd.Int64N(s.Size())
					n := rnd.Int64N(s.Size()-off) + 1
					checkRead(t, s, m, off, n)
					checkExtents(t, s, m, off, n)
				}
				checkRead(t, s, m, 0, s.Size())
				checkExtents(t, s, m, 0, s.Size())
			}
		})
	}
}

// checkRead wants the model's bytes up to its first bad one, and an error that names it.
func checkRead(t *testing.T, s block.Device, m model, off, n int64) {
	t.Helper()
	p := make([]byte, n)
	got, err := s.ReadAt(p, off)
	want := n
	for i := range n {
		if m.state[off+i] == block.Bad {
			want = i
			break
		}
	}
	require.Equal(t, want, int64(got))
	require.True(t, bytes.Equal(m.bytes[off:off+want], p[:want]), "bytes at %d+%d", off, n)
	if want == n {
		require.NoError(t, err)
		return
	}
	var bad *block.BadRangeError
	require.True(t, errors.As(err, &bad), "%v", err)
	require.Equal(t, off+want, bad.Off)
	require.Equal(t, m.why[off+want], bad.Why)
	for i := bad.Off; i < bad.Off+bad.Len; i++ {
		require.Equal(t, block.Bad, m.state[i], "byte %d is called bad", i)
	}
}

// checkExtents wants the model's states, gapless and in order.
func checkExtents(t *testing.T, s block.Device, m model, off, n int64) {
	t.Helper()
	at := off
	for e := range s.Extents(off, n) {
		require.Equal(t, at, e.Off)
		require.Positive(t, e.Len)
		for i := e.Off; i < e.End(); i++ {
			if m.state[i] != e.State || m.why[i] != e.Why {
				require.Failf(t, "wrong state", "byte %d is %s (%s), extent says %s (%s)", i, m.state[i], m.why[i], e.State, e.Why)
			}
		}
		at = e.End()
	}
	require.Equal(t, off+n, at)
}

func TestStripedUniformLegsGiveOneExtent(t *testing.T) {
	s := newStriped([]block.Device{memory(make([]byte, 1<<20)), memory(make([]byte, 1<<20))}, 4096)
	var n int
	for range s.Extents(0, s.Size()) {
		n++
	}
	require.Equal(t, 1, n)
}

func TestStripedEnds(t *testing.T) {
	s := newStriped([]block.Device{memory("aabb"), memory("ccdd")}, 2)
	p := make([]byte, 10)
	n, err := s.ReadAt(p, 2)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "ccbbdd", string(p[:n]))
	n, err = s.ReadAt(p, 8)
	require.Equal(t, 0, n)
	require.Equal(t, io.EOF, err)
}

func BenchmarkStriped(b *testing.B) {
	for _, chunk := range []int64{4 << 10, 64 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("chunk%dk", chunk>>10), func(b *testing.B) {
			legs := make([]block.Device, 4)
			for i := range legs {
				legs[i] = memory(make([]byte, 16<<20))
			}
			s := newStriped(legs, chunk)
			p := make([]byte, 1<<20)
			b.SetBytes(int64(len(p)))
			for i := 0; b.Loop(); i++ {
				if _, err := s.ReadAt(p, int64(i)%64<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
