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

// TestDamagedUUIDIsNoName: a label whose damage is in the UUID names a PV that nobody knows.
// Its disk carries the VG's text, and is the one PV that is not found.
func TestDamagedUUIDIsNoName(t *testing.T) {
	c := fixtures.Open(t, "linear")
	const uuid = 512 + 32
	require.NoError(t, damage.Flip(c.Disk("b"), uuid+5, 0))
	ev, err := scan.Run(t.Context(), c.Paths(), scan.Options{})
	require.NoError(t, err)
	defer ev.Close()
	r, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	p := r.Groups[0].At(nil).PV("pv1")
	require.False(t, p.Missing())
	require.Equal(t, c.Disk("b"), p.Found.Source.Name)
	require.Contains(t, p.Doubt, "no good label")
}
