package btree_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

// realNode is the only leaf of a thin pool's details tree, written by the kernel.
func realNode(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/node.bin")
	require.NoError(t, err)
	require.Len(t, b, btree.BlockSize)
	return b
}

func TestRealNode(t *testing.T) {
	b := realNode(t)
	n, err := btree.ParseNode(b, binary.LittleEndian.Uint64(b[8:]))
	require.NoError(t, err)
	require.True(t, n.Leaf)
	require.Equal(t, 24, n.ValueSize)
	require.Equal(t, 9, n.Entries)
	require.Equal(t, uint64(1), n.Key(0))
	require.Equal(t, 3, n.Search(4))
}

// FuzzNode gives a block a right checksum, so that what is behind it is tried, and walks it
// as a tree, as leaves with values of 8 bytes and as an array.
func FuzzNode(f *testing.F) {
	f.Add(realNode(f), uint64(0), uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, b []byte, first, last uint64) {
		dev := make([]byte, 2*btree.BlockSize)
		copy(dev[btree.BlockSize:], b)
		block := dev[btree.BlockSize:]
		binary.LittleEndian.PutUint64(block[8:], 1)
		binary.LittleEndian.PutUint32(block, btree.Sum(block, btree.NodeBlock))
		r := btree.NewReader(bytes.NewReader(dev), int64(len(dev)))
		for _, size := range []int{8, 24} {
			next := first
			for p := range (btree.Tree{Reader: r, Root: 1, ValueSize: size}).Walk(first, last) {
				require.Equal(t, next, p.First)
				require.LessOrEqual(t, p.First, p.Last)
				for i, j := p.Entries(); i < j; i++ {
					require.Len(t, p.Node.Value(i), size)
				}
				next = p.Last + 1
			}
			if first <= last {
				require.Equal(t, last+1, next)
			}
		}
		for range (btree.Array{Reader: r, Root: 1, ValueSize: 8, Len: min(last, 1<<20)}).Walk() {
		}
	})
}
