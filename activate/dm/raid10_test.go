package dm

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/scan/block"
)

// TestSpreadCopies loses legs of arrays with far and offset copies. What is lost must be an error
// for md, whatever the user wants to read there.
func TestSpreadCopies(t *testing.T) {
	c := fixtures.Open(t, "raid10-layouts")
	require.NoError(t, c.Drop("b"))
	made := 0
	for _, p := range plans(t, c.Paths(), nil) {
		array := p.plan.Root.Segments[0].Target.(activate.RAID)
		if !array.Parts[0].Layout.Spreads() {
			continue
		}
		s, err := Compile(p.plan, Options{Open: volume.OpenVolume, ZeroLost: true}, Sources{})
		require.NoError(t, err)
		errors := 0
		for _, d := range s.Devices {
			for _, line := range d.Table {
				require.NotEqual(t, "zero", line.Type)
				if line.Type == "error" {
					errors++
				}
			}
		}
		require.Equal(t, 1, errors, p.plan.LV.Name)
		top := s.Top().Table[0]
		require.Equal(t, "raid", top.Type)
		require.Contains(t, top.Args, word("nosync"))
		require.Equal(t, 2*array.Parts[0].Layout.Devices, len(slices.DeleteFunc(slices.Clone(top.Args), func(a Arg) bool { return a.On == nil })))
		made++

		array.Unsynced = []block.Extent{{Len: 512}}
		p.plan.Root.Segments[0].Target = array
		_, why := compiled(t, p.plan)
		require.Contains(t, why, "not in sync")
	}
	require.Equal(t, 14, made)

	require.NoError(t, c.Drop("c"))
	for _, p := range plans(t, c.Paths(), nil) {
		if p.plan.VG.Meta.Name != "vgx" {
			continue
		}
		_, why := compiled(t, p.plan)
		l := p.plan.Root.Segments[0].Target.(activate.RAID).Parts[0].Layout
		require.Equal(t, l.Spreads() && l.Copies() == 2, why != "", "%s: %s", p.plan.LV.Name, why)
	}
}
