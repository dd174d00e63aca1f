package rebuild

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/lvrescue/lvrescue/metadata"
)

// claim is a stretch of a PV that an LV had from one version of its VG to another.
type claim struct {
	run
	first, last int // indexes of Group.Versions
}

// claims are all claims of a group, made when they are first asked for.
type claims struct {
	once sync.Once
	pvs  map[metadata.ID][]*claim // by start
	lvs  map[metadata.ID]int      // index of the first version that has the LV
}

// claimed lists what the group's LVs had of its PVs, over all versions of which the text is
// intact, and those damaged ones that are no newer than the current.
func (g *Group) claimed() *claims {
	c := &g.claims
	c.once.Do(func() {
		c.pvs, c.lvs = map[metadata.ID][]*claim{}, map[metadata.ID]int{}
		type key struct {
			pv           metadata.ID
			start, count int64
			use          use
		}
		open := map[key]*claim{}
		for i, v := range g.Versions {
			if v.Damage != nil && compareTime(v, g.Current) >= 0 {
				continue
			}
			for _, lv := range v.Meta.LVs {
				if _, known := c.lvs[lv.ID]; !known {
					c.lvs[lv.ID] = i
				}
			}
			still := make(map[key]*claim, len(open))
			for id, rs := range runs(v.Meta) {
				for _, r := range rs {
					k := key{id, r.start, r.count, r.use}
					had := open[k]
					if had == nil {
						had = &claim{run: r, first: i}
						c.pvs[id] = append(c.pvs[id], had)
					}
					had.last = i
					still[k] = had
				}
			}
			open = still
		}
		for _, list := range c.pvs {
			slices.SortStableFunc(list, func(a, b *claim) int { return cmp.Compare(a.start, b.start) })
		}
	})
	return c
}

// wiped is how much of the start of a new LV lvcreate fills with zeros, in sectors
// (lib/metadata/lv_manip.c, wipe_lv).
const wiped = 8

// taking is a part of a PV that another LV took after a version.
type taking struct {
	start, count int64 // sectors from the PV's first
	by           *claim
	group        *Group
	wiped        bool // the part that lvcreate fills with zeros
}

// takings lists which parts of a PV of version v were used for anything else since, as far
// as this group's versions tell. was is what v had of it, sorted; id is the PV's UUID in this
// group, and shift how many sectors later than the PV of v it begins.
func (g *Group) takings(of *Group, v *Version, was []run, id metadata.ID, shift int64) []taking {
	after := func(w *Version) bool { return g.after(w, of, v) }
	if !slices.ContainsFunc(g.Versions, after) {
		return nil
	}
	c := g.claimed()
	var list []taking
	add := func(by *claim, start, count int64, wiped bool) {
		for len(was) > 0 && was[0].start+was[0].count <= start {
			was = was[1:]
		}
		for _, o := range was {
			if o.start >= start+count {
				break
			}
			lo, hi := max(o.start, start), min(o.start+o.count, start+count)
			if lo < hi && o.use != by.use {
				list = append(list, taking{lo, hi - lo, by, g, wiped})
			}
		}
	}
	for _, by := range c.pvs[id] { // by start, and so was can be let go of on the way
		if !after(g.Versions[by.last]) {
			continue
		}
		if by.begins() && after(g.Versions[c.lvs[by.use.lv]]) {
			add(by, by.start+shift, min(wiped, by.count), true)
		}
		add(by, by.start+shift, by.count, false)
	}
	return list
}

// lost lists the parts of a run of an older version that were not used for the same in the
// i-th version.
func (c *claims) lost(id metadata.ID, r run, i int) []run {
	left := []run{r}
	for _, k := range c.pvs[id] {
		if k.start >= r.start+r.count {
			break
		}
		if k.use == r.use && k.first <= i && i <= k.last {
			left = without(left, k.start, k.start+k.count)
		}
	}
	return left
}

// without cuts a range out of runs.
func without(runs []run, lo, hi int64) []run {
	var left []run
	for _, r := range runs {
		end := r.start + r.count
		for _, part := range [][2]int64{{r.start, min(end, lo)}, {max(r.start, hi), end}} {
			if part[0] < part[1] {
				q := r
				q.start, q.count = part[0], part[1]-part[0]
				left = append(left, q)
			}
		}
	}
	return left
}

// held tells whether the LV still has it.
func (t taking) held() bool { return compareTime(t.group.Versions[t.by.last], t.group.Current) >= 0 }

// compare puts first what tells most of a range that was taken more than once: who has it
// now, then what was certainly written, then who had it first.
func (t taking) compare(o taking) int {
	rank := func(t taking) int {
		switch {
		case t.held() && !t.wiped:
			return 0
		case t.wiped:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(rank(t), rank(o)), cmp.Compare(t.by.first, o.by.first))
}

// why says who took it, when, and whether it was given back.
func (t taking) why(of *Group) string {
	name := t.by.lv
	if t.group != of {
		name = t.group.Versions[t.by.last].Meta.Name + "/" + name
	}
	since := t.group.Versions[t.by.first].Meta.Seqno
	switch {
	case t.held():
		return fmt.Sprintf("given to LV %s since, by seqno %d", name, since)
	case t.wiped:
		return fmt.Sprintf("filled with zeros by lvcreate when LV %s was made since, by seqno %d", name, since)
	}
	return fmt.Sprintf("given to LV %s since, by seqno %d, and free again by seqno %d", name, since, t.group.Versions[t.by.last+1].Meta.Seqno)
}
