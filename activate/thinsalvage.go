package activate

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// The ways to read thin pools.
const (
	ThinAuto    = "auto"    // by their trees, and by all that is left of the metadata only when these are damaged
	ThinSalvage = "salvage" // by all that is left
	ThinGuess   = "guess"   // by leaves with a wrong checksum too
)

// ThinModes lists them.
var ThinModes = []string{ThinAuto, ThinSalvage, ThinGuess}

// findDevice finds the tree of a thin device: where the superblock and each node on the way
// is intact, by them; else among all that is left of the pool's metadata. made is the
// transaction of the pool in which the VG says that the device was made.
func (p *planner) findDevice(t *Thin, lv *metadata.LV, pool *thinPool, made uint64) error {
	if o := olderOf(p.vg, lv); o != nil {
		found, err := p.salvagePool(pool)
		t.Root, t.Salvaged, t.Older = o.Root, found, o
		return err
	}
	err := pool.err
	if err == nil {
		if err = p.intact(t, pool, made); err == nil && t.Root != 0 && !p.always() {
			return nil
		}
	}
	found, salvageErr := p.salvagePool(pool)
	if salvageErr != nil {
		advice := ""
		if !p.always() {
			advice = "; --thin=salvage also looks where it was before a pvmove or a repair"
		}
		return fmt.Errorf("the metadata of pool %s (LV %s) cannot be used: %w%s", pool.lv.Name, pool.fields.Metadata, salvageErr, advice)
	}
	d := found.Devices[t.DeviceID]
	if d == nil || d.Known != nil && d.Known.TransactionID != made {
		if o := removedState(found, t.DeviceID, made); o != nil {
			p.note(lv, false, "thin device %d, made in transaction %d, is not in pool %s any more; its tree at metadata block %d is, %d of its %d blocks of data are another's now",
				o.ID, made, pool.lv.Name, o.Root, o.Reused, o.Mapped)
			t.Root, t.Salvaged, t.Older = o.Root, found, o
			return nil
		}
	}
	for _, note := range found.Notes {
		if d == nil && err == nil {
			break // the pool is intact
		}
		p.note(pool.lv, false, "%s", note)
	}
	switch {
	case d == nil && err != nil:
		return fmt.Errorf("the metadata of pool %s does not tell where thin device %d is: %w", pool.lv.Name, t.DeviceID, err)
	case d == nil:
		return fmt.Errorf("the metadata of pool %s has no thin device %d: it was deleted there, or not made yet", pool.lv.Name, t.DeviceID)
	case d.Known != nil && d.Known.TransactionID != made:
		t.Doubt = fmt.Sprintf("thin device %d of the pool was made in transaction %d, that of the LV in transaction %d", d.ID, d.Known.TransactionID, made)
	}
	for _, note := range d.Notes {
		p.note(lv, false, "thin device %d: %s", d.ID, note)
	}
	t.Root, t.Salvaged = d.Root, found
	return nil
}

// removedState is the latest state that is left of a device that was made in a transaction.
func removedState(found *salvage.Pool, id uint32, made uint64) *salvage.Older {
	for _, o := range found.Older() {
		if o.ID == id && o.Known != nil && o.Known.TransactionID == made {
			found.Reuse(o)
			return o
		}
	}
	return nil
}

// intact finds the root of a device's tree, 0 for none, and checks the whole of the tree.
func (p *planner) intact(t *Thin, pool *thinPool, made uint64) error {
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
	if err == nil && ok && d.TransactionID != made {
		return fmt.Errorf("it was made in transaction %d, that of the LV in transaction %d", d.TransactionID, made)
	}
	return nil
}

// always tells whether pools are salvaged that are intact, too.
func (p *planner) always() bool { return p.vg.Thin == ThinSalvage || p.vg.Thin == ThinGuess }

// salvaged is what Once keeps of a pool.
type salvaged struct {
	pool *salvage.Pool
	err  error
}

// salvagePool looks for all that is left of a pool's metadata, once for all its LVs.
func (p *planner) salvagePool(pool *thinPool) (*salvage.Pool, error) {
	type key struct{ pool string }
	s := p.vg.Once(key{pool.lv.Name}, func() any {
		hints := salvage.Hints{
			ChunkSize: pool.chunk, TransactionID: uint64(pool.fields.TransactionID),
			Devices: map[uint32]uint64{}, Guess: p.vg.Thin == ThinGuess,
		}
		for id, lv := range thinLVs(p.vg, pool.lv.Name) {
			hints.Devices[id] = lv.made
		}
		found, err := salvage.Run(block.SkipZeros(p.open(pool.metadata)), pool.metadata.Size, hints)
		if err != nil {
			if other := p.otherMetadata(pool, hints); other != nil {
				return salvaged{other, nil}
			}
			if earlier := p.earlierMetadata(pool, hints); earlier != nil {
				return salvaged{earlier, nil}
			}
		}
		return salvaged{found, err}
	}).(salvaged)
	return s.pool, s.err
}

// leftOver matches the names of LVs that may hold older metadata of a pool: what lvconvert
// --repair has put aside, and the spare that it works on (lib/metadata/pool_manip.c).
var leftOver = regexp.MustCompile(`_meta[0-9]+$|_pmspare$`)

// otherMetadata looks for the metadata of a pool, whose own is lost, in what repairs have
// left; nil: there is none. One that knows none of the pool's thin devices is another's.
func (p *planner) otherMetadata(pool *thinPool, hints salvage.Hints) *salvage.Pool {
	for _, lv := range p.vg.Meta.LVs {
		if !leftOver.MatchString(lv.Name) || strings.Contains(lv.Name, "_meta") && !strings.HasPrefix(lv.Name, pool.lv.Name+"_meta") {
			continue
		}
		if found := p.salvageFrom(lv.Name, pool, hints, fmt.Sprintf("what LV %s has of it is older", lv.Name)); found != nil {
			return found
		}
	}
	return nil
}

// salvageFrom looks for the metadata of a pool on an LV that is not its own any more; nil: it
// has none of it. what says why it proves nothing.
func (p *planner) salvageFrom(lv string, pool *thinPool, hints salvage.Hints, what string) *salvage.Pool {
	v, err := p.named(lv, nil)
	if err != nil {
		return nil
	}
	found, err := salvage.Run(block.SkipZeros(p.open(v)), v.Size, hints)
	if err != nil || !knows(found, pool, hints) {
		return nil
	}
	found.Unproven = fmt.Sprintf("the metadata of pool %s is lost; %s", pool.lv.Name, what)
	found.Notes = append(found.Notes, found.Unproven)
	return found
}

// knows tells whether metadata is of a pool: it has its chunk size, and one of its devices.
func knows(found *salvage.Pool, pool *thinPool, hints salvage.Hints) bool {
	if found.ChunkSize != pool.chunk {
		return false
	}
	for id, made := range hints.Devices {
		if d := found.Devices[id]; d != nil && d.Known != nil && d.Known.TransactionID == made {
			return true
		}
	}
	return false
}

// thinLV is an LV of a pool.
type thinLV struct {
	lv   *metadata.LV
	made uint64 // the pool's transaction
}

// thinLVs lists the thin LVs that the VG has in a pool, by device id.
func thinLVs(vg *rebuild.VG, pool string) map[uint32]thinLV {
	devices := map[uint32]thinLV{}
	for _, lv := range vg.Meta.LVs {
		for _, s := range lv.Segments {
			if f, err := s.Thin(); err == nil && f.Pool == pool {
				devices[uint32(f.DeviceID)] = thinLV{lv, uint64(f.TransactionID)}
			}
		}
	}
	return devices
}
