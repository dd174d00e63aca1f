package salvage_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// TestDataMapOfARealPool changes the kernel's own bitmap of the data, with the right checksum.
func TestDataMapOfARealPool(t *testing.T) {
	healthy := realPool(t)
	require.Equal(t, &salvage.DataMap{}, salvaged(t, healthy, salvage.Hints{}).DataMap())
	p, err := thin.Open(image(healthy), int64(len(healthy)))
	require.NoError(t, err)
	index, err := p.Reader.Node(p.DataMap.Bitmaps)
	require.NoError(t, err)
	require.Equal(t, 1, index.Entries)
	at := binary.LittleEndian.Uint64(index.Value(0))
	const single, twice, many, never = 2, 1, 3, 0 // the two bits of a block as they are stored
	find := func(bits byte) uint64 {
		for b := range p.DataBlocks {
			if healthy[at*btree.BlockSize+16+b/4]>>(2*(b%4))&3 == bits {
				return b
			}
		}
		require.Fail(t, "there is none", bits)
		return 0
	}
	miscounted := func(b uint64) salvage.Miscounted { return salvage.Miscounted{Blocks: 1, First: b} }
	once, free, two := find(single), find(never), find(twice)
	for _, c := range []struct {
		name  string
		block uint64
		bits  byte
		free  int // more than the index knows of
		want  salvage.DataMap
	}{
		{"used and marked free", once, never, 1, salvage.DataMap{Free: miscounted(once)}},
		{"leaked", free, single, -1, salvage.DataMap{Leaked: miscounted(free)}},
		{"counted too high", once, twice, 0, salvage.DataMap{More: miscounted(once)}},
		{"counted too low", two, single, 0, salvage.DataMap{Fewer: miscounted(two)}},
		{"more than two, and no count of them", two, many, 0, salvage.DataMap{More: miscounted(two)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := pdata.Image(append([]byte(nil), healthy...))
			b := m.Block(at)
			b[16+c.block/4] = b[16+c.block/4]&^(3<<(2*(c.block%4))) | c.bits<<(2*(c.block%4))
			m.Seal(at, btree.BitmapBlock)
			node := m.Block(p.DataMap.Bitmaps)
			said := node[32+8*int(binary.LittleEndian.Uint32(node[20:]))+8:]
			binary.LittleEndian.PutUint32(said, uint32(int(binary.LittleEndian.Uint32(said))+c.free))
			m.Seal(p.DataMap.Bitmaps, btree.NodeBlock)
			require.Equal(t, &c.want, salvaged(t, m, salvage.Hints{}).DataMap())
		})
	}
	for block, what := range map[uint64]string{at: "a bitmap of the data", p.DataMap.Bitmaps: "a node of the tree of the bitmaps of the data"} {
		m := append([]byte(nil), healthy...)
		spoil(m, block)
		found := salvaged(t, m, salvage.Hints{})
		require.Equal(t, p.DataBlocks, found.DataMap().Unknown)
		require.Len(t, found.Damage(), 1)
		require.Equal(t, block, found.Damage()[0].Block)
		require.Contains(t, found.Damage()[0].Text, what)
		require.Contains(t, found.Damage()[0].Text, fmt.Sprintf("metadata block %d", block))
	}
}
