package salvage_test

import (
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// large makes a pool of one device with so many mappings, no two of them neighbours.
func large(mappings uint64) []byte {
	m := make(pdata.Image, btree.BlockSize, (mappings/200+1000)*btree.BlockSize)
	entries := make([]pdata.Entry, 0, 252)
	var level []pdata.Entry
	for i := uint64(0); i < mappings; {
		entries = entries[:0]
		for ; i < mappings && len(entries) < 252; i++ {
			entries = append(entries, pdata.Mapping(i, i*7919%mappings, 5))
		}
		level = append(level, pdata.Number(entries[0].Key, m.Node(true, 8, entries...)))
	}
	for len(level) > 1 {
		var above []pdata.Entry
		for len(level) > 0 {
			n := min(252, len(level))
			above = append(above, pdata.Number(level[0].Key, m.Node(false, 8, level[:n]...)))
			level = level[n:]
		}
		level = above
	}
	n, err := btree.ParseNode(m.Block(uint64(len(m)/btree.BlockSize-1)), uint64(len(m)/btree.BlockSize-1))
	if err != nil {
		panic(err)
	}
	m.Commit(pdata.Pool{Time: 5, Transaction: 1, Devices: []pdata.Device{{ID: 1, Root: n.Block, Mapped: mappings, Snapped: 5}}})
	return m
}

var gigabyte = sync.OnceValue(func() []byte { return large(1 << 30 / btree.BlockSize * 250) })

// BenchmarkScanGigabyte reads 1 GiB of metadata, whose superblock and root are lost, and puts
// its 65 million mappings together.
func BenchmarkScanGigabyte(b *testing.B) {
	disk := gigabyte()
	p, err := thin.Open(image(disk), int64(len(disk)))
	require.NoError(b, err)
	d, ok, err := p.Device(1)
	require.NoError(b, err)
	require.True(b, ok)
	for _, block := range []uint64{0, d.Root()} {
		spoil(disk, block)
		defer spoil(disk, block)
	}
	b.SetBytes(int64(len(disk)))
	b.ReportAllocs()
	for b.Loop() {
		p, err := salvage.Run(image(disk), int64(len(disk)), salvage.Hints{ChunkSize: 65536, Devices: map[uint32]uint64{1: 0}})
		require.NoError(b, err)
		require.Equal(b, uint64(1<<30/btree.BlockSize*250), p.Devices[1].Found)
	}
}

// BenchmarkTenMillionMappings reads them all, as XML, from an intact pool.
func BenchmarkTenMillionMappings(b *testing.B) {
	disk := large(10e6)
	b.ReportAllocs()
	for b.Loop() {
		p, err := thin.Open(image(disk), int64(len(disk)))
		require.NoError(b, err)
		d, _, err := p.Device(1)
		require.NoError(b, err)
		w := thin.NewDump(io.Discard, p.Superblock)
		w.Device(1, thin.Details{})
		for r := range d.Runs(0, 1<<40) {
			if r.State == thin.Mapped {
				w.Run(r)
			}
		}
		w.EndDevice()
		require.NoError(b, w.Close())
	}
}
