package dm

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/lvrescue/lvrescue/scan/block"
)

// idLength is the length of the UUIDs of VG and LV in that of a device.
const idLength = 32

// Active is an LV that lvrescue has made, or has begun to make.
type Active struct {
	Record
	Devices  []string // all, from the top downwards
	Complete bool     // its own device is there
	Open     int      // how often that is open

	// Of an overlay, bytes: what is in use, the most that it may grow to, and what the
	// filesystem that it lies on has left. Failed says that it was full or gave errors: what
	// was written to it is lost.
	Used, Size, Left int64
	Failed           bool
}

// Full is how full an overlay is, from 0 to 1, counting what is left of its filesystem.
func (a *Active) Full() float64 {
	return float64(a.Used) / float64(max(min(a.Size, a.Used+a.Left), 1))
}

// Active lists what lvrescue has made, in the order of names.
func (h *Host) Active() (list []*Active, err error) {
	byUUID := map[string]*Active{}
	of := func(uuid string) *Active {
		a := byUUID[uuid]
		if a == nil {
			a = &Active{Record: h.records.read(uuid)}
			byUUID[uuid] = a
			list = append(list, a)
		}
		return a
	}
	for _, name := range slices.Sorted(maps.Keys(h.known)) {
		i := h.known[name]
		base, ok := topUUID(i.uuid)
		if !ok {
			continue
		}
		a := of(base)
		if i.uuid != base {
			a.Devices = append(a.Devices, i.name)
			continue
		}
		a.Devices = slices.Insert(a.Devices, 0, i.name)
		a.Name, a.Open, a.Complete = i.name, i.open, i.active
		if a.Overlay != "" {
			if err := h.overlayUse(a); err != nil {
				return nil, err
			}
		}
	}
	for _, uuid := range h.records.uuids() {
		of(uuid) // a crash came before the first device
	}
	slices.SortFunc(list, func(a, b *Active) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UUID, b.UUID)) })
	return list, nil
}

// topUUID is the UUID of the LV that a device belongs to, if it is one of ours.
func topUUID(uuid string) (string, bool) {
	n := len(UUIDPrefix) + 2*idLength
	if !strings.HasPrefix(uuid, UUIDPrefix) || len(uuid) < n || len(uuid) > n && uuid[n] != '-' {
		return "", false
	}
	return uuid[:n], true
}

// IsOf tells whether it belongs to what the user names: a VG or VG/LV by their names, the
// name of its device, or the UUID of the VG.
func (a *Active) IsOf(name string) bool {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "/dev/mapper/"), "/dev/")
	return name == a.VG || name == a.VG+"/"+a.LV || name == a.Name ||
		strings.HasPrefix(a.UUID, UUIDPrefix+strings.ReplaceAll(name, "-", "")) && len(strings.ReplaceAll(name, "-", "")) == idLength
}

// atOnce is how many LVs are taken down at the same time: most of that is waiting for the
// kernel.
const atOnce = 16

// DeactivateAll is Deactivate for several LVs at once. What goes wrong with one stands at its place.
func (h *Host) DeactivateAll(list []*Active) []error {
	errs := make([]error, len(list))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, a := range list {
		g.Go(func() error {
			errs[i] = block.Guarded(func() error { return h.Deactivate(a) })()
			return nil
		})
	}
	_ = g.Wait() // errors stand in errs
	if len(list) > 0 {
		h.kernel.settle()
	}
	return errs
}

// Deactivate takes down what belongs to an LV, from the top downwards. If somebody uses it,
// nothing is touched.
func (h *Host) Deactivate(a *Active) error {
	left := slices.Clone(a.Devices)
	for len(left) > 0 {
		free := slices.IndexFunc(left, func(name string) bool {
			i, err := h.kernel.info(name)
			return err != nil || i.open == 0
		})
		if err := h.remove(left[max(free, 0)]); err != nil {
			return err
		}
		left = slices.Delete(left, max(free, 0), max(free, 0)+1)
	}
	h.mu.Lock()
	for _, name := range a.Devices {
		delete(h.known, name)
	}
	delete(h.tops, a.UUID)
	h.mu.Unlock()
	return h.records.remove(a.Record)
}

// overlayUse asks how full an overlay is.
func (h *Host) overlayUse(a *Active) error {
	lines, err := h.kernel.tableStatus(a.Name)
	if err != nil {
		return fmt.Errorf("status of device %s: %w", a.Name, err)
	}
	a.Left, a.Failed = h.kernel.left(filepath.Dir(a.Overlay)), true
	for _, l := range lines {
		var used, size, meta int64
		if n, _ := fmt.Sscanf(l.params, "%d/%d %d", &used, &size, &meta); n == 3 && l.kind == "snapshot" {
			a.Used, a.Size, a.Failed = used*block.SectorSize, size*block.SectorSize, false
		}
	}
	return nil
}
