package activate_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
)

// removedVG is thinVG after thin device 7 was removed and 8 made, which has chunk 0 of it
// where 7 had its chunk 3.
func removedVG() *rebuild.VG {
	vg, disks := thinVG()
	m := pdata.New()
	seven := m.Tree(8, []pdata.Entry{pdata.Mapping(1, 2, 0), pdata.Mapping(3, 0, 0)})
	m.Commit(pdata.Pool{Transaction: 1, Devices: []pdata.Device{{ID: 7, Root: seven, Mapped: 2}}})
	eight := m.Tree(8, []pdata.Entry{pdata.Mapping(0, 0, 0)})
	m.Commit(pdata.Pool{Transaction: 3, Devices: []pdata.Device{{ID: 8, Root: eight, Mapped: 1, Transaction: 2}}})
	vg.Meta.LVs[2].Segments[0].ExtentCount = 16
	writeInto(disks[1], 0, *m)
	return vg
}

// TestRemovedThin reads a removed thin LV, which an older text still has, and the same
// device without any text. What another device has now is lost, all else doubtful.
func TestRemovedThin(t *testing.T) {
	const want = " a ."
	vg := removedVG()
	p, dev := planned(t, vg, "t")
	require.Equal(t, want, letters(picture(t, dev)))
	require.Equal(t, "t: thin device 7, made in transaction 0, is not in pool p any more; its tree at metadata block 1 is, 1 of its 2 blocks of data are another's now", notes(p))

	list := activate.OlderThins(vg, volume.OpenVolume, false)
	require.Len(t, list, 1)
	require.Equal(t, "p#dev7@tid0", list[0].LV.Name)
	require.True(t, list[0].Removed)
	require.True(t, activate.IsOlderThin(list[0].LV.Name))

	found, err := activate.FindOlderThin(vg, volume.OpenVolume, "p#dev7@tid0")
	require.NoError(t, err)
	plan, err := activate.New(vg, found.LV, volume.OpenVolume)
	require.NoError(t, err)
	require.Equal(t, want, letters(picture(t, volume.Open(plan))))
	require.Equal(t, "thin device 7, chunk 65536, an older state with its tree at metadata block 1", plan.Root.Segments[0].Target.String())

	_, err = activate.FindOlderThin(vg, volume.OpenVolume, "p#dev9@tid0")
	require.ErrorContains(t, err, "has no state p#dev9@tid0 that is left")
	_, err = activate.FindOlderThin(vg, volume.OpenVolume, "x#dev9@tid0")
	require.ErrorContains(t, err, "LV vg/x is neither a thin pool nor a thin LV")
}

// TestAnotherDeviceOfTheSameID: an LV whose device was made in another transaction than the
// pool says is not that device.
func TestAnotherDeviceOfTheSameID(t *testing.T) {
	vg := removedVG()
	lv, err := vg.LV("t")
	require.NoError(t, err)
	set(lv, "device_id", metadata.MakeInt(8))
	_, dev := planned(t, vg, "t")
	require.Equal(t, "a   ", letters(picture(t, dev)))
}
