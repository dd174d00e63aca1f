package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// special lists the LVs that cannot come out complete, or not from the version that stands
// out, by corpus and golden.
var special = map[string]struct {
	health  Health
	same    bool     // the bytes are the kernel's all the same
	without []string // disks that are left out
	err     string   // that finding the LV fails with
}{
	"clones/vgc/one@3":             {health: Complete, without: []string{"b", "b_recent"}}, // written to since
	"forks/vgk/onb":                {health: Doubt, same: true},                            // two versions have the newest seqno
	"forks/vgk/right@6":            {health: Doubt},
	"integrity-journal/vgj/log":    {health: Degraded},          // of one leg
	"linear/vg0/lost@8":            {health: Doubt},             // its extents were used again
	"mirror/vgm/young":             {health: Degraded},          // in its first sync
	"mirror-log/vgl/young":         {health: Degraded},          // in its first sync
	"missing/vgg/onb":              {health: Doubt, same: true}, // on a PV that is flagged MISSING
	"missing/vgg/wide":             {health: Doubt, same: true},
	"nested/inner/one":             {err: "no volume group"}, // inside an LV
	"raid-stale/vgs/five":          {health: Degraded},       // one leg is stale
	"raid-stale/vgs/mirror":        {health: Degraded},
	"raid-stale/vgs/six":           {health: Degraded},
	"raid-stale/vgs/ten":           {health: Degraded},
	"raid-stale/vgs/three":         {health: Degraded},
	"raid-sync/vgy/i1":             {health: Degraded}, // in its first sync
	"raid-sync/vgy/i10":            {health: Degraded},
	"raid-sync/vgy/r1":             {health: Degraded}, // a leg is being rebuilt
	"raid-sync/vgy/r10":            {health: Degraded},
	"raid-sync/vgy/r5":             {health: Degraded},
	"raid-sync/vgy/r6":             {health: Degraded},
	"raid-takeover/vgt/split":      {health: Degraded}, // one leg is split off
	"raid10-layouts/vgy/yfar5":     {health: Degraded}, // a leg is stale
	"raid10-layouts/vgy/ynear5":    {health: Degraded},
	"raid10-layouts/vgy/yoffset5":  {health: Degraded},
	"removed/vgd/one@4":            {health: Doubt, same: true}, // pvremove took a label: placed by elimination
	"removed/vgd/two@4":            {health: Doubt, same: true},
	"removed/vge/one@2":            {err: "no volume group"}, // pvcreate wiped its short ring
	"undo-newvg/vgc/one@14":        {health: Lost},           // its PV is missing: pvcreate gave it a new UUID
	"undo-newvg/vgold/hit@4":       {health: Doubt},          // used again in part
	"undo-overlap/vgo/old@2":       {health: Doubt},
	"undo-pvremove/vgp/all":        {health: Doubt, same: true}, // placed by elimination
	"undo-pvremove/vgp/onb":        {health: Doubt, same: true},
	"undo-pvremove/vgq/only@8":     {health: Doubt, same: true},
	"undo-removemissing/vgm/both":  {health: Degraded}, // one leg was given up
	"undo-vgcfgrestore/vgw/lost@7": {health: Doubt},
	"md-members/vgfive/volume":     {err: "no volume group \"vgfive\""}, // on a raid5 of md
	"sizes/vgz/cut":                {health: Partial},
	"sizes/vgz/wide":               {health: Partial},
	"thin-rescue/vgr/gone@15":      {health: Doubt, same: true}, // removed, from trees in free blocks
	"thin-rescue/vgr/twice@15":     {health: Doubt},             // some of its data may be another's
}

// find scans a corpus's disks and finds an LV, named as Golden names it, in the newest
// version, or that of a seqno, that has it.
func find(t testing.TB, c *fixtures.Corpus, key string, opt rebuild.Options) (*rebuild.VG, *metadata.LV, error) {
	t.Helper()
	name, seqno, old := strings.Cut(key, "@")
	ev, err := scan.Run(context.Background(), c.Paths(), scan.Options{History: old})
	require.NoError(t, err)
	res, err := rebuild.Build(ev, opt)
	require.NoError(t, err)
	vgName, lvName, _ := strings.Cut(name, "/")
	g, err := res.Find(vgName)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range append([]*rebuild.Version{g.Current}, g.Versions...) {
		if old && seqno != strconv.Itoa(int(v.Meta.Seqno)) || !old && v.Meta.Seqno != g.Current.Meta.Seqno {
			continue
		}
		vg := g.At(v)
		var lv *metadata.LV
		if lv, err = vg.LV(lvName); err == nil {
			return vg, lv, nil
		}
	}
	return nil, nil, err
}

// TestCorporaReadAsTheKernelReadThem holds every LV of every corpus against the hash of
// what the kernel read from it.
func TestCorporaReadAsTheKernelReadThem(t *testing.T) {
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			for key, golden := range c.Golden {
				t.Run(strings.ReplaceAll(key, "/", "_"), func(t *testing.T) {
					want, isSpecial := special[name+"/"+key]
					var opt rebuild.Options
					for _, disk := range want.without {
						opt.Without = append(opt.Without, c.Disk(disk))
					}
					vg, lv, err := find(t, c, key, opt)
					if want.err != "" {
						require.ErrorContains(t, err, want.err)
						return
					}
					require.NoError(t, err)
					plan, err := activate.New(vg, lv, OpenVolume)
					require.NoError(t, err)
					dev := Open(plan)
					require.Equal(t, golden.Size, dev.Size())
					totals := block.Summarise(dev)
					health := Assess(plan, totals)
					if !isSpecial {
						want.health = Complete
					}
					require.Equal(t, want.health, health, "%v", totals.Causes())
					if health == Complete || health == Degraded || want.same {
						requireHash(t, golden.SHA256, dev)
					}
				})
			}
		})
	}
}

func requireHash(t *testing.T, want [32]byte, dev block.Device) {
	t.Helper()
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(dev, 0, dev.Size()))
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(want[:]), hex.EncodeToString(h.Sum(nil)))
}
