package volume

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// layered are the corpora whose LVs keep bytes in more than one place.
var layered = []string{
	"mirror", "mirror-log", "pvmove", "snapshot", "merge", "integrity", "integrity-tags", "stacked", "thin", "thin-crash", "thin-shapes", "cache",
	"cache-crash", "writecache", "writecache-crash", "writecache-pmem", "writecache-pmem-crash", "needs-check", "thin-moved", "pools-stacked",
}

// TestLostDisksNeverInventAByte takes each disk away in turn.
func TestLostDisksNeverInventAByte(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, name := range layered {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fixtures.Open(t, name)
			healthy, _ := survey(t, c)
			for i, lost := range c.Paths() {
				checkTruth(t, lost+" is missing", slices.Delete(c.Paths(), i, i+1), healthy)
			}
		})
	}
}

// TestScratchesNeverInventAByte makes sectors all over the disks unreadable, those with
// headers, lists, logs and journals among them.
func TestScratchesNeverInventAByte(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	const rounds, start = 2, 1 << 20 // metadata has its own test
	for _, name := range layered {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fixtures.Open(t, name)
			healthy, _ := survey(t, c)
			for seed := range uint64(rounds) {
				rnd := rand.New(rand.NewPCG(seed, 7))
				for _, path := range c.Paths() {
					scratch(t, rnd, path, start, 300)
				}
				checkTruth(t, fmt.Sprintf("scratches of seed %d", seed), c.Paths(), healthy)
			}
		})
	}
}

// scratch lays a mapfile beside a disk that calls about n runs of its sectors bad.
func scratch(t *testing.T, rnd *rand.Rand, path string, start, n int64) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	sectors := (info.Size() - start) / block.SectorSize
	m := &block.Mapfile{Status: byte(block.Finished), Pass: 1}
	m.Add(start, block.Finished)
	for m.End() < info.Size() {
		left := info.Size() - m.End()
		m.Add(min(left, (1+rnd.Int64N(2*sectors/n))*block.SectorSize), block.Finished)
		left = info.Size() - m.End()
		m.Add(min(left, (1+rnd.Int64N(4))*block.SectorSize), block.BadSector)
	}
	require.NoError(t, block.SaveMapfile(path+".map", m))
}

// TestInvalidatedSnapshotIsSureOfItsStoreOnly: "twin" has what the snapshot "over" had until
// it overflowed.
func TestInvalidatedSnapshotIsSureOfItsStoreOnly(t *testing.T) {
	c := fixtures.Open(t, "snapshot")
	read := func(key string) (block.Device, []byte) {
		vg, lv, err := find(t, c, key, rebuild.Options{})
		require.NoError(t, err)
		plan, err := activate.New(vg, lv, OpenVolume)
		require.NoError(t, err)
		dev := Open(plan)
		b := make([]byte, dev.Size())
		_, err = io.ReadFull(io.NewSectionReader(dev, 0, dev.Size()), b)
		require.NoError(t, err)
		return dev, b
	}
	dev, over := read("vgs/over")
	_, twin := read("vgs/twin")
	totals := block.Summarise(dev)
	require.Equal(t, int64(20*8192), totals.Data)
	require.Equal(t, dev.Size()-totals.Data, totals.Doubtful)
	require.NotEqual(t, twin, over)
	for e := range dev.Extents(0, dev.Size()) {
		if e.State == block.Data {
			require.Equal(t, twin[e.Off:e.End()], over[e.Off:e.End()])
		}
	}
}
