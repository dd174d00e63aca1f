package rebuild

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
)

// Change is one difference between two versions of a VG, in LVM's own terms.
type Change struct {
	Kind string // stable, for scripts: "lv-created", "extents-moved"
	LV   string // the LV's name in the newer version, "" when the change is about none
	PV   string // the PV's key in the newer version, "" likewise
	Text string
}

func (c Change) String() string { return c.Text }

// Diff tells what became of a VG between two of its versions: of the VG itself, then of
// its PVs, then of its LVs. PVs and LVs are told apart by UUID, so that a rename is one.
func Diff(old, new *metadata.VG) []Change {
	d := &differ{old: old, new: new, was: keysOf(old), is: keysOf(new)}
	d.vg()
	d.pvs()
	d.lvs()
	return d.changes
}

type differ struct {
	old, new *metadata.VG
	was, is  keys
	changes  []Change
}

func (d *differ) add(kind, lv, pv, format string, args ...any) {
	d.changes = append(d.changes, Change{Kind: kind, LV: lv, PV: pv, Text: fmt.Sprintf(format, args...)})
}

func (d *differ) vg() {
	a, b := d.old, d.new
	if a.Name != b.Name {
		d.add("vg-renamed", "", "", "VG %s renamed to %s", a.Name, b.Name)
	}
	if a.ID != b.ID {
		d.add("vg-uuid", "", "", "VG UUID changed from %s to %s", a.ID, b.ID)
	}
	if a.ExtentSize != b.ExtentSize {
		d.add("vg-extent-size", "", "", "extent size changed from %d to %d sectors", a.ExtentSize, b.ExtentSize)
	}
	d.text("vg-system-id", "", "", "system ID", a.SystemID, b.SystemID)
	d.text("vg-lock-type", "", "", "lock type", a.LockType, b.LockType)
	d.text("vg-allocation", "", "", "allocation policy", a.AllocationPolicy, b.AllocationPolicy)
	d.set("vg-flags", "", "", "VG flags", slices.Concat(a.Status, a.Flags), slices.Concat(b.Status, b.Flags))
	d.set("vg-tags", "", "", "VG tags", a.Tags, b.Tags)
}

// text notes a field of one text that changed.
func (d *differ) text(kind, lv, pv, what, a, b string) {
	if a != b {
		d.add(kind, lv, pv, "%s changed from %q to %q", what, a, b)
	}
}

// set notes what was added to and taken from a list whose order means nothing.
func (d *differ) set(kind, lv, pv, what string, a, b []string) {
	var parts []string
	for _, s := range b {
		if !slices.Contains(a, s) {
			parts = append(parts, "+"+s)
		}
	}
	for _, s := range a {
		if !slices.Contains(b, s) {
			parts = append(parts, "-"+s)
		}
	}
	if len(parts) > 0 {
		d.add(kind, lv, pv, "%s: %s", what, strings.Join(parts, " "))
	}
}

func (d *differ) pvs() {
	was := map[metadata.ID]*metadata.PV{}
	for _, p := range d.old.PVs {
		was[p.ID] = p
	}
	for _, p := range d.new.PVs {
		o := was[p.ID]
		if o == nil {
			d.add("pv-added", "", p.Key, "PV %s (%s) added, %s", p.Key, p.ID, ofExtents(p.PECount))
			continue
		}
		delete(was, p.ID)
		d.pv(o, p)
	}
	for _, p := range d.old.PVs {
		if was[p.ID] != nil {
			d.add("pv-removed", "", "", "PV %s (%s) removed", p.Key, p.ID)
		}
	}
}

func (d *differ) pv(a, b *metadata.PV) {
	if a.PECount != b.PECount {
		d.add("pv-resized", "", b.Key, "PV %s resized from %d to %s", b.Key, a.PECount, ofExtents(b.PECount))
	}
	if a.PEStart != b.PEStart {
		d.add("pv-data-start", "", b.Key, "data of PV %s moved from sector %d to %d", b.Key, a.PEStart, b.PEStart)
	}
	d.set("pv-flags", "", b.Key, "flags of PV "+b.Key, slices.Concat(a.Status, a.Flags), slices.Concat(b.Status, b.Flags))
	d.set("pv-tags", "", b.Key, "tags of PV "+b.Key, a.Tags, b.Tags)
}

func (d *differ) lvs() {
	was := map[metadata.ID]*metadata.LV{}
	for _, lv := range d.old.LVs {
		was[lv.ID] = lv
	}
	for _, lv := range d.new.LVs {
		o := was[lv.ID]
		if o == nil {
			d.add("lv-created", lv.Name, "", "LV %s created, %s", lv.Name, ofExtents(extents(lv)))
			continue
		}
		delete(was, lv.ID)
		d.lv(o, lv)
	}
	for _, lv := range d.old.LVs {
		if was[lv.ID] != nil {
			d.add("lv-removed", lv.Name, "", "LV %s removed, %s", lv.Name, ofExtents(extents(lv)))
		}
	}
}

func (d *differ) lv(a, b *metadata.LV) {
	if a.Name != b.Name {
		d.add("lv-renamed", b.Name, "", "LV %s renamed to %s", a.Name, b.Name)
	}
	switch x, y := extents(a), extents(b); {
	case x < y:
		d.add("lv-extended", b.Name, "", "LV %s extended from %d to %s", b.Name, x, ofExtents(y))
	case x > y:
		d.add("lv-reduced", b.Name, "", "LV %s reduced from %d to %s", b.Name, x, ofExtents(y))
	}
	d.set("lv-flags", b.Name, "", "flags of LV "+b.Name, slices.Concat(a.Status, a.Flags), slices.Concat(b.Status, b.Flags))
	d.set("lv-tags", b.Name, "", "tags of LV "+b.Name, a.Tags, b.Tags)
	d.layout(a, b)
}

// extents is the number of extents that an LV's segments cover.
func extents(lv *metadata.LV) (n int64) {
	for _, s := range lv.Segments {
		n = max(n, s.StartExtent+s.ExtentCount)
	}
	return n
}

func ofExtents(n int64) string {
	if n == 1 {
		return "1 extent"
	}
	return fmt.Sprintf("%d extents", n)
}
