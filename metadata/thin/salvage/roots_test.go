package salvage_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// mapped makes n entries of a thin device from its block first on.
func mapped(first, data uint64, n int) []pdata.Entry {
	entries := make([]pdata.Entry, n)
	for i := range entries {
		entries[i] = pdata.Mapping(first+uint64(i), data+uint64(i), 1)
	}
	return entries
}

// TestAPartIsNotTakenForATree: the tree of device 1, the root of device 2 and the node that names
// both are lost. The second leaf of device 2 has as many mappings as all of device 1.
func TestAPartIsNotTakenForATree(t *testing.T) {
	m := pdata.New()
	one := m.Node(true, 8, mapped(0, 1000, 126)...)
	leaves := []uint64{m.Node(true, 8, mapped(0, 2000, 252)...), m.Node(true, 8, mapped(300, 3000, 126)...)}
	two := m.Node(false, 8, pdata.Number(0, leaves[0]), pdata.Number(300, leaves[1]))
	m.Commit(pdata.Pool{Time: 1, Transaction: 2, Devices: []pdata.Device{{ID: 1, Root: one, Mapped: 126}, {ID: 2, Root: two, Mapped: 378, Transaction: 1}}})
	b := []byte(*m)
	want := truthOf(t, b, 1, 2)
	hints := salvage.Hints{ChunkSize: 65536, TransactionID: 2, Devices: map[uint32]uint64{1: 0, 2: 1}}
	top := salvaged(t, b, hints).MappingRoot
	for _, lost := range [][]uint64{{one, two, top}, {one, top}, {two, top}, {top}} {
		for _, block := range lost {
			spoil(b, block)
		}
		got := want.hold(t, salvaged(t, b, hints))
		if len(lost) == 1 {
			require.Equal(t, got.all, got.sure)
		}
		for _, block := range lost {
			spoil(b, block)
		}
	}
}
