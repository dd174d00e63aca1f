package rebuild

import (
	"slices"
	"sync"

	"github.com/lvrescue/lvrescue/metadata"
)

// index finds a VG's PVs and LVs by the names that segments use. It is made once: a VG may
// have many thousands of LVs, and each is planned on its own.
type index struct {
	once      sync.Once
	pvs       map[string]*PV
	lvs       map[string]*metadata.LV
	snapshots []*metadata.LV
	worked    sync.Map // see Once
}

// Once works something out for the VG, the first time that it is asked for by a key, and
// gives it to all who ask: what the plans of many LVs share.
func (vg *VG) Once(key any, work func() any) any {
	f, _ := vg.index.worked.LoadOrStore(key, sync.OnceValue(work))
	return f.(func() any)()
}

// Index gives the VG's PVs by key and its LVs by name; of two of one name the first counts,
// as for lvm2. The maps are shared: they are not to be changed.
func (vg *VG) Index() (pvs map[string]*PV, lvs map[string]*metadata.LV) {
	vg.index.once.Do(func() {
		vg.index.pvs, vg.index.lvs = map[string]*PV{}, map[string]*metadata.LV{}
		for _, p := range slices.Backward(vg.PVs) {
			vg.index.pvs[p.Meta.Key] = p
		}
		for _, lv := range slices.Backward(vg.Meta.LVs) {
			vg.index.lvs[lv.Name] = lv
		}
		for _, lv := range vg.Meta.LVs {
			if slices.ContainsFunc(lv.Segments, func(s *metadata.Segment) bool { return s.Type == "snapshot" }) {
				vg.index.snapshots = append(vg.index.snapshots, lv)
			}
		}
	})
	return vg.index.pvs, vg.index.lvs
}

// Snapshots lists the hidden LVs, "snapshot0", by which lvm2 ties an exception store to its
// origin.
func (vg *VG) Snapshots() []*metadata.LV {
	vg.Index()
	return vg.index.snapshots
}

// PV finds a PV by the key that segments name it by; nil if there is none.
func (vg *VG) PV(key string) *PV {
	pvs, _ := vg.Index()
	return pvs[key]
}
