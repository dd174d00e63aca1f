package volume

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// TestThinMetadataLost breaks each block in use of the metadata of real pools, alone and
// together with the superblock, and holds the thin LVs against what the kernel wrote: what is
// called data or zeros is right, and an inner node or a superblock costs nothing.
func TestThinMetadataLost(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, c := range []struct {
		corpus, lv string
		legs       []int // of a raid1 below the metadata
	}{
		{"thin", "vgt/t1", nil},
		{"thin-crash", "vgt/t1", nil},
		{"thin-rescue", "vgr/t1", nil},
		{"thin-shapes", "vgh/f1", []int{0}},
		{"thin-shapes", "vgh/f1", []int{1}},
		{"thin-shapes", "vgh/f1", []int{0, 1}},
		{"thin-shapes", "vgh/q1", nil},
		{"thin-shapes", "vgh/w1", nil},
	} {
		t.Run(fmt.Sprint(c.corpus, " ", c.lv, " ", c.legs), func(t *testing.T) {
			disks := fixtures.Open(t, c.corpus)
			var target activate.Thin
			each(t, disks.Paths(), func(_ string, plan *activate.Plan) {
				if plan.VG.Meta.Name+"/"+plan.LV.Name == c.lv {
					target = plan.Root.Segments[0].Target.(activate.Thin)
				}
			})
			require.NotNil(t, target.Metadata.Volume)
			flip := func(block uint64) {
				flipIn(t, activate.Input{Volume: target.Metadata.Volume}, int64(block)*btree.BlockSize+777, c.legs)
			}
			meta := OpenVolume(target.Metadata.Volume)
			pool, err := thin.Open(meta, meta.Size())
			require.NoError(t, err)
			healthy := map[string]block.Device{}
			each(t, disks.Paths(), func(name string, plan *activate.Plan) {
				if _, ok := plan.Root.Segments[0].Target.(activate.Thin); ok {
					healthy[name] = inMemory(t, Open(plan))
				}
			})
			require.NotEmpty(t, healthy)
			for _, b := range inUse(t, pool) {
				for _, blocks := range [][]uint64{{b}, {0, b}} {
					for _, n := range blocks {
						flip(n)
					}
					each(t, disks.Paths(), func(name string, plan *activate.Plan) {
						if h := healthy[name]; h != nil {
							requireSame(t, fmt.Sprintf("%v: %s", blocks, plan.LV.Name), h, Open(plan))
						}
					})
					for _, n := range blocks {
						flip(n)
					}
				}
			}
		})
	}
}

// TestHealthyPoolsAgreeWithTheirSpaceMaps finds nothing wrong with what the kernel has left:
// no block of the data is claimed twice, and each is counted as often as it is used.
func TestHealthyPoolsAgreeWithTheirSpaceMaps(t *testing.T) {
	pools := 0
	for _, name := range []string{"thin", "thin-crash", "thin-rescue", "thin-shapes", "stacked", "pools-stacked"} {
		each(t, fixtures.Open(t, name).Paths(), func(_ string, plan *activate.Plan) {
			if _, err := plan.LV.Segments[0].ThinPool(); err != nil {
				return
			}
			pool, err := activate.NewThinPool(plan.VG, plan.LV, OpenVolume)
			require.NoError(t, err)
			found, err := pool.Salvage()
			require.NoError(t, err)
			require.Equal(t, &salvage.DataMap{}, found.DataMap(), "%s/%s", name, plan.LV.Name)
			require.Empty(t, found.Damage(), "%s/%s", name, plan.LV.Name)
			conflicts, ok := found.Conflicts(found.DataBlocks)
			require.True(t, ok)
			require.Empty(t, conflicts, "%s/%s", name, plan.LV.Name)
			pools++
		})
	}
	require.Greater(t, pools, 8)
}

// TestThinMetadataWhereItWas looks at a pool as it was before a repair, and loses the metadata
// that it had then: where another version of the VG has it the same is told, in doubt.
func TestThinMetadataWhereItWas(t *testing.T) {
	disks := fixtures.Open(t, "thin-rescue")
	plan := func() *activate.Plan {
		ev, err := scan.Run(context.Background(), disks.Paths(), scan.Options{History: true})
		require.NoError(t, err)
		res, err := rebuild.Build(ev, rebuild.Options{Thin: "salvage"})
		require.NoError(t, err)
		g, err := res.Find("vgr")
		require.NoError(t, err)
		var before *rebuild.VG
		for _, v := range g.Versions { // the last before the repair
			vg := g.At(v)
			_, noPool := vg.LV("o1")
			_, noLeftOver := vg.LV("old_meta0")
			_, noSpare := vg.LV("lvol0_pmspare")
			if noPool == nil && noLeftOver != nil && noSpare != nil {
				before = vg
			}
		}
		require.NotNil(t, before)
		lv, err := before.LV("o1")
		require.NoError(t, err)
		p, err := activate.New(before, lv, OpenVolume)
		require.NoError(t, err)
		return p
	}
	before := plan()
	healthy := inMemory(t, Open(before))
	meta := before.Root.Segments[0].Target.(activate.Thin).Metadata.Volume
	for _, s := range meta.Segments {
		in := s.Target.(activate.Linear).Input
		require.NoError(t, damage.Zero(in.PV.Found.Source.Name, in.PV.Found.Offset+in.Off, s.Len))
	}
	after := plan()
	target := after.Root.Segments[0].Target
	require.IsType(t, activate.Thin{}, target)
	require.Contains(t, target.(activate.Thin).Salvaged.Unproven, "the metadata of pool old is lost; where it was by seqno")
	dev := Open(after)
	require.Equal(t, content(t, healthy), content(t, dev))
	for e := range dev.Extents(0, dev.Size()) {
		require.NotContains(t, []block.State{block.Data, block.Zero}, e.State)
	}
}

// TestThinMetadataBeforePvmove loses the metadata of a pool that pvmove had taken elsewhere:
// where it came from it is as it was then, and what was written since is not passed off as good.
func TestThinMetadataBeforePvmove(t *testing.T) {
	disks := fixtures.Open(t, "thin-moved")
	_, dev := found(t, disks, "vgm/t1")
	healthy := content(t, dev)
	plan := func(thin string) *activate.Plan {
		ev, err := scan.Run(context.Background(), disks.Paths(), scan.Options{History: thin != ""})
		require.NoError(t, err)
		res, err := rebuild.Build(ev, rebuild.Options{Thin: thin})
		require.NoError(t, err)
		g, err := res.Find("vgm")
		require.NoError(t, err)
		vg := g.At(nil)
		lv, err := vg.LV("t1")
		require.NoError(t, err)
		p, err := activate.New(vg, lv, OpenVolume)
		require.NoError(t, err)
		return p
	}
	meta := plan("").Root.Segments[0].Target.(activate.Thin).Metadata.Volume
	require.Len(t, meta.Segments, 1)
	in := meta.Segments[0].Target.(activate.Linear).Input
	require.NoError(t, damage.Zero(in.PV.Found.Source.Name, in.PV.Found.Offset+in.Off, meta.Size))

	lost := plan("").Root.Segments[0].Target
	require.IsType(t, activate.Error{}, lost)
	require.Contains(t, lost.(activate.Error).Why, "--thin=salvage")

	dev = Open(plan("salvage"))
	old := content(t, dev)
	const since, until = 500 * 4096, 520 * 4096
	require.Equal(t, healthy[:since], old[:since])
	require.Equal(t, healthy[until:], old[until:])
	require.NotEqual(t, healthy[since:until], old[since:until])
	require.Equal(t, dev.Size(), block.Summarise(dev).Doubtful)
}

// flipIn turns a bit of what an input reads at a byte, on those legs of a raid1 on the way.
func flipIn(t *testing.T, in activate.Input, at int64, legs []int) {
	t.Helper()
	at += in.Off
	if in.Volume == nil {
		require.NoError(t, damage.Flip(in.PV.Found.Source.Name, in.PV.Found.Offset+at, 3))
		return
	}
	for _, s := range in.Volume.Segments {
		if at < s.Off || at >= s.Off+s.Len {
			continue
		}
		switch target := s.Target.(type) {
		case activate.Linear:
			flipIn(t, target.Input, at-s.Off, legs)
		case activate.RAID:
			for _, leg := range legs {
				flipIn(t, target.Legs[leg].Image, at-s.Off+target.Parts[0].DataOffset, legs)
			}
		default:
			require.Failf(t, "not known", "%T", target)
		}
	}
}

// inUse lists the metadata blocks that a pool's trees use, and its space map's index.
func inUse(t *testing.T, p *thin.Pool) []uint64 {
	blocks := []uint64{p.MappingRoot, p.DetailsRoot, p.MetadataMap.Bitmaps}
	for _, tree := range []btree.Tree{{Reader: p.Reader, Root: p.MappingRoot, ValueSize: 8}} {
		for piece := range tree.Walk(0, thin.MaxDevice) {
			for i, j := piece.Entries(); i < j; i++ {
				blocks = append(blocks, piece.Node.Uint64(i))
			}
		}
	}
	require.Greater(t, len(blocks), 4)
	return blocks
}

// inMemory keeps what a device holds, its zeros as such.
func inMemory(t *testing.T, dev block.Device) block.Device {
	b := make([]byte, dev.Size())
	_, err := dev.ReadAt(b, 0)
	require.NoError(t, err)
	return memory(b)
}

// requireSame holds what a device delivers beyond doubt against the healthy one.
func requireSame(t *testing.T, what string, healthy, got block.Device) {
	t.Helper()
	require.Equal(t, healthy.Size(), got.Size(), what)
	for e := range got.Extents(0, got.Size()) {
		if e.State != block.Data && e.State != block.Zero {
			continue
		}
		a, b := make([]byte, e.Len), make([]byte, e.Len)
		_, err := got.ReadAt(a, e.Off)
		require.NoError(t, err, what)
		_, err = healthy.ReadAt(b, e.Off)
		require.NoError(t, err, what)
		require.True(t, bytes.Equal(a, b), "%s: bytes %d to %d are wrong", what, e.Off, e.End())
	}
}
