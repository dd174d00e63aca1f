package verify_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/verify"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

func openVG(t *testing.T, corpus string) (*fixtures.Corpus, *rebuild.VG) {
	c := fixtures.Open(t, corpus)
	ev, err := scan.Run(context.Background(), c.Paths(), scan.Options{})
	require.NoError(t, err)
	res, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	return c, res.Groups[0].At(nil)
}

func plan(t *testing.T, vg *rebuild.VG, key string) *activate.Plan {
	_, name, _ := strings.Cut(key, "/")
	lv, err := vg.LV(name)
	require.NoError(t, err)
	p, err := activate.New(vg, lv, volume.OpenVolume)
	require.NoError(t, err)
	return p
}

func run(t *testing.T, p *activate.Plan) ([]verify.Mismatch, verify.Totals) {
	var found []verify.Mismatch
	totals, err := verify.Run(context.Background(), p, nil, func(m verify.Mismatch) { found = append(found, m) })
	require.NoError(t, err)
	return found, totals
}

func TestHealthyArraysAgree(t *testing.T) {
	for _, corpus := range []string{"raid-levels", "raid-takeover"} {
		c, vg := openVG(t, corpus)
		arrays := 0
		for key := range c.Golden {
			found, totals := run(t, plan(t, vg, key))
			require.Empty(t, found, key)
			require.Zero(t, totals.Wrong)
			if totals.Arrays > 0 && !strings.HasPrefix(key, "vgt/split") {
				require.Positive(t, totals.Checked, key)
				require.Zero(t, totals.Unchecked, key)
			}
			arrays += totals.Arrays
		}
		require.GreaterOrEqual(t, arrays, len(c.Golden)/2)
	}
}

// lying is a disk with one bit of a byte wrong.
type lying struct {
	block.Device
	at int64
}

func (l lying) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.Device.ReadAt(p, off)
	if off <= l.at && l.at < off+int64(n) {
		p[l.at-off] ^= 0x10
	}
	return n, err
}

// TestLiars flips a bit on each leg in turn, in the middle of the first chunk of its last
// row.
func TestLiars(t *testing.T) {
	for _, c := range []struct {
		lv   string
		tell bool // the leg can be told
	}{
		{"vgr/r1", false}, {"vgr/r1x3", true}, {"vgr/r10", false}, {"vgr/r4", false}, {"vgr/r5ls", false},
		{"vgr/r6zr", true}, {"vgr/r6nc", true}, {"vgr/r6ls_6", true}, {"vgr/r6n_6", true},
	} {
		t.Run(strings.TrimPrefix(c.lv, "vgr/"), func(t *testing.T) {
			_, vg := openVG(t, "raid-levels")
			raid := plan(t, vg, c.lv).Root.Segments[0].Target.(activate.RAID)
			for i, leg := range raid.Legs {
				const at = 20_000
				in := leg.Image.Volume.Segments[0].Target.(activate.Linear).Input
				honest := in.PV.Dev
				in.PV.Dev = lying{honest, in.Off + at}
				p := plan(t, vg, c.lv)
				found, totals := run(t, p)
				require.Len(t, found, 1, "leg %d", i)
				m := found[0]
				require.Equal(t, int64(block.SectorSize), m.LegLen)
				require.Equal(t, int64(at/block.SectorSize*block.SectorSize), m.LegOff)
				require.Equal(t, int64(block.SectorSize*len(raid.Legs)), totals.Wrong)
				want := -1
				if c.tell {
					want = i
				}
				require.Equal(t, want, m.Liar)
				requireWithin(t, vg, c.lv, in.PV, honest, m)
				in.PV.Dev = honest
			}
		})
	}
}

// requireWithin reads the LV with and without the lie: it must not show outside of the
// mismatch.
func requireWithin(t *testing.T, vg *rebuild.VG, lv string, pv *rebuild.PV, honest block.Device, m verify.Mismatch) {
	read := func() []byte {
		dev := volume.Open(plan(t, vg, lv))
		b := make([]byte, dev.Size())
		_, err := dev.ReadAt(b, 0)
		require.NoError(t, err)
		return b
	}
	wrong := read()
	pv.Dev = honest
	right := read()
	for i := range right {
		if right[i] != wrong[i] {
			require.GreaterOrEqual(t, int64(i), m.Off)
			require.Less(t, int64(i), m.Off+m.Len)
		}
	}
}

func TestWhatCannotBeCompared(t *testing.T) {
	_, vg := openVG(t, "raid-levels")
	p := plan(t, vg, "vgr/r5ls")
	leg := p.Root.Segments[0].Target.(activate.RAID).Legs[1]
	pv := leg.Image.Volume.Segments[0].Target.(activate.Linear).Input.PV
	pv.Dev = block.NewBad(pv.Dev.Size(), "gone")
	found, totals := run(t, plan(t, vg, "vgr/r5ls"))
	require.Empty(t, found)
	require.Zero(t, totals.Checked)
	require.Positive(t, totals.Unchecked)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := verify.Run(ctx, p, nil, nil)
	require.ErrorIs(t, err, context.Canceled)

	linear := &activate.Plan{Root: &activate.Volume{LV: &metadata.LV{}, Segments: []activate.Segment{{Target: activate.Zero{}}}}}
	_, totals = run(t, linear)
	require.Equal(t, verify.Totals{}, totals)
}
