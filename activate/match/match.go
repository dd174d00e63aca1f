// Package match finds the disks of PVs that no label tells of: by the texts that are left on
// a disk, by its size, and by what stands where the LVs of the VG say that something must
// stand. Each reason has a weight; what weighs enough, and has no rival, is used, and the rest
// is proposed.
//
// All offsets and sizes are bytes.
package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Reason is something that speaks for a PV being at a place, or with a weight below zero
// against it.
type Reason struct {
	Weight  int
	Content bool // it is what stands on the PV's extents
	Text    string
	At      int64 // where on the PV that is; -1 when it is not known
}

// Weights of reasons. A match needs Strong in all.
const (
	Strong = 5 // as much as a match needs to be used
	Rival  = 2 // another match within so much is a rival

	identity  = 6  // content that belongs to this PV and no other
	fitting   = 3  // content that could be of another PV
	opposing  = -6 // content that cannot be there
	remnant   = 3  // a text of the VG where the PV would have it
	carved    = 1  // one anywhere on the disk: it may be a file of another system
	exactSize = 2
	onlySize  = 1 // more, if no other missing PV has that size
	tooSmall  = -1
	onlyOne   = 1 // no other PV is missing
)

// Candidate is a place where a PV may lie.
type Candidate struct {
	Group   *rebuild.Group
	PV      *metadata.PV
	Version *rebuild.Version // that the PV is taken from
	At      *scan.PV
	Reasons []Reason // the weightiest first
	Used    bool     // it is good enough, and there is no rival
	partial bool     // not all that may speak against it, or for another, was looked at
}

// Score is the sum of the reasons' weights.
func (c *Candidate) Score() (n int) {
	for _, r := range c.Reasons {
		n += r.Weight
	}
	return n
}

// Confirmed tells whether content alone is reason enough, and none speaks against it.
func (c *Candidate) Confirmed() bool {
	n := 0
	for _, r := range c.Reasons {
		switch {
		case r.Content && r.Weight < 0:
			return false
		case r.Content:
			n += r.Weight
		}
	}
	return n >= Strong
}

// page is the least that anything writes to a disk.
const page = 4096

// From is the byte of the PV from which on it is whole, as far as can be told: whoever has
// overwritten the label and the metadata may have gone on, but not past the first sign that
// is still there.
func (c *Candidate) From() int64 {
	if c.At.Offset < 0 || slices.ContainsFunc(c.At.Areas, func(a *scan.Area) bool { return a.Header != nil }) {
		return 0
	}
	from := c.At.Dev.Size()
	for _, r := range c.Reasons {
		if r.Content && r.Weight > 0 && r.At >= 0 {
			from = min(from, r.At/page*page)
		}
	}
	return from
}

// Why puts the reasons into a sentence.
func (c *Candidate) Why() string {
	var texts []string
	for _, r := range c.Reasons {
		if r.Weight >= 0 {
			texts = append(texts, r.Text)
		} else {
			texts = append(texts, "but "+r.Text)
		}
	}
	return fmt.Sprintf("%s (score %d)", strings.Join(texts, "; "), c.Score())
}

// Assume is the value of --assume that places the PV there.
func (c *Candidate) Assume() string {
	if c.At.Offset == 0 {
		return fmt.Sprintf("%s=%s", c.PV.ID, c.At.Source.Name)
	}
	return fmt.Sprintf("%s=%s@%d", c.PV.ID, c.At.Source.Name, c.At.Offset)
}

// Bounds of what is looked at.
const (
	most   = 64  // PVs of a VG
	judged = 512 // PVs on places, in all
)

// maxRounds bounds how often what was found may help to find more.
const maxRounds = 8

// Build is [rebuild.Build] with the PVs that no label tells of placed by all that can be found
// out about them. With the result it returns the candidates that something speaks for, the best of each PV
// first; those that are Used are part of the result, the others are for the user to decide.
func Build(ev *scan.Evidence, options rebuild.Options) (*rebuild.Result, []*Candidate, error) {
	var used []*Candidate
	e := newEffort()
	for range maxRounds {
		r, err := rebuild.Build(ev, options)
		if err != nil {
			return nil, nil, err
		}
		all := find(r, used, e)
		n := len(used)
		for _, c := range all {
			if c.Used {
				used = append(used, c)
				options.Matched = append(options.Matched, rebuild.Match{PV: c.PV.ID, At: c.At, Why: c.Why(), Confirmed: c.Confirmed(), From: c.From()})
			}
		}
		if len(used) == n {
			r.Findings = append(r.Findings, e.findings()...)
			return r, append(used, all...), nil
		}
	}
	r, err := rebuild.Build(ev, options)
	if err == nil {
		r.Findings = append(r.Findings, e.findings()...)
	}
	return r, used, err
}

// WantsHistory tells whether a disk was known by its content alone: the older texts of all disks
// may then tell that another PV had the same content before it was moved, which a scan with
// [scan.Options].History has.
func WantsHistory(all []*Candidate) bool {
	return slices.ContainsFunc(all, func(c *Candidate) bool { return c.Used && c.Confirmed() })
}

// find looks for the missing PVs of all groups, on places that are not used yet.
func find(r *rebuild.Result, used []*Candidate, e *effort) []*Candidate {
	var all []*Candidate
	used = append(byHand(r), used...)
	left := judged
	for _, g := range r.Groups {
		absent := g.Absent()
		if len(absent) == 0 {
			continue
		}
		w := e.of(g)
		at := map[*rebuild.Version]*rebuild.VG{} // placing the PVs of a version takes long when there are many
		for i, a := range absent {
			if i == most || left < 0 || w.spent() {
				w.miss("of %d missing PVs of VG %s only %d were looked for on disks without a label", len(absent), g.Name(), i)
				break
			}
			if at[a.Version] == nil {
				at[a.Version] = g.At(a.Version)
			}
			all = append(all, candidates(r, g, a, newProbe(at[a.Version], a.PV, w), absent, &left)...)
		}
	}
	// Where not all was looked at, what speaks against a place or for another is not known.
	e.doubt(all)
	all = slices.DeleteFunc(all, func(c *Candidate) bool {
		return c.Score() <= 0 || slices.ContainsFunc(used, func(u *Candidate) bool { return u.overlaps(c) })
	})
	choose(all)
	return all
}

// byHand are the places that the user gave to PVs: nothing else can be there.
func byHand(r *rebuild.Result) []*Candidate {
	var list []*Candidate
	for _, at := range r.Placed() {
		c := &Candidate{PV: &metadata.PV{ID: at.ID()}, At: at}
		for _, g := range r.Groups {
			if i := slices.IndexFunc(g.Current.Meta.PVs, func(p *metadata.PV) bool { return p.ID == at.ID() }); i >= 0 {
				c.PV = g.Current.Meta.PVs[i]
			}
		}
		list = append(list, c)
	}
	return list
}

// candidates judges every place where a PV may lie, as long as some are left to be judged.
func candidates(r *rebuild.Result, g *rebuild.Group, a rebuild.Absent, p *probe, absent []rebuild.Absent, left *int) []*Candidate {
	var list []*Candidate
	for _, at := range places(r, g, a, p) {
		if *left--; *left < 0 {
			p.work.cut("only %d places of PVs were judged, and not all of VG %s", judged, g.Name())
			break
		}
		c := &Candidate{Group: g, PV: a.PV, Version: a.Version, At: at}
		if !nowhere(at) {
			c.bySize(absent)
		}
		if g.Carries(at) {
			c.add(remnant, false, "metadata texts of VG "+a.Version.Meta.Name+" stand on it")
		} else if carvedOn(g, at.Source) {
			c.add(carved, false, "metadata texts of VG "+a.Version.Meta.Name+" were carved from it")
		}
		if n := differing(at, a.PV.ID); n <= maxDiffering {
			c.Reasons = append(c.Reasons, Reason{identity, true, fmt.Sprintf("its label is damaged, and has the PV's UUID but for %d of its characters", n), -1})
		}
		c.Reasons = append(c.Reasons, p.judge(at)...)
		if len(absent) == 1 && c.Score() > 0 {
			c.add(onlyOne, false, "no other PV is missing")
		}
		if !nowhere(at) || c.content() >= fitting {
			slices.SortStableFunc(c.Reasons, func(a, b Reason) int { return cmp.Compare(b.Weight, a.Weight) })
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *Candidate) int { return cmp.Compare(b.Score(), a.Score()) })
	return list
}

// carvedOn tells whether a text of the group was found on a source by carving.
func carvedOn(g *rebuild.Group, s *scan.Source) bool {
	return slices.ContainsFunc(g.Versions, func(v *rebuild.Version) bool {
		return slices.ContainsFunc(v.Copies, func(c *scan.Copy) bool { return c.Slot == scan.Carved && c.Source == s })
	})
}

// maxDiffering is how many characters of a UUID a damaged label may have wrong.
const maxDiffering = 4

// differing counts the characters in which the UUID of a damaged label is not that of a PV.
func differing(at *scan.PV, id metadata.ID) (n int) {
	if at.Label == nil || at.Label.Checksum == metadata.ChecksumValid || len(at.ID()) != len(id) {
		return maxDiffering + 1
	}
	for i := range id {
		if at.ID()[i] != id[i] {
			n++
		}
	}
	return n
}

func (c *Candidate) add(weight int, content bool, text string) {
	c.Reasons = append(c.Reasons, Reason{weight, content, text, -1})
}

func (c *Candidate) content() (n int) {
	for _, r := range c.Reasons {
		if r.Content {
			n += r.Weight
		}
	}
	return n
}

// bySize holds the size of the place against that of the PV.
func (c *Candidate) bySize(absent []rebuild.Absent) {
	need, have := c.PV.DevSize*block.SectorSize, c.At.Dev.Size()
	alone := !slices.ContainsFunc(absent, func(a rebuild.Absent) bool { return a.PV.ID != c.PV.ID && a.PV.DevSize == c.PV.DevSize })
	switch {
	case need == 0:
	case have == need && alone:
		c.add(exactSize+onlySize, false, fmt.Sprintf("it has the PV's %d bytes, as no other that is missing", need))
	case have == need:
		c.add(exactSize, false, fmt.Sprintf("it has the PV's %d bytes", need))
	case have < need:
		c.add(tooSmall, false, fmt.Sprintf("it has %d bytes, the PV %d", have, need))
	case endsWith(c.At, need):
		weight := exactSize + onlySize
		if slices.ContainsFunc(absent, func(a rebuild.Absent) bool {
			return a.PV.ID != c.PV.ID && endsWith(c.At, a.PV.DevSize*block.SectorSize)
		}) {
			weight = exactSize
		}
		c.add(weight, false, fmt.Sprintf("its second metadata area ends where a PV of %d bytes does", need))
	}
}

// endsWith tells whether a metadata area stands at the end that a PV of size bytes would have
// at a place, aligned as lvm2 does.
func endsWith(at *scan.PV, size int64) bool {
	const alignment = 1 << 20
	return slices.ContainsFunc(at.Areas, func(a *scan.Area) bool {
		end := a.Offset + a.Size
		return a.Number == 2 && a.Header != nil && a.Header.Checksum == metadata.ChecksumValid && end <= size && size-end < alignment
	})
}

// choose uses what is strong and has no rival, best first: what is used then is no rival of
// what remains.
func choose(all []*Candidate) {
	open := slices.Clone(all)
	for {
		slices.SortStableFunc(open, func(a, b *Candidate) int { return cmp.Compare(b.Score(), a.Score()) })
		i := slices.IndexFunc(open, func(c *Candidate) bool {
			return c.Score() >= Strong && c.usable() && !slices.ContainsFunc(open, func(o *Candidate) bool {
				return o != c && (o.PV.ID == c.PV.ID || o.overlaps(c)) && o.Score() > c.Score()-Rival
			})
		})
		if i < 0 {
			return
		}
		hit := open[i]
		hit.Used = true
		open = slices.DeleteFunc(open, func(o *Candidate) bool { return o.PV.ID == hit.PV.ID || o.overlaps(hit) })
	}
}

// usable tells whether something beyond sizes speaks for a match, and no content against it.
func (c *Candidate) usable() bool {
	if c.partial {
		return false
	}
	for _, r := range c.Reasons {
		if r.Content && r.Weight < 0 {
			return false
		}
	}
	return c.content() > 0 || slices.ContainsFunc(c.Reasons, func(r Reason) bool { return r.Weight == remnant })
}

// overlaps tells whether two candidates cannot both be right for being in one place.
func (c *Candidate) overlaps(o *Candidate) bool {
	if c.At.Source != o.At.Source {
		return false
	}
	end := func(c *Candidate) int64 { return c.At.Offset + max(c.PV.DevSize*block.SectorSize, 1) }
	return c.At.Offset < end(o) && o.At.Offset < end(c)
}
