package match

import (
	"fmt"
	"iter"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Bounds of what probing may do: a unit is a segment or an area that a plan is put together
// from, or a piece that a read may come to. A text with arrays of many legs makes both cost
// much, for each LV on each place. A group has a share, so that none takes what others need.
const (
	maxWork      = 1 << 21 // in all
	maxGroupWork = 1 << 19 // for a group

	named = 8 // names of an index that cost as much as a unit
)

// effort is what one Build has spent on probing.
type effort struct {
	left   int
	groups map[metadata.ID]*work
	order  []*work
}

func newEffort() *effort { return &effort{left: maxWork, groups: map[metadata.ID]*work{}} }

// of is the part of a group, whose versions and findings are made anew in each round.
func (e *effort) of(g *rebuild.Group) *work {
	w := e.groups[g.ID]
	if w == nil {
		w = &work{all: e, left: maxGroupWork, name: g.Name()}
		e.groups[g.ID] = w
		e.order = append(e.order, w)
	}
	return w
}

// doubt marks the candidates of groups of which not all was looked at.
func (e *effort) doubt(all []*Candidate) {
	for _, c := range all {
		c.partial = e.of(c.Group).partial
	}
}

// findings tells what was not looked at.
func (e *effort) findings() []scan.Finding {
	var list []scan.Finding
	for _, w := range e.order {
		if w.missed != "" {
			list = append(list, scan.Finding{Severity: scan.Warning, Code: "probe-bounded", Offset: -1, Text: w.missed})
		}
	}
	return list
}

// work is what one group may still spend.
type work struct {
	all     *effort
	name    string // of the VG
	left    int
	partial bool   // something that may decide was not looked at
	missed  string // the first of what was not looked at; "" when all was
}

func (w *work) spent() bool { return w.left <= 0 || w.all.left <= 0 }

// take spends n units, and says whether there were any left.
func (w *work) take(n int) bool {
	if w.spent() {
		w.cut("looking for missing PVs of VG %s by what stands on disks without a label takes more work than is allowed: not all places were looked at, and none is used unasked", w.name)
		return false
	}
	w.left -= n
	w.all.left -= n
	return true
}

// cut notes that something was not looked at which may decide.
func (w *work) cut(format string, args ...any) {
	w.partial = true
	w.miss(format+"; --assume places a PV by hand", args...)
}

// miss notes that something was not looked at.
func (w *work) miss(format string, args ...any) {
	if w.missed == "" {
		w.missed = fmt.Sprintf(format, args...)
	}
}

// metered is an LV of which each read is work.
type metered struct {
	block.Device
	work   *work
	pieces int // that a read may come to
}

// ReadAt implements io.ReaderAt.
func (m *metered) ReadAt(b []byte, off int64) (int, error) {
	if !m.work.take(1 + m.pieces) {
		return 0, errSpent
	}
	return m.Device.ReadAt(b, off)
}

// Extents implements block.Device.
func (m *metered) Extents(off, n int64) iter.Seq[block.Extent] {
	if !m.work.take(1 + m.pieces) {
		return func(func(block.Extent) bool) {}
	}
	return m.Device.Extents(off, n)
}

var errSpent = fmt.Errorf("not read: more than %d pieces were looked at", maxWork)
