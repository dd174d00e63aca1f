package activate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// OlderThin is a state of a thin device that its pool no longer has, as an LV that can be
// planned like any other. The LV is called POOL#devID@tidN, N being the transaction in
// which the device was made, or POOL#devID@blockB by the block that its tree begins at.
type OlderThin struct {
	LV      *metadata.LV
	Pool    *metadata.LV
	State   *salvage.Older
	Removed bool // the device itself is gone; else it was written to since
}

type olderKey struct{}

// olderLVs is what a VG keeps of the LVs that OlderThins made.
func olderLVs(vg *rebuild.VG) *sync.Map {
	return vg.Once(olderKey{}, func() any { return new(sync.Map) }).(*sync.Map)
}

// olderOf is the state that an LV of OlderThins is; nil for every other LV.
func olderOf(vg *rebuild.VG, lv *metadata.LV) *salvage.Older {
	if o, ok := olderLVs(vg).Load(lv); ok {
		return o.(*salvage.Older)
	}
	return nil
}

// OlderThins lists the states of thin devices that the pools of a VG no longer have, but
// whose trees can still be read: of each removed device the latest, with all of every device
// all. Pools whose metadata cannot be read have none.
func OlderThins(vg *rebuild.VG, open Opener, all bool) []OlderThin {
	var list []OlderThin
	for _, lv := range vg.Meta.LVs {
		if len(lv.Segments) != 1 || lv.Segments[0].Type != "thin-pool" {
			continue
		}
		t, err := NewThinPool(vg, lv, open)
		if err != nil {
			continue
		}
		found, err := t.Salvage()
		if err != nil {
			continue
		}
		list = append(list, t.olderThins(found, all)...)
	}
	return list
}

func (t *ThinPool) olderThins(found *salvage.Pool, all bool) []OlderThin {
	var list []OlderThin
	var states []*salvage.Older
	named := map[string]bool{}
	for _, o := range found.Older() {
		removed := found.Removed(o)
		name := fmt.Sprintf("%s#dev%d@block%d", t.LV.Name, o.ID, o.Root)
		if o.Known != nil && removed {
			first := fmt.Sprintf("%s#dev%d@tid%d", t.LV.Name, o.ID, o.Known.TransactionID)
			if !named[first] {
				name, named[first] = first, true
			}
		}
		if !all && (!removed || strings.Contains(name, "@block") && o.Known != nil) {
			continue
		}
		states = append(states, o)
		list = append(list, OlderThin{LV: t.olderLV(name, o, found.ChunkSize), Pool: t.LV, State: o, Removed: removed})
	}
	found.Reuse(states...)
	return list
}

// olderLV makes an LV of a state, as long as its mappings reach.
func (t *ThinPool) olderLV(name string, o *salvage.Older, chunk int64) *metadata.LV {
	const most = 1 << 55 // bytes: the mappings may say anything
	es := t.planner.vg.Meta.ExtentSize * block.SectorSize
	end := int64(min(o.Last+1, uint64(most/chunk))) * chunk
	node := metadata.NewSection("segment1")
	made := int64(0)
	if o.Known != nil {
		made = int64(o.Known.TransactionID & (1<<62 - 1))
	}
	node.Append(metadata.NewAssignment("thin_pool", metadata.MakeString(t.LV.Name)))
	node.Append(metadata.NewAssignment("transaction_id", metadata.MakeInt(made)))
	node.Append(metadata.NewAssignment("device_id", metadata.MakeInt(int64(o.ID))))
	id := sha256.Sum256([]byte(string(t.planner.vg.Meta.ID) + name))
	lv := &metadata.LV{Name: name, ID: metadata.ID(hex.EncodeToString(id[:16])), Segments: []*metadata.Segment{{Key: "segment1", Type: "thin", ExtentCount: max(1, (end+es-1)/es), Node: node}}}
	olderLVs(t.planner.vg).Store(lv, o)
	return lv
}

// IsOlderThin tells whether a name is one of those that OlderThins gives.
func IsOlderThin(name string) bool { return strings.Contains(name, "#") }

// FindOlderThin finds an older state by its LV's name.
func FindOlderThin(vg *rebuild.VG, open Opener, name string) (OlderThin, error) {
	pool, _, _ := strings.Cut(name, "#")
	lv, err := vg.LV(pool)
	if err != nil {
		return OlderThin{}, err
	}
	t, err := NewThinPool(vg, lv, open)
	if err != nil {
		return OlderThin{}, err
	}
	found, err := t.Salvage()
	if err != nil {
		return OlderThin{}, err
	}
	list := t.olderThins(found, true)
	i := slices.IndexFunc(list, func(o OlderThin) bool { return o.LV.Name == name })
	if i < 0 {
		return OlderThin{}, fmt.Errorf("pool %s/%s has no state %s that is left", vg.Meta.Name, pool, name)
	}
	return list[i], nil
}
