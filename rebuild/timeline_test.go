package rebuild_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

func group(t *testing.T, corpus, name string, so scan.Options) (*fixtures.Corpus, *rebuild.Group) {
	t.Helper()
	c := fixtures.Open(t, corpus)
	r, err := built(t, c.Paths(), so, rebuild.Options{})
	require.NoError(t, err)
	g, err := r.Find(name)
	require.NoError(t, err)
	return c, g
}

// TestRestoredTextGoesOn: after vgcfgrestore of an old file seqnos begin again behind the
// file's. What was before is older, not newer, whatever its seqno.
func TestRestoredTextGoesOn(t *testing.T) {
	_, g := group(t, "undo-vgcfgrestore", "vgw", scan.Options{History: true})
	var seqnos []uint32
	for _, v := range g.Versions {
		seqnos = append(seqnos, v.Meta.Seqno)
	}
	require.Equal(t, []uint32{1, 2, 3, 4, 5, 6, 7, 4, 5}, seqnos)
	require.Same(t, g.Versions[8], g.Current)
	require.Empty(t, g.Doubt)
	require.Empty(t, g.Gaps())
	var codes []string
	for _, f := range g.Findings {
		codes = append(codes, f.Code)
	}
	require.Equal(t, []string{"restored"}, codes)

	var removed []string
	for _, r := range g.Removed() {
		require.Equal(t, uint32(7), r.Version.Meta.Seqno)
		removed = append(removed, r.LV.Name)
	}
	require.Equal(t, []string{"late", "lost"}, removed)
}

// TestRemovedWithItsDisk: the versions in which vgreduce --removemissing took LVs apart are
// not the ones to have them back from.
func TestRemovedWithItsDisk(t *testing.T) {
	_, g := group(t, "undo-removemissing", "vgm", scan.Options{History: true})
	n := 0
	for _, r := range g.Removed() {
		if r.LV.Name == "gone" || r.LV.Name == "striped" {
			require.Equal(t, uint32(6), r.Version.Meta.Seqno, r.LV.Name)
			n++
		}
	}
	require.Equal(t, 2, n)
}

// TestGapsAreInDoubt: an archive file is older than what the disks have, and what was between
// is lost: only extents that are in the same use on both sides of the gap are beyond doubt.
func TestGapsAreInDoubt(t *testing.T) {
	c := fixtures.Open(t, "raw-history")
	archives, err := filepath.Glob(filepath.Join(c.Dir, "archive", "vgl_00004-*.vg"))
	require.NoError(t, err)
	require.Len(t, archives, 1)
	r, err := built(t, c.Paths(), scan.Options{Backups: archives}, rebuild.Options{})
	require.NoError(t, err)
	g := r.Groups[0]
	require.Len(t, g.Versions, 2)
	require.Len(t, g.Gaps(), 1)
	old := g.Versions[0]
	require.Equal(t, old.Meta.Seqno+1, g.Gaps()[0].From)
	require.Equal(t, g.Current.Meta.Seqno-1, g.Gaps()[0].To)

	vg := g.At(old)
	keepsake, err := vg.LV("keepsake")
	require.NoError(t, err)
	photos, err := vg.LV("photos")
	require.NoError(t, err)
	es := vg.Meta.ExtentSize * block.SectorSize
	state := func(at int64) block.Extent {
		p := vg.PVs[0]
		for e := range p.Dev.Extents(p.Meta.PEStart*block.SectorSize+at*es, 1) {
			return e
		}
		return block.Extent{}
	}
	require.Equal(t, block.Data, state(keepsake.Segments[0].Areas[0].Start).State, "it is there all the time")
	gone := state(photos.Segments[0].Areas[0].Start)
	require.Equal(t, block.Doubtful, gone.State)
	require.Contains(t, gone.Why, "not found")
}
