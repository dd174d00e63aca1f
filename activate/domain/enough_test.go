package domain_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/domain"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// open scans disks and plans an LV of theirs.
func open(t *testing.T, paths []string, key string) (*scan.Evidence, *activate.Plan) {
	t.Helper()
	ev, err := scan.Run(context.Background(), paths, scan.Options{})
	require.NoError(t, err)
	res, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	vgName, lvName, _ := strings.Cut(key, "/")
	g, err := res.Find(vgName)
	require.NoError(t, err)
	vg := g.At(nil)
	lv, err := vg.LV(lvName)
	require.NoError(t, err)
	p, err := activate.New(vg, lv, volume.OpenVolume)
	require.NoError(t, err)
	return ev, p
}

// keepOnly overwrites everything else on the disks.
func keepOnly(t *testing.T, needs []domain.Need) {
	t.Helper()
	keep := map[string]*domain.Ranges{}
	for _, n := range needs {
		if keep[n.Source.Name] == nil {
			keep[n.Source.Name] = &domain.Ranges{}
		}
		for _, r := range n.Needed {
			keep[n.Source.Name].Add(r)
		}
	}
	for path, ranges := range keep {
		old, err := os.ReadFile(path)
		require.NoError(t, err)
		disk := []byte(strings.Repeat("lost", len(old)/4))
		for _, r := range *ranges {
			copy(disk[r.Off:min(r.End(), int64(len(disk)))], old[r.Off:])
		}
		require.NoError(t, os.WriteFile(path, disk, 0o644))
	}
}

// TestWhatIsNeededIsEnough: an LV reads the same from disks of which only that was rescued
// which its domain and the metadata's ask for.
func TestWhatIsNeededIsEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for corpus, keys := range map[string][]string{
		"linear":    {"vg0/root"},
		"striped":   nil,
		"mirror":    {"vgm/three", "vgm/wider", "vgm/young"},
		"pvmove":    {"vgp/two", "vgq/first"},
		"merge":     {"vgm/whole", "vgm/wide", "vgm/other"},
		"snapshot":  {"vgs/s4", "vgs/sparse"},
		"integrity": {"vgi/small", "vgi/parity"},
		"thin":      {"vgt/t1", "vgt/x2", "vgs/r1"},
		"cache":     {"vgc/wb2", "vgc/cv", "vgc/pt"},

		"writecache-crash": {"vgw/w512"},
		"pools-stacked":    {"vgp/t1s", "vgp/snapped", "vgp/w1"},
	} {
		if keys == nil {
			for key := range fixtures.Open(t, corpus).Golden {
				keys = append(keys, key)
			}
		}
		for _, key := range keys {
			t.Run(corpus+"/"+key, func(t *testing.T) {
				c := fixtures.Open(t, corpus)
				ev, p := open(t, c.Paths(), key)
				needs, absent := domain.OfLVs(p)
				require.Empty(t, absent)
				healthy := volume.Open(p)
				known := block.Summarise(healthy)
				keepOnly(t, append(needs, domain.OfMetadata(ev)...))

				_, p = open(t, c.Paths(), key)
				rescued := volume.Open(p)
				totals := block.Summarise(rescued)
				require.Equal(t, known.Causes(), totals.Causes(), "what was not rescued is not missed")
				require.Equal(t, healthy.Size(), rescued.Size())
				h := c.Golden[key]
				data := make([]byte, rescued.Size())
				_, err := rescued.ReadAt(data, 0)
				require.NoError(t, err)
				require.NoError(t, h.Check(strings.NewReader(string(data))))
			})
		}
	}
}
