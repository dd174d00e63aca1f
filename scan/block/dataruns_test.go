package block

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDataRuns(t *testing.T) {
	var d dataRuns
	at := func(off int64) int64 { end, _ := d.at(off); return end }
	require.Zero(t, at(0))
	d.add(100, 200)
	d.add(300, 400)
	d.add(150, 200) // found side by side with the first
	require.Equal(t, []int64{0, 200, 200, 200, 0, 400, 400, 0}, []int64{at(99), at(100), at(149), at(199), at(200), at(300), at(399), at(400)})
	d.add(50, 200)
	require.Equal(t, []dataRun{{50, 200}, {300, 400}}, d.list)
	d.add(50, 400)
	require.Equal(t, []dataRun{{50, 400}}, d.list)
}

// TestDataRunsRandom adds runs in any order, more than are kept: what is told is always part
// of a run.
func TestDataRunsRandom(t *testing.T) {
	var d dataRuns
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 * maxDataRuns {
		run := r.Int64N(4*maxDataRuns) * 100
		d.add(run+r.Int64N(60), run+60)
		require.LessOrEqual(t, len(d.list), maxDataRuns)
		off := r.Int64N(4 * maxDataRuns * 100)
		if end, ok := d.at(off); ok {
			require.Equal(t, off/100*100+60, end)
			require.Less(t, off, end)
		}
	}
}
