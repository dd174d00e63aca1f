package activate

import (
	"cmp"
	"fmt"
	"math"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/exstore"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Snapshot reads as its origin, but for the chunks that have a copy in the store. So does
// an origin into which a snapshot is being merged: what the store still holds goes first.
// Source: lib/snapshot/snapshot.c, drivers/md/dm-snap.c.
type Snapshot struct {
	Origin, Store Input
	StoreSize     int64 // bytes
	ChunkSize     int64 // bytes
	List          *exstore.List
	Merging       bool

	// Reasons why chunks with a copy, and chunks without, are doubtful; "" when they are not.
	Listed, Unlisted string
}

// Inputs implements [Target].
func (t Snapshot) Inputs() []Input { return []Input{t.Origin, t.Store} }

func (t Snapshot) String() string {
	kind := "snapshot"
	if t.Merging {
		kind = "merging snapshot"
	}
	return fmt.Sprintf("%s, %d chunks of %d bytes", kind, t.List.Exceptions, t.ChunkSize)
}

// findSnapshots looks up which LVs have a view that is not their own bytes. lvm2 writes a
// snapshot as an LV of its own, "snapshot0", that names origin and store.
func (p *planner) findSnapshots() {
	snapshots := p.vg.Snapshots()
	if len(snapshots) == 0 {
		return
	}
	p.snapshots, p.merging = map[string]*metadata.LV{}, map[string]*metadata.LV{}
	for _, lv := range snapshots {
		for _, s := range lv.Segments {
			if s.Type != "snapshot" {
				continue
			}
			m, err := s.Snapshot()
			if err != nil {
				continue
			}
			p.snapshots[m.COW] = cmp.Or(p.snapshots[m.COW], lv)
			if m.Merging {
				p.merging[m.Origin] = cmp.Or(p.merging[m.Origin], lv)
			}
		}
	}
}

// view plans what the user of an LV sees, /dev/VG/LV: where the LV is the store of a
// snapshot the snapshot; where one is being merged into it the result; else its own bytes.
func (p *planner) view(lv *metadata.LV) (*Volume, error) {
	if s := p.snapshots[lv.Name]; s != nil {
		v, err := p.volume(s, nil)
		if err != nil {
			return nil, err
		}
		return &Volume{LV: lv, Size: v.Size, Segments: v.Segments}, nil
	}
	own, err := p.volume(lv, nil)
	merging := p.merging[lv.Name]
	if err != nil || merging == nil {
		return own, err
	}
	v := &Volume{LV: lv}
	if s, err := p.volume(merging, nil); err != nil {
		v.add(own.Size, Error{err.Error()})
	} else {
		for _, s := range s.Segments {
			v.add(min(s.Len, own.Size-v.Size), s.Target)
		}
	}
	if v.Size < own.Size { // it was extended behind the snapshot
		v.add(own.Size-v.Size, Linear{Input{Volume: own, Off: v.Size}})
	}
	return v, nil
}

// snapshot plans a snapshot of n bytes.
func (p *planner) snapshot(s *metadata.Segment, n int64, above []string) (Target, error) {
	m, err := s.Snapshot()
	if err != nil {
		return nil, err
	}
	if s.StartExtent != 0 {
		return nil, fmt.Errorf("a snapshot that begins at extent %d", s.StartExtent)
	}
	store, err := p.named(m.COW, above)
	if err != nil {
		return nil, err
	}
	t := Snapshot{Store: Input{Volume: store}, StoreSize: store.Size, Merging: m.Merging}
	if origin, err := p.named(m.Origin, above); err == nil {
		t.Origin = Input{Volume: origin}
	} else {
		t.Origin = broken(m.Origin, n, err)
	}
	if err := p.readStore(&t, m, n); err != nil {
		if !m.Merging {
			return nil, fmt.Errorf("which chunks of %s have changed is lost: %w", m.Origin, err)
		}
		t.ChunkSize, t.List = block.SectorSize, &exstore.List{}
		t.Unlisted = fmt.Sprintf("%s was being merged into %s, and what was not merged yet is lost: %v", m.COW, m.Origin, err)
		p.note(store.LV, false, "was being merged into %s, and what was not merged yet is lost: %v", m.Origin, err)
	}
	return t, nil
}

// readStore reads a snapshot's exceptions and decides what they are worth.
func (p *planner) readStore(t *Snapshot, m metadata.Snapshot, n int64) error {
	cow := p.open(t.Store.Volume)
	h, err := storeHeader(cow)
	lv := t.Store.Volume.LV
	t.ChunkSize = h.ChunkSize
	switch {
	case err != nil || h.New:
		t.ChunkSize = m.ChunkSize * block.SectorSize
		if t.ChunkSize < block.SectorSize || t.ChunkSize&(t.ChunkSize-1) != 0 {
			return cmp.Or(err, fmt.Errorf("the metadata gives a chunk size of %d sectors", m.ChunkSize))
		}
	}
	if n > math.MaxInt64-t.ChunkSize {
		return fmt.Errorf("a snapshot of %d bytes", n)
	}
	t.List = exstore.ReadList(cow, t.StoreSize, t.ChunkSize, (n-1)/t.ChunkSize+1)
	doubt := storeDoubt(cow, t.ChunkSize, t.List.Areas)
	switch {
	case h.New && t.List.Exceptions == 0 && t.List.Missing == "": // nothing was stored yet
		t.List = &exstore.List{}
	case h.New && t.List.Exceptions == 0:
		t.List, err = &exstore.List{}, fmt.Errorf("it is all zeros, though something follows that is no list")
	case h.New:
		err = fmt.Errorf("it is all zeros, though a list follows")
	}
	switch {
	case err != nil && h.New && t.List.Exceptions == 0:
		doubt = err.Error()
	case err != nil && t.List.Exceptions == 0:
		return err
	case t.List.Missing != "" && t.List.Exceptions == 0:
		return fmt.Errorf("%s", t.List.Missing)
	case err != nil:
		doubt = fmt.Sprintf("the header of its exception store is lost (%v); the chunk size is taken from LVM's metadata", err)
	case !h.New && t.ChunkSize != m.ChunkSize*block.SectorSize:
		doubt = fmt.Sprintf("the header of its exception store says chunks of %d bytes, LVM's metadata says %d", t.ChunkSize, m.ChunkSize*block.SectorSize)
	case t.List.Conflict != "":
		doubt = "its exception store contradicts itself: " + t.List.Conflict
	}
	if doubt != "" {
		t.Listed = fmt.Sprintf("snapshot %s: %s", lv.Name, doubt)
		t.Unlisted = t.Listed
		p.note(lv, false, "%s", doubt)
		return nil
	}
	if t.List.Missing != "" {
		t.Unlisted = fmt.Sprintf("snapshot %s: its list of copied chunks is not complete: %s", lv.Name, t.List.Missing)
		p.note(lv, false, "the list of copied chunks is not complete: %s", t.List.Missing)
	}
	p.judgeStore(t, h, lv, m)
	return nil
}

// judgeStore looks at what has become of a snapshot.
func (p *planner) judgeStore(t *Snapshot, h exstore.Header, lv *metadata.LV, m metadata.Snapshot) {
	switch {
	case !h.Valid && t.Merging: // the kernel went on with the origin alone
		t.Listed = fmt.Sprintf("snapshot %s failed while it was merged into %s", lv.Name, m.Origin)
		p.note(lv, false, "failed while it was merged into %s; %d chunks were not merged", m.Origin, t.List.Exceptions)
	case !h.Valid:
		t.Unlisted = fmt.Sprintf("snapshot %s was invalidated, its store being full or failed: what %s has overwritten since is not kept", lv.Name, m.Origin)
		p.note(lv, false, "the snapshot was invalidated; only the %d chunks in its store are sure", t.List.Exceptions)
	case t.Merging:
		p.note(lv, false, "is being merged into %s; %d chunks are still to be merged, and are read from the store", m.Origin, t.List.Exceptions)
	}
}

// storeHeader reads a store's header.
func storeHeader(cow block.Device) (exstore.Header, error) {
	b := make([]byte, block.SectorSize)
	if n, err := cow.ReadAt(b, 0); n < len(b) {
		return exstore.Header{}, fmt.Errorf("the exception store cannot be read: %s", block.Why(err))
	}
	h, err := exstore.ParseHeader(b)
	if err != nil {
		err = fmt.Errorf("the exception store: %w", err)
	}
	return h, err
}

// storeDoubt says why the header or one of the areas of a store are doubtful; "" when they
// are not.
func storeDoubt(cow block.Device, chunkSize, areas int64) string {
	for off, i := int64(0), int64(0); i <= areas; off, i = exstore.AreaOffset(i, chunkSize), i+1 {
		for e := range cow.Extents(off, chunkSize) {
			if e.State == block.Doubtful {
				return "its exception store is doubtful: " + e.Why
			}
		}
	}
	return ""
}
