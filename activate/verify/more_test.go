package verify_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/scan/block"
)

// TestLiarsAmongSpreadCopies flips a bit on each leg in turn.
func TestLiarsAmongSpreadCopies(t *testing.T) {
	for lv, tell := range map[string]bool{
		"vgx/far": false, "vgx/offset6": false, "vgx/near5": false, "vgx/far3": true, "vgx/three5": true, "vgx/near3": true,
	} {
		_, vg := openVG(t, "raid10-layouts")
		found, totals := run(t, plan(t, vg, lv))
		require.Empty(t, found, lv)
		require.Positive(t, totals.Checked)
		require.Zero(t, totals.Unchecked)
		raid := plan(t, vg, lv).Root.Segments[0].Target.(activate.RAID)
		for i, leg := range raid.Legs {
			const at = 20_000
			in := leg.Image.Volume.Segments[0].Target.(activate.Linear).Input
			honest := in.PV.Dev
			in.PV.Dev = lying{honest, in.Off + at}
			found, totals := run(t, plan(t, vg, lv))
			require.Len(t, found, 1, "%s leg %d", lv, i)
			m := found[0]
			require.Equal(t, int64(block.SectorSize), m.LegLen)
			require.Positive(t, totals.Wrong)
			require.Equal(t, tell, m.Liar == i)
			if tell {
				require.Equal(t, int64(at/block.SectorSize*block.SectorSize), m.LegOff)
				require.Equal(t, leg.Image.Volume.LV.Name, m.Suspect)
			}
			requireWithin(t, vg, lv, in.PV, honest, m)
		}
	}
}

// TestChecksumsTellWhoLies: with integrity two copies, or parity, are enough.
func TestChecksumsTellWhoLies(t *testing.T) {
	for _, lv := range []string{"vgi/calm", "vgi/small", "vgi/parity"} {
		_, vg := openVG(t, "integrity")
		_, before := run(t, plan(t, vg, lv))
		raid := plan(t, vg, lv).Root.Segments[0].Target.(activate.RAID)
		for i, leg := range raid.Legs {
			const at = 300_000 // not in the journal
			in := leg.Image.Volume.Segments[0].Target.(activate.Integrity).Data.Volume.Segments[0].Target.(activate.Linear).Input
			honest := in.PV.Dev
			in.PV.Dev = lying{honest, in.Off + at}
			found, totals := run(t, plan(t, vg, lv))
			require.Len(t, found, 1, "%s leg %d", lv, i)
			require.Equal(t, i, found[0].Liar)
			require.Equal(t, leg.Image.Volume.LV.Name, found[0].Suspect)
			require.LessOrEqual(t, found[0].LegOff, int64(at))
			require.Greater(t, found[0].LegOff+found[0].LegLen, int64(at))
			require.Equal(t, before.Checked, totals.Checked)
			require.Equal(t, before.Unchecked, totals.Unchecked)
			require.Equal(t, found[0].LegLen*int64(len(raid.Legs)), totals.Wrong)
			in.PV.Dev = honest
		}
	}
}

// TestMirrors: of the kind before raid1 only those regions are compared that a log calls in
// sync.
func TestMirrors(t *testing.T) {
	for lv, checked := range map[string]bool{"vgm/two": true, "vgm/three": true, "vgm/core": false, "vgm/nosync": false} {
		_, vg := openVG(t, "mirror")
		found, totals := run(t, plan(t, vg, lv))
		require.Empty(t, found, lv)
		require.Equal(t, 1, totals.Arrays)
		require.Equal(t, checked, totals.Checked > 0, "%s %+v", lv, totals)
		if !checked {
			continue
		}
		require.Zero(t, totals.Unchecked, lv)
		legs := plan(t, vg, lv).Root.Segments[0].Target.(activate.Mirror).Legs
		for i, leg := range legs {
			const at = 20_000
			in := leg.Volume.Segments[0].Target.(activate.Linear).Input
			honest := in.PV.Dev
			in.PV.Dev = lying{honest, in.Off + leg.Off + at}
			found, _ := run(t, plan(t, vg, lv))
			require.Len(t, found, 1)
			require.Equal(t, int64(at/block.SectorSize*block.SectorSize), found[0].Off)
			require.Equal(t, len(legs) > 2, found[0].Liar == i)
			in.PV.Dev = honest
		}
	}
	_, vg := openVG(t, "mirror")
	_, totals := run(t, plan(t, vg, "vgm/young"))
	require.Positive(t, totals.Checked)
	require.Greater(t, totals.Unchecked, totals.Checked, "it is in its first sync")
}
