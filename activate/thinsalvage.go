package activate

import (
	"fmt"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
	"github.com/lvrescue/lvrescue/rebuild"
)

// SalvageThin makes all plans of a VG read its thin pools as if their metadata were damaged:
// every block of it is looked at. It is to be called before anything is planned.
func SalvageThin(vg *rebuild.VG) { vg.Once(alwaysSalvage{}, func() any { return true }) }

type alwaysSalvage struct{}

// findDevice finds the tree of a thin device: where the superblock and each node on the way
// is intact, by them; else among all that is left of the pool's metadata.
func (p *planner) findDevice(t *Thin, lv *metadata.LV, pool *thinPool) error {
	err := pool.err
	if err == nil {
		if err = p.intact(t, pool); err == nil && t.Root != 0 && p.vg.Once(alwaysSalvage{}, func() any { return false }) == false {
			return nil
		}
	}
	if err == nil && t.Root == 0 {
		return fmt.Errorf("the metadata of pool %s has no thin device %d: it was deleted there, or not made yet", pool.lv.Name, t.DeviceID)
	}
	found, salvageErr := p.salvagePool(pool)
	if salvageErr != nil {
		return fmt.Errorf("the metadata of pool %s (LV %s) cannot be used: %w", pool.lv.Name, pool.fields.Metadata, salvageErr)
	}
	for _, note := range found.Notes {
		p.note(pool.lv, false, "%s", note)
	}
	d := found.Devices[t.DeviceID]
	switch {
	case d == nil && err != nil:
		return fmt.Errorf("the metadata of pool %s does not tell where thin device %d is: %w", pool.lv.Name, t.DeviceID, err)
	case d == nil:
		return fmt.Errorf("the metadata of pool %s has no thin device %d: it was deleted there, or not made yet", pool.lv.Name, t.DeviceID)
	}
	for _, note := range d.Notes {
		p.note(lv, false, "thin device %d: %s", d.ID, note)
	}
	t.Root, t.Salvaged = d.Root, found
	return nil
}

// intact finds the root of a device's tree, 0 for none, and checks the whole of the tree.
func (p *planner) intact(t *Thin, pool *thinPool) error {
	dev, ok, err := pool.pool.Device(t.DeviceID)
	if err != nil || !ok {
		return err
	}
	t.Root = dev.Root()
	n, err := dev.Check()
	if err != nil {
		return err
	}
	// The details are not needed to read the device: they are asked whether its tree is of
	// the state that they are of.
	d, ok, err := pool.pool.Details(t.DeviceID)
	if err == nil && ok && d.Mapped != n {
		return fmt.Errorf("its tree has %d mappings, the pool remembers %d", n, d.Mapped)
	}
	return nil
}

// salvaged is what Once keeps of a pool.
type salvaged struct {
	pool *salvage.Pool
	err  error
}

// salvagePool looks for all that is left of a pool's metadata, once for all its LVs.
func (p *planner) salvagePool(pool *thinPool) (*salvage.Pool, error) {
	type key struct{ pool string }
	s := p.vg.Once(key{pool.lv.Name}, func() any {
		hints := salvage.Hints{ChunkSize: pool.chunk, TransactionID: uint64(pool.fields.TransactionID), Devices: p.thinDevices(pool.lv.Name)}
		found, err := salvage.Run(holeReader{p.open(pool.metadata)}, pool.metadata.Size, hints)
		return salvaged{found, err}
	}).(salvaged)
	return s.pool, s.err
}

// thinDevices lists the thin devices that the VG has in a pool, and when each was made.
func (p *planner) thinDevices(pool string) map[uint32]uint64 {
	devices := map[uint32]uint64{}
	for _, lv := range p.vg.Meta.LVs {
		for _, s := range lv.Segments {
			if f, err := s.Thin(); err == nil && f.Pool == pool {
				devices[uint32(f.DeviceID)] = uint64(f.TransactionID)
			}
		}
	}
	return devices
}
