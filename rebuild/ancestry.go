package rebuild

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
)

// Kinship is how a VG has to do with another, or with what it was itself.
type Kinship struct {
	Kind  string // stable, for scripts: "renamed", "split-from", "merged-from", "clone", "pvs-from"
	Other *Group // nil for a rename
	Text  string
}

// Ancestry tells where a VG came from, by the names that it had, and by the LVs and PVs that
// it shares with others: what vgrename, vgsplit, vgmerge, vgimportclone and a vgcreate over an
// older VG leave behind.
func (g *Group) Ancestry() []Kinship {
	var list []Kinship
	for i, v := range g.Versions[1:] {
		if old := g.Versions[i]; old.Meta.Name != v.Meta.Name && v.Damage == nil && old.Damage == nil && compareTime(old, v) != 0 {
			list = append(list, Kinship{Kind: "renamed", Text: fmt.Sprintf("was named %s until seqno %d", old.Meta.Name, old.Meta.Seqno)})
		}
	}
	for _, o := range g.result.Groups {
		if o != g {
			if k, ok := g.kin(o); ok {
				list = append(list, k)
			}
		}
	}
	return list
}

// kin tells what a VG has from another.
func (g *Group) kin(o *Group) (Kinship, bool) {
	mine, theirs := g.members(), o.members()
	lvs, at := inherited(mine.lvs, theirs.lvs)
	pvs, pvAt := inherited(mine.pvs, theirs.pvs)
	what := strings.TrimPrefix(named(", LV", lvs)+named(", PV", pvs), ", ")
	name := o.Name()
	switch {
	case len(lvs) > 0 && len(pvs) == 0:
		return Kinship{"clone", o, fmt.Sprintf("is a clone of VG %s (%s): the same LVs on PVs with other UUIDs", name, o.ID)}, true
	case len(lvs) > 0 && at != g.Versions[0] && !o.outlives(at):
		return Kinship{"merged-from", o, fmt.Sprintf("took in VG %s (%s) by seqno %d: %s", name, o.ID, at.Meta.Seqno, what)}, true
	case len(lvs) > 0:
		return Kinship{"split-from", o, fmt.Sprintf("has from VG %s (%s), by seqno %d: %s", name, o.ID, at.Meta.Seqno, what)}, true
	case len(pvs) > 0:
		return Kinship{"pvs-from", o, fmt.Sprintf("has from VG %s (%s), by seqno %d: %s", name, o.ID, pvAt.Meta.Seqno, what)}, true
	}
	return Kinship{}, false
}

// inherited lists, sorted, what a VG has that another had before, and the version with the
// first of it.
func inherited(mine, theirs map[metadata.ID]member) (names []string, at *Version) {
	for id, m := range mine {
		t, shared := theirs[id]
		if !shared || !earlier(t.first, m.first) {
			continue
		}
		names = append(names, m.name)
		if at == nil || compareTime(m.first, at) < 0 {
			at = m.first
		}
	}
	slices.Sort(names)
	return names, at
}

// named lists names behind a noun; a few of them, if there are many.
func named(noun string, names []string) string {
	const most = 8
	switch n := len(names); {
	case n == 0:
		return ""
	case n == 1:
		return noun + " " + names[0]
	case n > most:
		return fmt.Sprintf("%ss %s and %d more", noun, strings.Join(names[:most], ", "), n-most)
	}
	return noun + "s " + strings.Join(names, ", ")
}

// earlier tells whether a version of one VG was written before that of another, as far as
// clocks tell.
func earlier(a, b *Version) bool {
	return a.Meta.CreationTime.Before(b.Meta.CreationTime)
}

// outlives tells whether the VG has versions that were written after one of another.
func (g *Group) outlives(v *Version) bool {
	return slices.ContainsFunc(g.Versions, func(w *Version) bool { return earlier(v, w) })
}

// member is an LV or PV of a group, and the first version that has it.
type member struct {
	name  string
	first *Version
}

type members struct{ lvs, pvs map[metadata.ID]member }

// members lists what a group has had; it is asked of each group for each other.
func (g *Group) members() members {
	g.listed.Do(func() { g.had = g.listMembers() })
	return g.had
}

func (g *Group) listMembers() members {
	m := members{map[metadata.ID]member{}, map[metadata.ID]member{}}
	for _, v := range g.Versions {
		for _, lv := range v.Meta.LVs {
			if _, known := m.lvs[lv.ID]; !known && lv.ID != "" && lv.Visible() {
				m.lvs[lv.ID] = member{lv.Name, v}
			}
		}
		for _, pv := range v.Meta.PVs {
			if _, known := m.pvs[pv.ID]; !known && pv.ID != "" {
				m.pvs[pv.ID] = member{pv.Key, v}
			}
		}
	}
	return m
}
