package salvage_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

var seeds = flag.Int("seeds", 4, "how often metadata is damaged at random")

// made is a pool of four devices whose trees have up to three levels: 1 is dense, 2 is a
// snapshot of it with leaves of its own, 3 is sparse, 4 is empty.
func made() ([]byte, salvage.Hints) {
	const dense, sparse = 70000, 20000
	m := pdata.New()
	rnd := rand.New(rand.NewPCG(1, 2))
	at := rnd.Perm(dense + sparse + 1000)
	entries := make([]pdata.Entry, dense)
	for i := range entries {
		entries[i] = pdata.Mapping(uint64(i), uint64(at[i]), 0)
	}
	one := m.Tree(8, entries)
	for i := range 500 { // leaves of their own
		vb := 20000 + i
		entries[vb] = pdata.Mapping(uint64(vb), uint64(at[dense+sparse+i]), 1)
	}
	two := snapshot(m, one, entries)
	wide := make([]pdata.Entry, sparse)
	for i := range wide {
		wide[i] = pdata.Mapping(uint64(i)*7+5, uint64(at[dense+i]), 1)
	}
	three, four := m.Tree(8, wide), m.Tree(8, nil)
	state := pdata.Pool{Time: 1, Transaction: 4, Devices: []pdata.Device{
		{ID: 1, Root: one, Mapped: dense, Snapped: 1},
		{ID: 2, Root: two, Mapped: dense, Transaction: 1, Created: 1, Snapped: 1},
		{ID: 3, Root: three, Mapped: sparse, Transaction: 2, Created: 1, Snapped: 1},
		{ID: 4, Root: four, Transaction: 3, Created: 1, Snapped: 1},
	}}
	m.Commit(state)
	return *m, salvage.Hints{ChunkSize: 65536, TransactionID: 4, Devices: map[uint32]uint64{1: 0, 2: 1, 3: 2, 4: 3}}
}

// snapshot makes a tree of the entries that shares with an older one the leaves that are
// the same.
func snapshot(m *pdata.Image, older uint64, entries []pdata.Entry) uint64 {
	n, err := btree.ParseNode(m.Block(older), older)
	if err != nil {
		panic(err)
	}
	if n.Leaf {
		same := true
		for i := range n.Entries {
			same = same && slices.Equal(n.Value(i), entries[n.Key(i)].Value)
		}
		if same {
			return older
		}
		return m.Node(true, 8, entries[n.Key(0):n.Key(n.Entries-1)+1]...)
	}
	children := make([]pdata.Entry, n.Entries)
	for i := range children {
		children[i] = pdata.Number(n.Key(i), n.Uint64(i))
	}
	changed := false
	for i, c := range children {
		child := snapshot(m, n.Uint64(i), entries)
		changed = changed || child != n.Uint64(i)
		children[i] = pdata.Number(c.Key, child)
	}
	if !changed {
		return older
	}
	return m.Node(false, 8, children...)
}

func salvaged(t testing.TB, b []byte, h salvage.Hints) *salvage.Pool {
	t.Helper()
	p, err := salvage.Run(image(b), int64(len(b)), h)
	require.NoError(t, err)
	return p
}

// kinds sorts the blocks in use of a pool by what stands in them.
func kinds(t testing.TB, b []byte) map[string][]uint64 {
	t.Helper()
	p, err := thin.Open(image(b), int64(len(b)))
	require.NoError(t, err)
	all := map[string][]uint64{"superblock": {0}, "top": {p.MappingRoot}, "details": {p.DetailsRoot}}
	seen := map[uint64]bool{}
	var walk func(block uint64, name string)
	walk = func(block uint64, name string) {
		if seen[block] {
			return
		}
		seen[block] = true
		n, err := p.Reader.Node(block)
		require.NoError(t, err)
		if n.Leaf {
			all["leaf"] = append(all["leaf"], block)
			return
		}
		all[name] = append(all[name], block)
		for i := range n.Entries {
			walk(n.Uint64(i), "internal")
		}
	}
	top, err := p.Reader.Node(p.MappingRoot)
	require.NoError(t, err)
	for i := range top.Entries {
		walk(top.Uint64(i), "root")
	}
	return all
}

// TestEachNodeLost breaks each block of a kind in turn. Whatever its leaves can tell is
// told.
func TestEachNodeLost(t *testing.T) {
	b, hints := made()
	want := truthOf(t, b, 1, 2, 3, 4)
	all := want.hold(t, salvaged(t, b, hints)).all
	blocks := kinds(t, b)
	for _, name := range []string{"superblock", "top", "details", "root", "internal"} {
		require.NotEmpty(t, blocks[name], name)
		for _, block := range blocks[name] {
			t.Run(fmt.Sprintf("%s %d", name, block), func(t *testing.T) {
				spoil(b, block)
				defer spoil(b, block)
				p := salvaged(t, b, hints)
				got := want.hold(t, p)
				if name == "top" { // devices 1 and 2 have as many mappings
					require.Equal(t, uint64(20000), got.sure)
					require.Equal(t, all, got.sure+got.doubtful+got.wrong)
					return
				}
				require.Equal(t, all, got.sure, "%v", p.Notes)
			})
		}
	}
	t.Run("leaves", func(t *testing.T) {
		for i := 0; i < len(blocks["leaf"]); i += 1 + len(blocks["leaf"])/15 {
			block := blocks["leaf"][i]
			n, err := btree.ParseNode(b[block*btree.BlockSize:][:btree.BlockSize], block)
			require.NoError(t, err)
			spoil(b, block)
			got := want.hold(t, salvaged(t, b, hints))
			spoil(b, block)
			require.Contains(t, []uint64{all - uint64(n.Entries), all - 2*uint64(n.Entries)}, got.sure, "leaf %d", block)
		}
	})
}

// spoil turns bits of a block; the second time it turns them back.
func spoil(b []byte, block uint64) { b[block*btree.BlockSize+1234] ^= 0x55 }

// TestBlocksLostAtRandom breaks 1 % and 10 % of all blocks. What is called sure is right, and
// nearly all of what the leaves that are left hold comes back.
func TestBlocksLostAtRandom(t *testing.T) {
	healthy, hints := made()
	want := truthOf(t, healthy, 1, 2, 3, 4)
	for _, percent := range []int{1, 10} {
		for seed := range uint64(*seeds) {
			t.Run(fmt.Sprintf("%d %%, seed %d", percent, seed), func(t *testing.T) {
				b := slices.Clone(healthy)
				rnd := rand.New(rand.NewPCG(seed, uint64(percent)))
				lost := map[uint64]bool{}
				for n := uint64(len(b) / btree.BlockSize); uint64(len(lost)) < n*uint64(percent)/100; {
					lost[rnd.Uint64N(n)] = true
				}
				for _, block := range slices.Sorted(maps.Keys(lost)) {
					at := b[block*btree.BlockSize:][:btree.BlockSize]
					switch rnd.IntN(3) {
					case 0:
						clear(at)
					case 1:
						for i := range at {
							at[i] = byte(rnd.Uint32())
						}
					default:
						at[rnd.IntN(len(at))]++
					}
				}
				p := salvaged(t, b, hints)
				got := want.hold(t, p)
				left := surviving(t, healthy, lost)
				require.GreaterOrEqual(t, got.sure+got.doubtful, left*8/10)
				t.Logf("%d of %d mappings, %d of them doubtful, %d doubtful and wrong; %d are in leaves that are left", got.sure+got.doubtful, got.all, got.doubtful, got.wrong, left)
			})
		}
	}
}

// surviving counts the mappings of all devices in leaves that are not lost.
func surviving(t testing.TB, healthy []byte, lost map[uint64]bool) (n uint64) {
	p, err := thin.Open(image(healthy), int64(len(healthy)))
	require.NoError(t, err)
	for id := range uint32(5) {
		d, ok, err := p.Device(id)
		require.NoError(t, err)
		if !ok {
			continue
		}
		tree := btree.Tree{Reader: p.Reader, Root: d.Root(), ValueSize: 8}
		for piece := range tree.Walk(0, lastBlock) {
			if piece.Node != nil && !lost[piece.Node.Block] {
				n += uint64(piece.Node.Entries)
			}
		}
	}
	return n
}

// TestGuessedRootsAreDoubtful garbles the leaf that says where the trees of devices begin, so
// that each has another's: what a guess makes of it is never sure.
func TestGuessedRootsAreDoubtful(t *testing.T) {
	m := pdata.New()
	one := m.Tree(8, []pdata.Entry{pdata.Mapping(0, 5, 0), pdata.Mapping(1, 6, 0)})
	two := m.Tree(8, []pdata.Entry{pdata.Mapping(0, 7, 0), pdata.Mapping(9, 8, 0)})
	m.Commit(pdata.Pool{Devices: []pdata.Device{{ID: 1, Root: one, Mapped: 2}, {ID: 2, Root: two, Mapped: 2}}})
	b := []byte(*m)
	want := truthOf(t, b, 1, 2)
	sb, err := thin.Open(image(b), int64(len(b)))
	require.NoError(t, err)
	leaf := b[sb.MappingRoot*btree.BlockSize:][:btree.BlockSize]
	first, second := bytes.LastIndex(leaf, le64(one)), bytes.LastIndex(leaf, le64(two)) // the keys stand before
	require.True(t, first > 0 && second == first+8)
	copy(leaf[first:], le64(two))
	copy(leaf[second:], le64(one))
	want.hold(t, salvaged(t, b, salvage.Hints{Guess: true}))
	want.hold(t, salvaged(t, b, salvage.Hints{}))
}

func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
