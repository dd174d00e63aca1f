package match_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate/match"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// hostileText is the text of a VG with so many PVs, of which nothing is there, and arrays of
// 250 legs on them.
func hostileText(pvs, arrays int) string {
	const legs = 250
	id := func(n int) string { return metadata.ID(fmt.Sprintf("%032d", n)).String() }
	var b strings.Builder
	fmt.Fprintf(&b, "vg {\nid = %q\nseqno = 1\nformat = \"lvm2\"\nstatus = []\nflags = []\nextent_size = 8\nmax_lv = 0\nmax_pv = 0\nphysical_volumes {\n", id(1))
	for i := range pvs {
		fmt.Fprintf(&b, "pv%d {\nid = %q\nstatus = []\nflags = []\npe_start = 8\npe_count = 10\n}\n", i, id(1000+i))
	}
	b.WriteString("}\nlogical_volumes {\n")
	lv := func(name string, n int, segment string) {
		fmt.Fprintf(&b, "%s {\nid = %q\nstatus = [\"VISIBLE\"]\nflags = []\nsegment1 {\nstart_extent = 0\n%s}\n}\n", name, id(n), segment)
	}
	for i := range 2 {
		lv(fmt.Sprintf("image%d", i), 10+i, fmt.Sprintf("extent_count = 1\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv%d\", 0]\n", i))
	}
	list := `"x_rmeta_0", "image0"` + strings.Repeat(`, "x_rmeta_0", "image1"`, legs-1)
	for i := range arrays {
		lv(fmt.Sprintf("a%d", i), 100+i, fmt.Sprintf("extent_count = %d\ntype = \"raid5_ls\"\nstripe_size = 8\ndevice_count = %d\nraids = [%s]\n", legs-1, legs, list))
	}
	b.WriteString("}\n}\ncontents = \"Text Format Volume Group\"\nversion = 1\ncreation_time = 1700000000\n")
	return b.String()
}

// TestProbingIsBounded gives texts that make each look at a place cost much, or ask for many:
// what was not looked at is told.
func TestProbingIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		pvs, arrays int
		want        string
	}{
		"arrays of many legs": {2, 100, "looking for missing PVs of VG vg by what stands on disks without a label takes more work than is allowed"},
		"many PVs":            {10_000, 0, "of 10000 missing PVs of VG vg only 64 were looked for on disks without a label"},
		"few of both":         {2, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			disk, text := filepath.Join(t.TempDir(), "disk"), filepath.Join(t.TempDir(), "text")
			require.NoError(t, os.WriteFile(disk, make([]byte, 1<<20), 0o600))
			require.NoError(t, os.WriteFile(text, []byte(hostileText(c.pvs, c.arrays)), 0o600))
			ev, err := scan.Run(t.Context(), []string{disk}, scan.Options{Backups: []string{text}})
			require.NoError(t, err)
			t.Cleanup(func() { ev.Close() })
			r, all, err := match.Build(ev, rebuild.Options{})
			require.NoError(t, err)
			for _, m := range all {
				require.False(t, m.Used)
			}
			var texts []string
			for _, f := range r.Findings {
				if f.Code == "probe-bounded" {
					texts = append(texts, f.Text)
				}
			}
			if c.want == "" {
				require.Empty(t, texts)
				return
			}
			require.Len(t, texts, 1)
			require.Contains(t, texts[0], c.want)
		})
	}
}
