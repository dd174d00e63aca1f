package rebuild

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
)

// layout notes which of the extents that an LV has in both versions lie elsewhere now, or
// are laid out in another way.
func (d *differ) layout(a, b *metadata.LV) {
	was, is := sorted(a.Segments), sorted(b.Segments)
	for _, c := range common(was, is) {
		s, t := was[c.old], is[c.new]
		if s.TypeName() != t.TypeName() || len(s.Areas) != len(t.Areas) || len(t.Areas) != 1 && !sameShape(s, t) {
			d.add("layout-changed", b.Name, "", "LV %s, %s laid out anew: %s before, %s now",
				b.Name, span("LE", c.start, c.count), describe(s), describe(t))
			continue
		}
		d.moved(b.Name, c, s, t)
	}
}

// moved notes the areas of two segments of one shape that lie elsewhere now.
func (d *differ) moved(lv string, c overlap, s, t *metadata.Segment) {
	for i := range t.Areas {
		from, to := d.was.place(s, i, c), d.is.place(t, i, c)
		if from.holder == to.holder && from.start == to.start {
			continue
		}
		part := ""
		if len(t.Areas) > 1 {
			part = fmt.Sprintf(", leg %d", i)
		}
		d.add("extents-moved", lv, to.pv, "LV %s, %s%s moved from %s to %s", lv, span("LE", c.start, c.count), part, from, to)
	}
}

// place is where extents of an LV lie on a PV, or on another LV.
type place struct {
	name, pv     string // as shown; the PV's key, or ""
	holder       string // what tells the PV or LV from others
	start, count int64  // PE or LE; count is 0 when the text gives no place
}

func (p place) String() string {
	if p.count == 0 {
		return p.name
	}
	if p.pv == "" {
		return p.name + " " + span("LE", p.start, p.count)
	}
	return p.name + " " + span("PE", p.start, p.count)
}

// place finds where area i of a segment puts the extents of c. A segment of several areas
// is taken whole.
func (k keys) place(s *metadata.Segment, i int, c overlap) place {
	a := s.Areas[i]
	p := place{name: "LV " + a.Name, holder: "LV " + a.Name, start: a.Start, count: s.AreaExtents()}
	if len(s.Areas) == 1 {
		p.start, p.count = a.Start+c.start-s.StartExtent, c.count
	}
	if pv := k.pvs[a.Name]; pv != nil {
		p.name, p.pv, p.holder = "PV "+pv.Key, pv.Key, string(pv.ID)
	} else if lv := k.lvs[a.Name]; lv != nil {
		p.holder = string(lv.ID) // a hidden LV that is renamed with its owner stays where it is
	}
	return p
}

// keys finds the PVs and LVs of one version by the names that segments use.
type keys struct {
	pvs map[string]*metadata.PV
	lvs map[string]*metadata.LV
}

func keysOf(vg *metadata.VG) keys {
	k := keys{map[string]*metadata.PV{}, map[string]*metadata.LV{}}
	for _, pv := range slices.Backward(vg.PVs) {
		k.pvs[pv.Key] = pv
	}
	for _, lv := range slices.Backward(vg.LVs) {
		k.lvs[lv.Name] = lv
	}
	return k
}

// describe says in a few words how a segment is laid out and on what.
func describe(s *metadata.Segment) string {
	var on []string
	for _, a := range s.Areas {
		if !slices.Contains(on, a.Name) {
			on = append(on, a.Name)
		}
	}
	kind := s.TypeName()
	if kind == "striped" && len(s.Areas) == 1 {
		kind = "linear"
	}
	if len(s.Areas) > 1 && s.StripeSize > 0 {
		kind += fmt.Sprintf(" over %d in chunks of %d sectors", len(s.Areas), s.StripeSize)
	}
	if len(on) == 0 {
		return kind
	}
	return kind + " on " + strings.Join(on, ", ")
}

// sameShape tells whether two segments of several areas deal the same extents out alike.
func sameShape(s, t *metadata.Segment) bool {
	return s.StartExtent == t.StartExtent && s.ExtentCount == t.ExtentCount && s.StripeSize == t.StripeSize
}

// overlap is a run of LEs that segment old of one version and segment new of the other cover.
type overlap struct {
	old, new     int
	start, count int64 // LE
}

// common lists the runs that two sorted lists of segments both cover.
func common(was, is []*metadata.Segment) []overlap {
	var runs []overlap
	for i, j := 0, 0; i < len(was) && j < len(is); {
		a, b := was[i], is[j]
		lo := max(a.StartExtent, b.StartExtent)
		hi := min(a.StartExtent+a.ExtentCount, b.StartExtent+b.ExtentCount)
		if lo < hi {
			runs = append(runs, overlap{i, j, lo, hi - lo})
		}
		if a.StartExtent+a.ExtentCount <= b.StartExtent+b.ExtentCount {
			i++
		} else {
			j++
		}
	}
	return runs
}

func sorted(segs []*metadata.Segment) []*metadata.Segment {
	return slices.SortedStableFunc(slices.Values(segs), func(a, b *metadata.Segment) int {
		return cmp.Compare(a.StartExtent, b.StartExtent)
	})
}

// span names a run of extents.
func span(unit string, start, count int64) string {
	if count == 1 {
		return fmt.Sprintf("%s %d", unit, start)
	}
	return fmt.Sprintf("%s %d-%d", unit, start, start+count-1)
}
