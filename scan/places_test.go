package scan_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
)

// TestPlacesBeforeTheSource: only the header of a metadata area that says so leads to a PV that
// begins before its source, wherever a case puts it.
func TestPlacesBeforeTheSource(t *testing.T) {
	const lacking, area = 3 << 19, 15 << 20 // bytes; of the second area on the PV
	path := fixtures.Open(t, "mda-two").Disk("b")
	require.NoError(t, damage.Shift(path, lacking, -lacking))
	require.NoError(t, damage.Truncate(path, 40<<20))
	for name, tt := range map[string]struct {
		place scan.Place
		found bool
	}{
		"its own place":      {scan.Place{Offset: -lacking, Areas: []int64{area - lacking}}, true},
		"twice":              {scan.Place{Offset: -lacking, Areas: []int64{area - lacking, area - lacking}}, true},
		"another place":      {scan.Place{Offset: -lacking - 512, Areas: []int64{area - lacking}}, false},
		"no header":          {scan.Place{Offset: -lacking, Areas: []int64{area}}, false},
		"nothing to go by":   {scan.Place{Offset: -lacking}, false},
		"behind the source":  {scan.Place{Offset: -lacking, Areas: []int64{math.MaxInt64, 1 << 62, -1, math.MinInt64}}, false},
		"far before":         {scan.Place{Offset: math.MinInt64, Areas: []int64{area - lacking}}, false},
		"longer than it can": {scan.Place{Offset: -lacking, Size: math.MaxInt64, Areas: []int64{area}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ev, err := scan.Run(t.Context(), []string{path}, scan.Options{Places: func(*scan.Source) []scan.Place { return []scan.Place{tt.place} }})
			require.NoError(t, err)
			defer ev.Close()
			if !tt.found {
				require.Empty(t, ev.PVs)
				return
			}
			require.Len(t, ev.PVs, 1)
			pv := ev.PVs[0]
			require.Equal(t, int64(-lacking), pv.Offset)
			require.Len(t, pv.Areas, 1)
			require.Equal(t, []any{2, int64(area), int64(1 << 20), metadata.ChecksumValid},
				[]any{pv.Areas[0].Number, pv.Areas[0].Offset, pv.Areas[0].Size, pv.Areas[0].Header.Checksum})
			require.Empty(t, pv.Doubt, "its text is committed")
		})
	}
}
