package btree_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/btree"
)

func reader(m *pdata.Image) *btree.Reader {
	return btree.NewReader(bytes.NewReader(*m), int64(len(*m)))
}

// numbers makes entries with the keys first, first+step, ... and values of twice the key.
func numbers(first, step uint64, n int) []pdata.Entry {
	entries := make([]pdata.Entry, n)
	for i := range entries {
		key := first + uint64(i)*step
		entries[i] = pdata.Number(key, 2*key)
	}
	return entries
}

// walk checks that pieces are in order and without gaps, and collects the entries and the
// ranges of keys that are lost.
func walk(t *testing.T, tree btree.Tree, first, last uint64) (found map[uint64]uint64, lost [][2]uint64) {
	found = map[uint64]uint64{}
	next := first
	for p := range tree.Walk(first, last) {
		require.Equal(t, next, p.First)
		require.GreaterOrEqual(t, p.Last, p.First)
		next = p.Last + 1
		for i, j := p.Entries(); i < j; i++ {
			key := p.Node.Key(i)
			require.True(t, p.First <= key && key <= p.Last)
			found[key] = p.Node.Uint64(i)
		}
		if p.Err != nil {
			lost = append(lost, [2]uint64{p.First, p.Last})
		}
	}
	require.Equal(t, last+1, next)
	return found, lost
}

func TestTreeWalk(t *testing.T) {
	for _, c := range []struct {
		name        string
		entries     []pdata.Entry
		first, last uint64
		count       int
	}{
		{"an empty tree", nil, 0, math.MaxUint64, 0},
		{"one leaf", numbers(10, 10, 5), 0, math.MaxUint64, 5},
		{"one leaf, cut on both sides", numbers(10, 10, 5), 11, 40, 3},
		{"one leaf, between two keys", numbers(10, 10, 5), 11, 19, 0},
		{"two levels", numbers(0, 3, 1000), 0, 1 << 40, 1000},
		{"two levels, one key", numbers(0, 3, 1000), 1500, 1500, 1},
		{"two levels, before the first key", numbers(100, 1, 1000), 5, 99, 0},
		{"three levels", numbers(7, 1, 70000), 0, math.MaxUint64, 70000},
		{"the last key of all", numbers(math.MaxUint64, 1, 1), 3, math.MaxUint64, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := pdata.New()
			tree := btree.Tree{Root: m.Tree(8, c.entries), ValueSize: 8}
			tree.Reader = reader(m)
			found, lost := walk(t, tree, c.first, c.last)
			require.Empty(t, lost)
			require.Len(t, found, c.count)
			for k, v := range found {
				require.Equal(t, 2*k, v)
			}
		})
	}
}

func TestTreeFind(t *testing.T) {
	m := pdata.New()
	tree := btree.Tree{Root: m.Tree(8, numbers(5, 5, 1000)), ValueSize: 8}
	tree.Reader = reader(m)
	v, err := tree.Find(505)
	require.NoError(t, err)
	require.Equal(t, uint64(1010), binary.LittleEndian.Uint64(v))
	for _, key := range []uint64{0, 506, math.MaxUint64} {
		v, err = tree.Find(key)
		require.NoError(t, err)
		require.Nil(t, v, "key %d", key)
	}
}

// TestTreeDamage breaks a tree of 5 leaves of 252 keys each, 0 to 1259; leaves are blocks 1
// to 5, the root is block 6.
func TestTreeDamage(t *testing.T) {
	const leaf2 = 2 // holds keys 252-503
	for _, c := range []struct {
		name   string
		damage func(m *pdata.Image)
		lost   [2]uint64
		err    string
	}{
		{"one bit of a leaf", func(m *pdata.Image) { m.Block(leaf2)[3000] ^= 1 }, [2]uint64{252, 503}, "btree node.csum at byte 0: checksum is"},
		{"the first leaf", func(m *pdata.Image) { clear(m.Block(1)) }, [2]uint64{0, 251}, "btree node.csum"},
		{"the last leaf", func(m *pdata.Image) { clear(m.Block(5)) }, [2]uint64{1008, math.MaxUint64}, "btree node.csum"},
		{"the root", func(m *pdata.Image) { m.Block(6)[0] ^= 1 }, [2]uint64{0, math.MaxUint64}, "btree node.csum"},
		{"a leaf at another's place", func(m *pdata.Image) { copy(m.Block(leaf2), m.Block(3)) }, [2]uint64{252, 503}, "says it is block 3, found as block 2"},
		{"a leaf of other keys", func(m *pdata.Image) {
			copy(m.Block(leaf2), m.Block(3))
			m.Seal(leaf2, btree.NodeBlock)
		}, [2]uint64{252, 503}, "keys 504-755, expected ones from 252 to 503"},
		{"keys that do not ascend", func(m *pdata.Image) {
			pdata.Put(m.Block(leaf2), 32+8*7, uint64(253))
			m.Seal(leaf2, btree.NodeBlock)
		}, [2]uint64{252, 503}, "key 7 is 253 and follows 258"},
		{"more entries than room", func(m *pdata.Image) {
			pdata.Put(m.Block(leaf2), 16, uint32(253))
			m.Seal(leaf2, btree.NodeBlock)
		}, [2]uint64{252, 503}, "253 entries where there is room for 252"},
		{"more room than a block has", func(m *pdata.Image) {
			pdata.Put(m.Block(leaf2), 20, uint32(math.MaxUint32))
			m.Seal(leaf2, btree.NodeBlock)
		}, [2]uint64{252, 503}, "do not fit a block"},
		{"values of another size", func(m *pdata.Image) {
			pdata.Put(m.Block(leaf2), 24, uint32(4))
			m.Seal(leaf2, btree.NodeBlock)
		}, [2]uint64{252, 503}, "values have 4 bytes, expected 8"},
		{"neither leaf nor internal", func(m *pdata.Image) {
			pdata.Put(m.Block(leaf2), 4, uint32(0))
			m.Seal(leaf2, btree.NodeBlock)
		}, [2]uint64{252, 503}, "neither leaf nor internal"},
		{"an internal node without children", func(m *pdata.Image) {
			pdata.Put(m.Block(leaf2), 4, uint32(1))
			pdata.Put(m.Block(leaf2), 16, uint32(0))
			m.Seal(leaf2, btree.NodeBlock)
		}, [2]uint64{252, 503}, "an internal node with 0 values"},
		{"a child beyond the device", func(m *pdata.Image) {
			pdata.Put(m.Block(6), 32+8*252+8, uint64(1<<60))
			m.Seal(6, btree.NodeBlock)
		}, [2]uint64{252, 503}, "lies beyond the 7 blocks"},
		{"a child that is the root", func(m *pdata.Image) {
			pdata.Put(m.Block(6), 32+8*252+8, uint64(6))
			m.Seal(6, btree.NodeBlock)
		}, [2]uint64{252, 503}, "keys 0-1008, expected ones from 252 to 503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := pdata.New()
			tree := btree.Tree{Root: m.Tree(8, numbers(0, 1, 1260)), ValueSize: 8}
			require.Equal(t, uint64(6), tree.Root)
			c.damage(m)
			tree.Reader = reader(m)
			found, lost := walk(t, tree, 0, math.MaxUint64)
			require.Equal(t, [][2]uint64{c.lost}, lost)
			require.Len(t, found, 1260-int(min(c.lost[1], 1259)-c.lost[0]+1))
			_, err := tree.Find(c.lost[0] + 1)
			require.ErrorContains(t, err, c.err)
		})
	}
}

// TestTreeLoop walks a chain of nodes of one key that comes back to its start.
func TestTreeLoop(t *testing.T) {
	m := pdata.New()
	a := m.Node(false, 8, pdata.Number(0, 2))
	b := m.Node(false, 8, pdata.Number(0, a))
	_, err := btree.Tree{Reader: reader(m), Root: b, ValueSize: 8}.Find(0)
	require.ErrorContains(t, err, "more than 32 levels deep")
}

func TestReaderNamesShortReads(t *testing.T) {
	m := pdata.New()
	m.Tree(8, numbers(0, 1, 3))
	r := btree.NewReader(bytes.NewReader((*m)[:btree.BlockSize+100]), int64(len(*m)))
	_, err := r.Node(1)
	var bad *btree.BlockError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, uint64(1), bad.Block)
	require.EqualError(t, err, "metadata block 1 (byte 4096): EOF")
}

func TestCheckSaysFieldAndOffset(t *testing.T) {
	m := pdata.New()
	n := m.Node(true, 8)
	var damage *metadata.DamageError
	require.ErrorAs(t, btree.Check(m.Block(n), btree.NodeBlock, n+1), &damage)
	require.Equal(t, "btree node.blocknr", damage.Field)
	require.Equal(t, int64(8), damage.Offset)
	require.ErrorContains(t, btree.Check(m.Block(n), btree.ArrayBlock, n), "array block.csum")
	require.ErrorContains(t, btree.Check(nil, btree.NodeBlock, n), "has 0 bytes, expected 4096")
}

// TestReaderIsSafeForSeveral makes several goroutines walk through a cache that is too small.
func TestReaderIsSafeForSeveral(t *testing.T) {
	const keys = 300 * 252
	m := pdata.New()
	tree := btree.Tree{Root: m.Tree(8, numbers(0, 1, keys)), ValueSize: 8}
	tree.Reader = reader(m)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			sum := uint64(0)
			for p := range tree.Walk(0, keys-1) {
				for i, j := p.Entries(); i < j; i++ {
					sum += p.Node.Uint64(i)
				}
			}
			if want := uint64(keys) * (keys - 1); sum != want {
				t.Errorf("values add up to %d, want %d", sum, want)
			}
		})
	}
	all.Wait()
}

func TestArrayWalk(t *testing.T) {
	const n = 1300 // 509 fit a block
	values := make([]byte, 0, 8*n)
	for i := range uint64(n) {
		values = binary.LittleEndian.AppendUint64(values, 3*i)
	}
	for _, c := range []struct {
		name   string
		damage func(m *pdata.Image) // array blocks are 1 to 3, the root is 4
		len    uint64
		lost   [2]uint64 // both 0: none
		err    string
	}{
		{"whole", func(m *pdata.Image) {}, n, [2]uint64{}, ""},
		{"fewer elements than there are", func(m *pdata.Image) {}, 600, [2]uint64{}, ""},
		{"a block's checksum", func(m *pdata.Image) { m.Block(2)[99] ^= 1 }, n, [2]uint64{509, 1017}, "array block.csum"},
		{"a block of other values", func(m *pdata.Image) {
			pdata.Put(m.Block(2), 12, uint32(4))
			m.Seal(2, btree.ArrayBlock)
		}, n, [2]uint64{509, 1017}, "values have 4 bytes, expected 8"},
		{"a block of fewer values", func(m *pdata.Image) {
			pdata.Put(m.Block(2), 8, uint32(508))
			m.Seal(2, btree.ArrayBlock)
		}, n, [2]uint64{509, 1017}, "508 values, expected 509"},
		{"more elements than there are", func(m *pdata.Image) {}, 2000, [2]uint64{1018, 1999}, "block 3"},
		{"the root", func(m *pdata.Image) { clear(m.Block(4)) }, n, [2]uint64{0, n - 1}, "btree node.csum"},
		{"a block that is there twice", func(m *pdata.Image) {
			pdata.Put(m.Block(4), 32+8*252+8, uint64(1))
			m.Seal(4, btree.NodeBlock)
		}, n, [2]uint64{509, 1017}, "metadata block 1 is in the array twice"},
		{"a block that the tree does not have", func(m *pdata.Image) {
			pdata.Put(m.Block(4), 32+8, uint64(2)) // key 1 becomes 2, key 2 becomes 3
			pdata.Put(m.Block(4), 32+16, uint64(3))
			m.Seal(4, btree.NodeBlock)
			copy(m.Block(2)[24:], m.Block(3)[24:])
			pdata.Put(m.Block(2), 8, uint32(282))
			m.Seal(2, btree.ArrayBlock)
		}, n, [2]uint64{509, 1017}, "the array has no block 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := pdata.New()
			a := btree.Array{Root: m.Array(8, values), ValueSize: 8, Len: c.len}
			c.damage(m)
			a.Reader = reader(m)
			var lost [][2]uint64
			next := uint64(0)
			for r := range a.Walk() {
				require.Equal(t, next, r.First)
				next = r.Last + 1
				if r.Err != nil {
					lost = append(lost, [2]uint64{r.First, r.Last})
					require.ErrorContains(t, r.Err, c.err)
					continue
				}
				require.Len(t, r.Values, int(8*(r.Last-r.First+1)))
				for i := r.First; i <= r.Last; i++ {
					require.Equal(t, 3*i, binary.LittleEndian.Uint64(r.Values[8*(i-r.First):]))
				}
			}
			require.Equal(t, c.len, next)
			if c.err == "" {
				require.Empty(t, lost)
			} else if c.len == n {
				require.Equal(t, [][2]uint64{c.lost}, lost)
			} else {
				require.Equal(t, c.lost, [2]uint64{lost[0][0], lost[len(lost)-1][1]})
			}
		})
	}
}
