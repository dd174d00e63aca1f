package activate

import (
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Thin is a run of a thin device: a tree in the pool's metadata tells for each chunk where
// in the pool's data it lies. Source: drivers/md/dm-thin.c.
type Thin struct {
	Metadata, Data         Input
	MetadataSize, DataSize int64          // bytes
	ChunkSize              int64          // bytes
	DeviceID               uint32         // in the pool
	Root                   uint64         // block of the metadata that the device's tree begins at
	Salvaged               *salvage.Pool  // nil: the device's tree is intact
	Older                  *salvage.Older // of Salvaged: a state that the pool no longer has; nil: today's
	Off                    int64          // of the segment in the thin device, bytes

	// External is read where the device has nothing; nil: zeros. Behind its ExternalSize
	// bytes there are zeros.
	External     *Input
	ExternalSize int64

	Doubt string // why the mappings may not be right; "" when they are
}

func (t Thin) Inputs() []Input {
	in := []Input{t.Metadata, t.Data}
	if t.External != nil {
		in = append(in, *t.External)
	}
	return in
}

// Device is the thin device's mappings, which are read from meta, the pool's metadata.
func (t Thin) Device(meta block.Device) thin.Device {
	if t.Older != nil {
		return t.Salvaged.OlderDevice(t.Older)
	}
	if t.Salvaged != nil {
		if d, ok := t.Salvaged.Device(t.DeviceID); ok {
			return d
		}
	}
	return thin.NewDevice(btree.NewReader(meta, meta.Size()), t.Root)
}

func (t Thin) String() string {
	if t.Older != nil {
		return fmt.Sprintf("thin device %d, chunk %d, an older state with its tree at metadata block %d", t.DeviceID, t.ChunkSize, t.Root)
	}
	if t.Salvaged != nil {
		return fmt.Sprintf("thin device %d, chunk %d, salvaged from damaged metadata", t.DeviceID, t.ChunkSize)
	}
	return fmt.Sprintf("thin device %d, chunk %d, tree at metadata block %d", t.DeviceID, t.ChunkSize, t.Root)
}

// thinPool is what a thin LV needs of its pool.
type thinPool struct {
	metadata, data *Volume
	chunk          int64 // bytes
	lv             *metadata.LV
	fields         metadata.ThinPool
	pool           *thin.Pool // nil: the superblock cannot be used, because of err
	err            error
	doubt          string
}

// thinPoolData plans a thin-pool segment itself: the kernel shows the pool's data.
func (p *planner) thinPoolData(s *metadata.Segment, n int64, above []string) (Target, error) {
	f, err := s.ThinPool()
	if err != nil {
		return nil, err
	}
	es := p.vg.Meta.ExtentSize * block.SectorSize
	in, err := p.input(metadata.Area{Name: f.Data, Start: s.StartExtent}, n/es*es, above)
	return Linear{in}, err
}

// thin plans a thin LV.
func (p *planner) thin(lv *metadata.LV, s *metadata.Segment, above []string) (Target, error) {
	f, err := s.Thin()
	if err != nil {
		return nil, err
	}
	pool, err := p.thinPool(f.Pool, above)
	if err != nil {
		return nil, err
	}
	t := Thin{
		Metadata: Input{Volume: pool.metadata}, MetadataSize: pool.metadata.Size,
		Data: Input{Volume: pool.data}, DataSize: pool.data.Size,
		ChunkSize: pool.chunk,
		DeviceID:  uint32(f.DeviceID),
		Off:       s.StartExtent * p.vg.Meta.ExtentSize * block.SectorSize,
		Doubt:     pool.doubt,
	}
	if err := p.findDevice(&t, lv, pool, uint64(f.TransactionID)); err != nil {
		return nil, err
	}
	if f.ExternalOrigin != "" {
		origin, err := p.named(f.ExternalOrigin, above)
		if err != nil {
			return nil, fmt.Errorf("external origin: %w", err)
		}
		t.External, t.ExternalSize = &Input{Volume: origin}, origin.Size
	}
	if f.Merge != "" {
		p.note(lv, false, "when the VG is next activated, %s is to become what %s is now", f.Merge, lv.Name)
	}
	return t, nil
}

// thinPool plans the LVs of a pool and reads its superblock.
func (p *planner) thinPool(name string, above []string) (*thinPool, error) {
	lv := p.lvs[name]
	if lv == nil || len(lv.Segments) != 1 {
		return nil, fmt.Errorf("the metadata has no pool %q of one segment", name)
	}
	if slices.Contains(above, name) {
		return nil, fmt.Errorf("pool %s stands on itself", name)
	}
	if lv.Segments[0].Type == "tier-thin-pool" {
		return nil, fmt.Errorf("pool %s is a tier-thin-pool, which only QNAP's LVM makes: which block of its data lies on which tier is not known, so nothing of it is read", name)
	}
	f, err := lv.Segments[0].ThinPool()
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", name, err)
	}
	above = append(slices.Clone(above), name)
	pool := &thinPool{lv: lv, fields: f, chunk: f.ChunkSize * block.SectorSize}
	if pool.metadata, err = p.named(f.Metadata, above); err != nil {
		return nil, fmt.Errorf("metadata of pool %s: %w", name, err)
	}
	if pool.data, err = p.named(f.Data, above); err != nil {
		return nil, fmt.Errorf("data of pool %s: %w", name, err)
	}
	pool.pool, pool.err = thin.Open(p.open(pool.metadata), pool.metadata.Size)
	if pool.err != nil {
		pool.err = fmt.Errorf("metadata of pool %s (LV %s): %w", name, f.Metadata, pool.err)
		pool.doubt = p.doubts(Input{Volume: pool.metadata}, pool.metadata.Size)
		return pool, nil
	}
	p.judgePool(pool, lv, f)
	return pool, nil
}

// judgePool holds the superblock of a pool against the VG's metadata.
func (p *planner) judgePool(pool *thinPool, lv *metadata.LV, f metadata.ThinPool) {
	sb := pool.pool.Superblock
	pool.chunk = sb.ChunkSize
	if said := f.ChunkSize * block.SectorSize; said != sb.ChunkSize {
		pool.doubt = fmt.Sprintf("the pool's own metadata says chunks of %d bytes, the VG's says %d", sb.ChunkSize, said)
	}
	if pool.doubt == "" {
		pool.doubt = p.doubts(Input{Volume: pool.metadata}, pool.metadata.Size)
	}
	if sb.TransactionID != uint64(f.TransactionID) {
		p.note(lv, false, "the pool's own metadata is at transaction %d, the VG's says %d: one of them is older, thin LVs made or removed in between may miss", sb.TransactionID, f.TransactionID)
	}
	// lvm2 raises the transaction in its own text first, with the messages for the kernel.
	pending := len(f.Messages) > 0 && sb.TransactionID+1 == uint64(f.TransactionID)
	if pool.doubt == "" && sb.TransactionID < uint64(f.TransactionID) && !pending {
		pool.doubt = fmt.Sprintf("the metadata of pool %s is an older state, of transaction %d; the VG's is of %d", lv.Name, sb.TransactionID, f.TransactionID)
	}
	if sb.NeedsCheck {
		p.note(lv, false, "the kernel has met an error in the pool's metadata and marked it for a check")
	}
}
