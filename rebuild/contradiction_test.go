package rebuild_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// TestContradictions forges an older version in which all LVs lie on the same extents, and
// one in which there are more of them than are listed.
func TestContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		copies int // of the first LV
		most   int
		want   []string
	}{
		"few":  {1, 19, []string{"vg-overlap", "vg-duplicate-uuid"}},
		"many": {40, 21, []string{"vg-duplicate-uuid", "vg-contradictions"}},
	} {
		t.Run(name, func(t *testing.T) {
			disks := fixtures.Open(t, "linear")
			vg, err := metadata.ParseTolerant([]byte(disks.Files["backup/vg0"]))
			require.NoError(t, err)
			vg.Seqno = 1
			for range c.copies {
				lv := *vg.LVs[0]
				lv.Name += string(rune('A' + len(vg.LVs)))
				vg.LVs = append(vg.LVs, &lv)
			}
			backup := filepath.Join(t.TempDir(), "vg0")
			require.NoError(t, os.WriteFile(backup, metadata.Encode(vg, metadata.File), 0o666))
			ev, err := scan.Run(t.Context(), disks.Paths(), scan.Options{Backups: []string{backup}})
			require.NoError(t, err)
			defer ev.Close()
			r, err := rebuild.Build(ev, rebuild.Options{})
			require.NoError(t, err)
			require.Empty(t, r.Groups[0].At(nil).Findings)
			forged := r.Groups[0].Versions[0]
			require.EqualValues(t, 1, forged.Meta.Seqno)
			found := r.Groups[0].At(forged).Findings
			require.LessOrEqual(t, len(found), c.most)
			var codes []string
			for _, f := range found {
				codes = append(codes, f.Code)
			}
			require.Subset(t, codes, c.want)
		})
	}
}
