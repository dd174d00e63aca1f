package rebuild_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// TestOneDiskIsOnePV: a disk without a label that the user places by hand is no candidate
// for the PV that is missing as well.
func TestOneDiskIsOnePV(t *testing.T) {
	c := fixtures.Open(t, "linear")
	whole, err := scan.Run(t.Context(), c.Paths(), scan.Options{})
	require.NoError(t, err)
	defer whole.Close()
	id := whole.PVs[0].ID()
	require.Equal(t, "a.img", filepath.Base(whole.PVs[0].Source.Name))

	require.NoError(t, damage.Zero(c.Disk("a"), 0, 4*512))
	ev, err := scan.Run(t.Context(), []string{c.Disk("a"), c.Disk("b")}, scan.Options{})
	require.NoError(t, err)
	defer ev.Close()
	r, err := rebuild.Build(ev, rebuild.Options{Assume: []rebuild.Assume{{PV: id, Source: c.Disk("a")}}})
	require.NoError(t, err)
	vg := r.Groups[0].At(nil)
	require.False(t, vg.PV("pv0").Missing())
	require.False(t, vg.PV("pv1").Missing())
	require.True(t, vg.PV("pv2").Missing())
}
