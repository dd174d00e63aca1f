package salvage_test

import (
	"bytes"
	"io"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// realPool is the metadata device of a pool with 9 devices, 2 MiB, as the kernel left it.
func realPool(t testing.TB) []byte {
	t.Helper()
	b, err := corpus.ReadPacked("../testdata/tmeta.zst")
	require.NoError(t, err)
	return b
}

// truth is what a pool's devices held before it was damaged: their mappings, in order.
type truth map[uint32][]thin.Run

const lastBlock = 1 << 30

func truthOf(t testing.TB, b []byte, ids ...uint32) truth {
	t.Helper()
	p, err := thin.Open(image(b), int64(len(b)))
	require.NoError(t, err)
	all := truth{}
	for _, id := range ids {
		d, ok, err := p.Device(id)
		require.NoError(t, err)
		require.True(t, ok)
		for r := range d.Runs(0, lastBlock) {
			require.NotEqual(t, thin.Lost, r.State)
			for ; r.State == thin.Mapped && r.First <= r.Last; r.First, r.Data = r.First+1, r.Data+1 {
				all[id] = append(all[id], r)
			}
		}
	}
	return all
}

// share is what of the mappings came back.
type share struct{ sure, doubtful, wrong, all uint64 }

// hold compares what salvage finds with the truth: what it is sure of must be right.
func (want truth) hold(t testing.TB, p *salvage.Pool) (s share) {
	t.Helper()
	for id, all := range want {
		s.all += uint64(len(all))
		d, ok := p.Device(id)
		if !ok {
			continue
		}
		next := uint64(0)
		for r := range d.Runs(0, lastBlock) {
			if r.First != next {
				t.Fatalf("device %d: a run from %d, expected %d", id, r.First, next)
			}
			next = r.Last + 1
			i := sort.Search(len(all), func(i int) bool { return all[i].First >= r.First })
			switch r.State {
			case thin.Hole:
				if i < len(all) && all[i].First <= r.Last && r.Doubt == "" {
					t.Fatalf("device %d: block %d is called a hole", id, all[i].First)
				}
			case thin.Mapped:
				for b := r.First; b <= r.Last; b++ {
					right := i < len(all) && all[i].First == b && all[i].Data == r.Data+b-r.First && all[i].Time == r.Time
					switch {
					case right && r.Doubt == "":
						s.sure++
					case right:
						s.doubtful++
					case r.Doubt != "":
						s.wrong++
					default:
						t.Fatalf("device %d: block %d is called mapped to %d", id, b, r.Data+b-r.First)
					}
					if i < len(all) && all[i].First == b {
						i++
					}
				}
			}
		}
		require.Equal(t, uint64(lastBlock+1), next)
	}
	return s
}

// TestEveryBlockOfARealPool breaks each block of a real pool in turn. All its trees are of
// one leaf, so that only what a leaf held can be missing.
func TestEveryBlockOfARealPool(t *testing.T) {
	b := realPool(t)
	hints := salvage.Hints{ChunkSize: 65536, TransactionID: 9,
		Devices: map[uint32]uint64{1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8}}
	want := truthOf(t, b, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	whole := want.hold(t, salvaged(t, b, hints))
	require.Equal(t, whole.all, whole.sure)
	lost, doubtful := map[uint64]uint64{}, map[uint64]uint64{}
	for block := range uint64(len(b) / btree.BlockSize) {
		spoil(b, block)
		got := want.hold(t, salvaged(t, b, hints))
		spoil(b, block)
		require.Zero(t, got.wrong, "block %d", block)
		if n := got.all - got.sure - got.doubtful; n > 0 {
			lost[block] = n
		}
		if got.doubtful > 0 {
			doubtful[block] = got.doubtful
		}
	}
	require.Equal(t, map[uint64]uint64{
		107: 2 * 71, 143: 39, 153: 47, 181: 3, 192: 4, 203: 2 * 47, // the leaves
	}, lost)
	// The tree of devices: three have as many mappings, in two trees.
	require.Equal(t, map[uint64]uint64{209: 3 * 47}, doubtful)
}

// image reads a metadata device in memory.
func image(b []byte) io.ReaderAt { return bytes.NewReader(b) }
