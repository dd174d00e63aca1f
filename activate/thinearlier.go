package activate

import (
	"fmt"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// maxEarlier bounds the places that are searched for a pool's metadata.
const maxEarlier = 16

// earlierMetadata looks for the metadata of a pool where earlier versions of the VG had it,
// before pvmove or a repair; nil: there is none. What they hold is a state of then, of which
// blocks may have been given to other LVs and written to since.
func (p *planner) earlierMetadata(pool *thinPool, hints salvage.Hints) *salvage.Pool {
	if p.vg.Group == nil {
		return nil
	}
	versions := p.vg.Group.Versions
	tried := map[string]bool{places(p.vg.Meta, pool.fields.Metadata): true}
	for i := len(versions) - 1; i >= 0 && len(tried) <= maxEarlier; i-- {
		meta := versions[i].Meta
		name := metadataOf(meta, pool.lv.ID)
		where := places(meta, name)
		if name == "" || tried[where] {
			continue
		}
		tried[where] = true
		vg := p.vg.Group.At(versions[i])
		q := planner{vg: vg, open: p.open, done: map[string]*Volume{}}
		q.pvs, q.lvs = vg.Index()
		if found := q.salvageFrom(name, pool, hints, fmt.Sprintf("where it was by seqno %d of the VG another state of it is left", meta.Seqno)); found != nil {
			return found
		}
	}
	return nil
}

// metadataOf names the LV that a version of the VG has as the metadata of a pool; "" for none.
func metadataOf(meta *metadata.VG, pool metadata.ID) string {
	for _, lv := range meta.LVs {
		if lv.ID == pool && len(lv.Segments) == 1 {
			if f, err := lv.Segments[0].ThinPool(); err == nil {
				return f.Metadata
			}
		}
	}
	return ""
}

// places says on which extents of which PVs an LV lies, with the LVs that are below it.
func places(meta *metadata.VG, name string) string {
	pvs := map[string]metadata.ID{}
	for _, pv := range meta.PVs {
		pvs[pv.Key] = pv.ID
	}
	var b strings.Builder
	for _, lv := range meta.LVs {
		if lv.Name != name && !strings.HasPrefix(lv.Name, name+"_") { // images of a RAID are
			continue
		}
		for _, s := range lv.Segments {
			fmt.Fprint(&b, s.StartExtent, " ", s.ExtentCount, " ", s.Type)
			for _, a := range s.Areas {
				if id, ok := pvs[a.Name]; ok {
					fmt.Fprint(&b, " ", id, ":", a.Start)
				}
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}
