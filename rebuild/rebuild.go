// Package rebuild turns evidence into truth: the versions of each volume group that were
// found, the one to stand on and why, and for each of its physical volumes the disk that
// holds it, or the fact that it is missing.
//
// Nothing is read here beyond the evidence. What is lost or doubtful is put into the
// devices of the PVs (see [PV.Dev]), once: whatever is mapped onto them later inherits it.
package rebuild

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Options are the user's own decisions.
type Options struct {
	Assume  []Assume // PVs placed by hand
	Without []string // PV UUIDs, or source names, that are left out
	Matched []Match  // PVs placed by what was found out about them
	Thin    string   // how thin pools are read: see activate.ThinModes
	Strict  bool     // extents that may have been used again since a version are bad, not doubtful
}

// Assume says that a PV lies at a place, whatever the evidence there says.
type Assume struct {
	PV     metadata.ID
	Source string // name of a scanned source
	Offset int64  // bytes from the source's start to the PV's first byte; below 0 when the source lacks that
}

// Result is everything that the evidence of one scan adds up to.
type Result struct {
	Groups   []*Group   // by name, then UUID
	Orphans  []*scan.PV // PVs that no known VG lists
	Findings []scan.Finding

	strict   bool
	thin     string
	matched  []Match
	placed   []*scan.PV     // by hand
	evidence *scan.Evidence // without what the user left out

	labelled map[metadata.ID]bool     // PVs that a label, or the user, tells of
	users    map[metadata.ID][]*Group // the groups of which any version has the PV, as sorted in Groups
}

// Group is a volume group over time: all versions of one VG UUID.
type Group struct {
	ID       metadata.ID
	Versions []*Version // oldest first: by seqno, then creation time
	Current  *Version   // the version to stand on
	Choice   string     // why Current was chosen
	Doubt    string     // why Current may not be the newest or not be right; "" when it is confirmed

	Findings []scan.Finding

	pvs    []*scan.PV            // every PV found, whatever group it belongs to
	result *Result               // that the group is part of
	last   map[*scan.PV]*Version // see lastOn
	claims claims                // see claimed
	listed sync.Once             // that had is worked out
	had    members               // see members
}

// Name is the name that the group has in its current version.
func (g *Group) Name() string { return g.Current.Meta.Name }

// Build groups the evidence by VG and chooses a version for each.
func Build(ev *scan.Evidence, opt Options) (*Result, error) {
	ev, err := leaveOut(ev, opt.Without)
	if err != nil {
		return nil, err
	}
	placed, err := assumed(ev, opt.Assume)
	if err != nil {
		return nil, err
	}
	r := &Result{strict: opt.Strict, thin: opt.Thin, matched: opt.Matched, placed: placed, evidence: ev}
	r.Findings = append(r.Findings, ev.Findings...)
	byID := map[metadata.ID]*Group{}
	versions := map[*scan.Content]*Version{}
	var lost []*scan.Copy
	pvs := slices.Concat(placed, ev.PVs)
	if err := parse(ev.Copies); err != nil {
		return nil, err
	}
	for _, c := range ev.Copies {
		v := versions[c.Content]
		if v == nil {
			vg, perr := c.Content.VG()
			if vg == nil || vg.ID == "" {
				r.Findings = append(r.Findings, unusable(c, perr))
				lost = append(lost, c)
				continue
			}
			v = &Version{Content: c.Content, Meta: vg, Damage: perr}
			versions[c.Content] = v
			g := byID[vg.ID]
			if g == nil {
				g = &Group{ID: vg.ID, pvs: pvs, result: r}
				byID[vg.ID] = g
				r.Groups = append(r.Groups, g)
			}
			g.Versions = append(g.Versions, v)
		}
		v.Copies = append(v.Copies, c)
	}
	for _, g := range r.Groups {
		g.order()
		g.repair()
		g.findLast()
		g.choose()
		g.mourn(lost)
	}
	slices.SortFunc(r.Groups, func(a, b *Group) int {
		return cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(string(a.ID), string(b.ID)))
	})
	r.index(pvs)
	r.Findings = append(r.Findings, sameNames(r.Groups)...)
	r.Orphans = orphans(ev, r.Groups)
	r.unlisted(placed)
	return r, nil
}

// index notes what each group would have to look for among all PVs and all groups.
func (r *Result) index(pvs []*scan.PV) {
	r.labelled = make(map[metadata.ID]bool, len(pvs))
	for _, f := range pvs {
		if f.ID() != "" {
			r.labelled[f.ID()] = true
		}
	}
	r.users = make(map[metadata.ID][]*Group, len(pvs))
	for _, g := range r.Groups {
		for _, v := range g.Versions {
			for _, m := range v.Meta.PVs {
				if list := r.users[m.ID]; len(list) == 0 || list[len(list)-1] != g {
					r.users[m.ID] = append(list, g)
				}
			}
		}
	}
}

// parse parses the texts, within the memory that one may take: committed ones first, and
// short ones, so that a hostile text does not keep others from being read. Those that have
// memory enough together, whatever is in them, are parsed side by side.
func parse(copies []*scan.Copy) error {
	texts := distinctTexts(copies)
	for left := metadata.MaxMemory; len(texts) > 0; {
		n, most := 0, 0
		for n < len(texts) && (n == 0 || most+metadata.MostMemory(len(texts[n].Raw)) <= left) {
			most += metadata.MostMemory(len(texts[n].Raw))
			n++
		}
		if err := block.OnAllCores(n, func(i int) { texts[i].VGWithin(left) }); err != nil {
			return err
		}
		for _, c := range texts[:n] {
			if vg, _ := c.VG(); vg != nil {
				left -= vg.Text.Memory()
			}
		}
		texts = texts[n:]
	}
	return nil
}

// distinctTexts gives each text once, those that are to be parsed first in front.
func distinctTexts(copies []*scan.Copy) []*scan.Content {
	order := slices.Clone(copies)
	slices.SortStableFunc(order, func(a, b *scan.Copy) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(len(a.Content.Raw), len(b.Content.Raw)))
	})
	var texts []*scan.Content
	seen := map[*scan.Content]bool{}
	for _, c := range order {
		if !seen[c.Content] {
			seen[c.Content] = true
			texts = append(texts, c.Content)
		}
	}
	return texts
}

// unusable reports a text of which not even the VG's name and UUID can be read.
func unusable(c *scan.Copy, err error) scan.Finding {
	f := scan.Finding{Severity: scan.Warning, Code: "text-unusable", Source: c.Source.Name, Offset: c.Offset,
		Text: fmt.Sprintf("metadata text (%s, %d bytes, checksum %s) cannot be used", c.Slot, len(c.Content.Raw), c.Checksum)}
	if err != nil {
		f.Text += ": " + err.Error()
	}
	return f
}

// leaveOut drops the evidence of sources and PVs that the user does not want.
// What names neither is an error: the user would rely on something being left out.
func leaveOut(ev *scan.Evidence, without []string) (*scan.Evidence, error) {
	if len(without) == 0 {
		return ev, nil
	}
	sources, ids := map[string]bool{}, map[metadata.ID]bool{}
	for _, w := range without {
		if err := leftOut(ev, w, sources, ids); err != nil {
			return nil, err
		}
	}
	out := func(source string, id metadata.ID) bool { return sources[source] || id != "" && ids[id] }
	e := &scan.Evidence{Findings: ev.Findings}
	for _, s := range ev.Signs {
		if !sources[s.Source.Name] {
			e.Signs = append(e.Signs, s)
		}
	}
	for _, s := range ev.Sources {
		if !sources[s.Name] {
			e.Sources = append(e.Sources, s)
		}
	}
	for _, p := range ev.PVs {
		if !out(p.Source.Name, p.ID()) {
			e.PVs = append(e.PVs, p)
		}
	}
	for _, c := range ev.Copies {
		var id metadata.ID
		if c.Area != nil {
			id = c.Area.PV.ID()
		}
		if !out(c.Source.Name, id) {
			e.Copies = append(e.Copies, c)
		}
	}
	return e, nil
}

// leftOut takes down which sources, or which PV, a word of the user names.
func leftOut(ev *scan.Evidence, word string, sources map[string]bool, ids map[metadata.ID]bool) error {
	found := false
	name := func(s *scan.Source) {
		if s.Is(word) {
			found, sources[s.Name] = true, true
		}
	}
	for _, s := range ev.Sources {
		name(s)
	}
	for _, c := range ev.Copies {
		if c.Slot == scan.BackupFile {
			name(c.Source)
		}
	}
	if id, err := metadata.ParseID(word); err == nil {
		ids[id] = true
		found = found || slices.ContainsFunc(ev.PVs, func(p *scan.PV) bool { return p.ID() == id })
	}
	if !found {
		return fmt.Errorf("--without %s: no source has that name, and no PV that was found has that UUID", word)
	}
	return nil
}

// unlisted tells of PVs that the user placed though no VG has such a PV: of typing errors.
func (r *Result) unlisted(placed []*scan.PV) {
	for _, p := range placed {
		if !r.lists(p.ID()) {
			r.Findings = append(r.Findings, scan.Finding{Severity: scan.Error, Code: "assume-unlisted", Source: p.Source.Name, Offset: p.Offset,
				Text: fmt.Sprintf("was placed as PV %s, but no VG has such a PV", p.ID())})
		}
	}
}

// lists tells whether any version of any VG has a PV of that UUID.
func (r *Result) lists(id metadata.ID) bool {
	for _, g := range r.Groups {
		for _, v := range g.Versions {
			if slices.ContainsFunc(v.Meta.PVs, func(p *metadata.PV) bool { return p.ID == id }) {
				return true
			}
		}
	}
	return false
}

// orphans lists the PVs that carry a label which no known VG lists.
func orphans(ev *scan.Evidence, groups []*Group) []*scan.PV {
	listed := map[metadata.ID]bool{}
	for _, g := range groups {
		for _, v := range g.Versions {
			for _, pv := range v.Meta.PVs {
				listed[pv.ID] = true
			}
		}
	}
	var o []*scan.PV
	for _, p := range ev.PVs {
		if p.Label != nil && !listed[p.ID()] {
			o = append(o, p)
		}
	}
	return o
}

// Find returns the group that the user means by a VG's UUID or name; a name that the VG has
// lost since counts where no VG has it now.
func (r *Result) Find(name string) (*Group, error) {
	id, idErr := metadata.ParseID(name)
	hits := r.filter(func(g *Group) bool { return g.Name() == name || idErr == nil && g.ID == id })
	if len(hits) == 0 {
		hits = r.filter(func(g *Group) bool {
			return slices.ContainsFunc(g.Versions, func(v *Version) bool { return v.Meta.Name == name })
		})
	}
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		var names []string
		for _, g := range r.Groups {
			names = append(names, g.Name())
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("no volume group %q: no LVM metadata was found on the sources", name)
		}
		return nil, fmt.Errorf("no volume group %q; found: %s", name, strings.Join(slices.Compact(names), ", "))
	}
	var ids []string
	for _, g := range hits {
		ids = append(ids, g.ID.String())
	}
	return nil, fmt.Errorf("%d volume groups are named %q; name one by its UUID: %s", len(hits), name, strings.Join(ids, ", "))
}

// filter lists the groups that a test holds for.
func (r *Result) filter(test func(*Group) bool) []*Group {
	var hits []*Group
	for _, g := range r.Groups {
		if test(g) {
			hits = append(hits, g)
		}
	}
	return hits
}
