package activate

import (
	"fmt"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// ThinPool is a thin pool as a whole, for those who want to know of its metadata.
type ThinPool struct {
	LV             *metadata.LV
	Fields         metadata.ThinPool
	Metadata, Data *Volume
	Source         block.Device // of the metadata
	Pool           *thin.Pool   // nil: its superblock cannot be used, because of Err
	Err            error
	LVs            map[uint32]*metadata.LV // by the id of the thin device
	Notes          []Note

	planner *planner
	pool    *thinPool
}

// NewThinPool finds the pool that an LV is, or is in.
func NewThinPool(vg *rebuild.VG, lv *metadata.LV, open Opener) (*ThinPool, error) {
	p := planner{vg: vg, open: open, done: map[string]*Volume{}}
	p.pvs, p.lvs = vg.Index()
	name := ""
	for _, s := range lv.Segments {
		if f, err := s.Thin(); err == nil {
			name = f.Pool
		} else if _, err := s.ThinPool(); err == nil {
			name = lv.Name
		}
	}
	if name == "" {
		return nil, fmt.Errorf("LV %s/%s is neither a thin pool nor a thin LV", vg.Meta.Name, lv.Name)
	}
	pool, err := p.thinPool(name, nil)
	if err != nil {
		return nil, err
	}
	t := &ThinPool{LV: pool.lv, Fields: pool.fields, Metadata: pool.metadata, Data: pool.data, Source: p.open(pool.metadata),
		Pool: pool.pool, Err: pool.err, LVs: map[uint32]*metadata.LV{}, Notes: p.notes, planner: &p, pool: pool}
	for id, l := range thinLVs(vg, name) {
		t.LVs[id] = l.lv
	}
	return t, nil
}

// Salvage looks for all that is left of the pool's metadata.
func (t *ThinPool) Salvage() (*salvage.Pool, error) { return t.planner.salvagePool(t.pool) }
