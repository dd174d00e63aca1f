package volume

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata/exstore"
	"github.com/lvrescue/lvrescue/scan/block"
)

// snapshotted makes a snapshot of random runs over a random origin and store, and the model
// of what it must give.
func snapshotted(t *testing.T, rnd *rand.Rand, chunk int64, listed, unlisted string) (*snapshot, model) {
	chunks := 1 + rnd.Int64N(30)
	size := chunks*chunk - rnd.Int64N(chunk)
	origin, store := make(memory, size), make(memory, chunk*(chunks+10))
	for i := range origin {
		origin[i] = byte(rnd.Uint32())
	}
	for i := range store {
		store[i] = byte(rnd.Uint32())
	}
	originMarks := randomMarks(rnd, size, 3, "origin")
	storeMarks := randomMarks(rnd, store.Size(), 3, "store")
	s := &snapshot{chunk: chunk, listed: listed, unlisted: unlisted}
	for at := rnd.Int64N(chunks + 1); at < chunks; at += rnd.Int64N(5) {
		r := exstore.Run{Old: at, New: rnd.Int64N(10), Len: 1 + rnd.Int64N(min(4, chunks-at))}
		s.runs = append(s.runs, r)
		at += r.Len
	}
	m := model{make([]byte, size), make([]block.State, size), make([]string, size)}
	for i := range size {
		e := doubt(stateAt(originMarks, i), unlisted)
		m.bytes[i] = origin[i]
		for _, r := range s.runs {
			if c := i/chunk - r.Old; c >= 0 && c < r.Len {
				at := (r.New+c)*chunk + i%chunk
				e, m.bytes[i] = doubt(stateAt(storeMarks, at), listed), store[at]
			}
		}
		m.state[i], m.why[i] = e.State, e.Why
	}
	var err error
	s.origin, err = block.NewOverlay(origin, originMarks)
	require.NoError(t, err)
	s.store, err = block.NewOverlay(store, storeMarks)
	require.NoError(t, err)
	return s, m
}

func TestSnapshotAgainstModel(t *testing.T) {
	for _, c := range []struct{ listed, unlisted string }{{"", ""}, {"", "invalid"}, {"failed", ""}, {"both", "both"}} {
		t.Run(fmt.Sprintf("%q %q", c.listed, c.unlisted), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, 4))
			for range 60 {
				s, m := snapshotted(t, rnd, 16<<rnd.IntN(5), c.listed, c.unlisted)
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

// everyOther is a snapshot of which every second chunk has a copy.
func everyOther(chunk, chunks int64) *snapshot {
	s := &snapshot{origin: make(memory, chunk*chunks), store: make(memory, chunk*chunks), chunk: chunk}
	for i := range chunks / 2 {
		s.runs = append(s.runs, exstore.Run{Old: 2 * i, New: chunks - i - 1, Len: 1})
	}
	return s
}

func TestSnapshotUniformStoreGivesOneExtent(t *testing.T) {
	s := everyOther(512, 1000)
	require.Equal(t, 1, count(s.Extents(0, s.Size())))
}

func BenchmarkSnapshot(b *testing.B) {
	s := everyOther(4096, 16<<10)
	p := make([]byte, 1<<20)
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		for i := 0; b.Loop(); i++ {
			if _, err := s.ReadAt(p, int64(i)%64<<20); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("extents", func(b *testing.B) {
		b.SetBytes(s.Size())
		for b.Loop() {
			count(s.Extents(0, s.Size()))
		}
	})
}
