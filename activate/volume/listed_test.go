package volume

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

func TestListedTellsTheSame(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	var marks []block.Extent
	for at := int64(100); at < 90_000; at += 200 + rnd.Int64N(1000) {
		marks = append(marks, block.Extent{Off: at, Len: 1 + rnd.Int64N(100), State: block.Bad, Why: "scratch"})
	}
	dev, err := block.NewOverlay(memory(make([]byte, 100_000)), marks)
	require.NoError(t, err)
	l := list(dev)
	for range 200 {
		off := rnd.Int64N(100_000)
		n := rnd.Int64N(110_000 - off)
		require.Equal(t, slices.Collect(dev.Extents(off, n)), slices.Collect(l.Extents(off, n)), "%d bytes at %d", n, off)
	}

	marks = nil
	for at := range int64(mostExtents) {
		marks = append(marks, block.Extent{Off: 10 * at, Len: 1, State: block.Bad, Why: "scratch"})
	}
	dev, err = block.NewOverlay(memory(make([]byte, 100_000)), marks)
	require.NoError(t, err)
	require.Nil(t, list(dev))
}
