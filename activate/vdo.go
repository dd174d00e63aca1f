package activate

import (
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/vdo"
	"github.com/lvrescue/lvrescue/scan/block"
)

// VDO is a run of the virtual device of a VDO pool, which holds blocks deduplicated and
// compressed. Source: lib/vdo/vdo.c, drivers/md/dm-vdo.
type VDO struct {
	Data     Input
	DataSize int64       // bytes
	Volume   *vdo.Volume // nil: nothing can be read, because of Lost
	Lost     string
	Off      int64 // of the segment in the virtual device, bytes

	Doubt string // why the mappings may not be right; "" when they are
}

// Inputs implements [Target].
func (t VDO) Inputs() []Input { return []Input{t.Data} }

func (t VDO) String() string {
	if t.Volume == nil {
		return "VDO that cannot be read: " + t.Lost
	}
	s := fmt.Sprintf("VDO from byte %d on, %s", t.Off, t.Volume.State)
	if j := t.Volume.Journal; j.Last > 0 {
		s += fmt.Sprintf(", recovery journal replayed from block %d to %d", j.First, j.Last)
	}
	return s
}

// vdoPool is what a VDO LV needs of its pool.
type vdoPool struct {
	data   *Volume
	volume *vdo.Volume
	header int64  // bytes of the virtual device before the first extent
	lost   string // why there is no volume
	doubt  string
}

// vdoPoolData plans a vdo-pool segment itself, which is as long as the pool's data: it reads
// as that does, undecoded. The kernel's device of this name shows 8 sectors of nothing.
func (p *planner) vdoPoolData(s *metadata.Segment, n int64, above []string) (Target, error) {
	f, err := s.VDOPool()
	if err != nil {
		return nil, err
	}
	in, err := p.input(metadata.Area{Name: f.Data, Start: s.StartExtent}, n, above)
	return Linear{in}, err
}

// vdo plans a segment of a VDO LV.
func (p *planner) vdo(s *metadata.Segment, above []string) (Target, error) {
	f, err := s.VDO()
	if err != nil {
		return nil, err
	}
	pool, err := p.vdoPool(f.Pool, above)
	if err != nil {
		return nil, err
	}
	if pool.volume == nil {
		return VDO{Data: Input{Volume: pool.data}, DataSize: pool.data.Size, Lost: pool.lost}, nil
	}
	es, size := p.vg.Meta.ExtentSize*block.SectorSize, pool.volume.Size()
	if f.Offset < 0 || f.Offset > size/es {
		return nil, fmt.Errorf("extent %d of VDO pool %s lies beyond its %d bytes", f.Offset, f.Pool, size)
	}
	return VDO{
		Data: Input{Volume: pool.data}, DataSize: pool.data.Size,
		Volume: pool.volume,
		Off:    pool.header + f.Offset*es,
		Doubt:  pool.doubt,
	}, nil
}

// vdoPool plans the data LV of a pool and reads what tells how to read it.
func (p *planner) vdoPool(name string, above []string) (*vdoPool, error) {
	lv := p.lvs[name]
	if lv == nil || len(lv.Segments) != 1 {
		return nil, fmt.Errorf("the metadata has no VDO pool %q of one segment", name)
	}
	if slices.Contains(above, name) {
		return nil, fmt.Errorf("VDO pool %s stands on itself", name)
	}
	f, err := lv.Segments[0].VDOPool()
	if err != nil {
		return nil, fmt.Errorf("VDO pool %s: %w", name, err)
	}
	pool := &vdoPool{header: f.HeaderSize * block.SectorSize}
	if pool.data, err = p.named(f.Data, append(slices.Clone(above), name)); err != nil {
		return nil, fmt.Errorf("data of VDO pool %s: %w", name, err)
	}
	if pool.volume, err = vdo.Open(block.SkipZeros(p.open(pool.data)), pool.data.Size); err != nil {
		pool.volume, pool.lost = nil, fmt.Sprintf("VDO pool %s (LV %s): %s", name, f.Data, err)
		return pool, nil
	}
	p.judgeVDO(pool, lv)
	return pool, nil
}

// judgeVDO decides what the block map of a pool is worth.
func (p *planner) judgeVDO(pool *vdoPool, lv *metadata.LV) {
	v := pool.volume
	switch {
	case v.State.Damaged():
		pool.doubt = fmt.Sprintf("VDO pool %s is %s: it met an error, and its last changes may be missing", lv.Name, v.State)
	case v.Journal.Doubt != "":
		pool.doubt = fmt.Sprintf("VDO pool %s: %s", lv.Name, v.Journal.Doubt)
	default:
		var doubt func(off, n int64) string
		if in := (Input{Volume: pool.data}); p.doubts(in, pool.data.Size) != "" {
			dev := p.open(pool.data)
			doubt = func(off, n int64) string { return doubtIn(dev, off, n) }
		}
		if wrong := v.Check(doubt); wrong != "" {
			pool.doubt = fmt.Sprintf("VDO pool %s: %s", lv.Name, wrong)
		}
	}
	if j := v.Journal; j.Last > 0 {
		p.note(lv, false, "VDO pool %s was not shut down: %d changes from its recovery journal are applied while reading", lv.Name, j.Len())
	}
	if need := v.Offset(v.PhysicalBlocks); need > pool.data.Size {
		p.note(lv, false, "VDO pool %s has %d bytes by its own super block, its LV only %d", lv.Name, need, pool.data.Size)
	}
}
