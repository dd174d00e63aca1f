package rebuild

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
)

// Version is one metadata text of a VG and every place where it stands.
type Version struct {
	Content  *scan.Content
	Meta     *metadata.VG
	Damage   error // what of the text is not intact; nil for a whole text
	Copies   []*scan.Copy
	Repaired []string // what Meta has from the versions before and behind, as "LV root"
	Fork     bool     // another version has the same seqno and describes another VG

	era int // restorations of older texts that were before it, itself included
}

// ID names the version for the user: its seqno, and where that is not enough the first
// digits of the text's SHA-256.
func (v *Version) ID() string {
	if !v.Fork {
		return strconv.FormatUint(uint64(v.Meta.Seqno), 10)
	}
	return fmt.Sprintf("%d:%s", v.Meta.Seqno, v.digest())
}

func (v *Version) digest() string { return hex.EncodeToString(v.Content.SHA256[:4]) }

// Strength ranks what a version rests on.
type Strength uint8

const (
	Fragment  Strength = iota // parts of the text are damaged
	Unproven                  // whole, but its checksum is wrong
	Remnant                   // whole; nothing on the disk points at it, or it is a backup file, or carved
	Pending                   // valid checksum, but precommitted, or in an ignored area
	Confirmed                 // committed, with a valid checksum
)

func (s Strength) String() string {
	return [...]string{"damaged text", "wrong checksum", "no checksum", "valid checksum, not current", "valid checksum"}[s]
}

// Strength is the best that any copy of the version offers.
func (v *Version) Strength() Strength {
	if v.Damage != nil {
		return Fragment
	}
	best := Unproven
	for _, c := range v.Copies {
		s := Unproven
		switch {
		case c.Checksum == metadata.ChecksumAbsent:
			s = Remnant
		case c.Checksum == metadata.ChecksumValid && c.Slot == scan.Committed:
			s = Confirmed
		case c.Checksum == metadata.ChecksumValid:
			s = Pending
		}
		best = max(best, s)
	}
	return best
}

// order sorts the versions from old to new and marks forks.
func (g *Group) order() {
	g.eras()
	slices.SortStableFunc(g.Versions, func(a, b *Version) int {
		return cmp.Or(compareTime(a, b),
			a.Meta.CreationTime.Compare(b.Meta.CreationTime),
			cmp.Compare(a.Strength(), b.Strength()))
	})
	bySeqno := map[uint32][]*Version{}
	for _, v := range g.Versions {
		bySeqno[v.Meta.Seqno] = append(bySeqno[v.Meta.Seqno], v)
	}
	for _, vs := range bySeqno {
		markForks(vs)
	}
}

// markForks marks the whole versions of one seqno, if they describe more than one VG.
func markForks(vs []*Version) {
	if len(vs) < 2 {
		return
	}
	described := map[[sha256.Size]byte]bool{}
	for _, v := range vs {
		if v.Damage == nil {
			described[essence(v.Meta)] = true
		}
	}
	for _, v := range vs {
		v.Fork = v.Damage == nil && len(described) > 1
	}
}

// essence stands for the VG that a text describes: all but when, where and by which
// command it was written, and the device names, which are hints only.
func essence(vg *metadata.VG) [sha256.Size]byte {
	c := *vg
	c.Text, c.Node = nil, nil
	c.Description, c.CreationHost, c.CreationHostSystemID = "", "", ""
	c.CreationTime = time.Time{}
	c.PVs = make([]*metadata.PV, len(vg.PVs))
	for i, p := range vg.PVs {
		q := *p
		q.Device = ""
		c.PVs[i] = &q
	}
	return sha256.Sum256(metadata.Encode(&c, metadata.Raw))
}

// choose settles the version to stand on: the newest that a committed slot with a valid
// checksum vouches for; only without any such the best of the rest, and then with doubt.
func (g *Group) choose() {
	var best *Version
	for _, v := range g.Versions {
		if best == nil || better(v, best) {
			best = v
		}
	}
	g.Current = best
	m := best.Meta
	switch best.Strength() {
	case Confirmed:
		g.Choice = fmt.Sprintf("seqno %d is the newest version with a valid checksum (%s)", m.Seqno, copies(best))
	case Pending:
		g.Choice = fmt.Sprintf("no metadata area in use has a valid text; seqno %d from %s is the newest that has a valid checksum", m.Seqno, copies(best))
		g.Doubt = fmt.Sprintf("metadata seqno %d comes from %s; a newer version may be lost", m.Seqno, best.Copies[0].Slot)
	case Remnant:
		g.Choice = fmt.Sprintf("no committed text is valid; seqno %d (%s) is the newest whole text", m.Seqno, copies(best))
		g.Doubt = fmt.Sprintf("metadata seqno %d was found without a pointer or checksum; a newer version may be lost", m.Seqno)
	case Unproven:
		g.Choice = fmt.Sprintf("the only texts have wrong checksums; seqno %d reads as whole", m.Seqno)
		g.Doubt = fmt.Sprintf("metadata seqno %d has a wrong checksum: fields may be garbled", m.Seqno)
	case Fragment:
		g.Choice = fmt.Sprintf("only damaged texts were found; seqno %d is the newest of them", m.Seqno)
		g.Doubt = fmt.Sprintf("metadata seqno %d is damaged: fields may be garbled", m.Seqno)
	}
	g.tellRestored()
	for _, v := range g.Versions {
		g.compareWithCurrent(v)
	}
}

// tellRestored notes that the VG was put back to an older text, and what was before: it
// looks newer by its seqno.
func (g *Group) tellRestored() {
	cur := g.Current
	var newest *Version // before the restoration
	for _, v := range g.Versions {
		if v.era < cur.era && v.Meta.Seqno >= cur.Meta.Seqno && (newest == nil || v.Meta.Seqno > newest.Meta.Seqno) {
			newest = v
		}
	}
	if newest == nil {
		return
	}
	c := newest.Copies[0]
	g.Findings = append(g.Findings, scan.Finding{Severity: scan.Warning, Code: "restored", Source: c.Source.Name, Offset: c.Offset,
		Text: fmt.Sprintf("VG %s was at seqno %d when an older text was restored, from which it goes on to seqno %d; --at %s stands on what was before",
			cur.Meta.Name, newest.Meta.Seqno, cur.Meta.Seqno, newest.ID())})
	if newest.Strength() == Confirmed {
		g.Doubt = fmt.Sprintf("seqno %d, from before an older text was restored, is still committed on %s", newest.Meta.Seqno, c.Source.Name)
	}
}

// compareWithCurrent notes what another version means for the chosen one.
func (g *Group) compareWithCurrent(v *Version) {
	cur := g.Current
	c := v.Copies[0]
	note := func(s scan.Severity, code, format string, args ...any) {
		g.Findings = append(g.Findings, scan.Finding{Severity: s, Code: code, Source: c.Source.Name, Offset: c.Offset, Text: fmt.Sprintf(format, args...)})
	}
	switch {
	case v == cur:
		if v.Damage != nil {
			note(scan.Error, "version-damaged", "VG %s stands on a damaged text: %v", cur.Meta.Name, v.Damage)
		}
	case v.era < cur.era: // see tellRestored
	case v.Meta.Seqno == cur.Meta.Seqno && v.Fork && cur.Fork:
		note(scan.Warning, "fork", "VG %s has two versions of seqno %d: %s (%s) and %s (%s); choose with --at",
			cur.Meta.Name, cur.Meta.Seqno, cur.ID(), cur.Meta.Description, v.ID(), v.Meta.Description)
		if v.Strength() == cur.Strength() || unpointed(v) {
			g.Doubt = fmt.Sprintf("two differing versions have seqno %d", cur.Meta.Seqno)
		}
	case v.Strength() <= Unproven && garbledCopy(c, cur):
		note(scan.Warning, "copy-garbled", "VG %s: this copy of seqno %d is garbled; its checksum belongs to the whole copies found elsewhere", cur.Meta.Name, cur.Meta.Seqno)
	case v.Meta.Seqno > cur.Meta.Seqno && pointedAt(v):
		note(scan.Warning, "newer-unproven", "VG %s: a newer version, seqno %d (%s), cannot be trusted; standing on seqno %d",
			cur.Meta.Name, v.Meta.Seqno, v.Strength(), cur.Meta.Seqno)
		g.Doubt = fmt.Sprintf("a newer version, seqno %d, exists but is damaged", v.Meta.Seqno)
	case v.Meta.Seqno > cur.Meta.Seqno && unpointed(v) && !v.Meta.CreationTime.Before(cur.Meta.CreationTime):
		note(scan.Warning, "newer-unpointed", "VG %s: a newer version, seqno %d (%s), may be the right one: nothing tells that it was never committed; --at %s stands on it",
			cur.Meta.Name, v.Meta.Seqno, c.Slot, v.ID())
		g.Doubt = fmt.Sprintf("a newer version, seqno %d, was found where nothing tells whether it was committed", v.Meta.Seqno)
	case v.Meta.Seqno > cur.Meta.Seqno:
		note(scan.Info, "newer-uncommitted", "VG %s: seqno %d (%s) was written but never committed; --at %s shows it",
			cur.Meta.Name, v.Meta.Seqno, c.Slot, v.ID())
	}
}

// garbledCopy tells whether a slot that points at a text which cannot be trusted once
// pointed at the bytes of v: the slot keeps the size and checksum of what it was set to.
func garbledCopy(c *scan.Copy, v *Version) bool {
	if c.Slot != scan.Committed || c.Area == nil || c.Area.Header == nil {
		return false
	}
	l := c.Area.Header.Committed
	return l.Size == int64(len(v.Content.Raw))+1 && l.Checksum == metadata.Sum(v.Content.Raw, []byte{0})
}

// mourn doubts the chosen version when one of the group's disks has a committed text that
// cannot be read at all, unless that was the same version.
func (g *Group) mourn(lost []*scan.Copy) {
	for _, c := range lost {
		if c.Slot != scan.Committed || c.Area == nil || garbledCopy(c, g.Current) {
			continue
		}
		id := c.Area.PV.ID()
		if slices.ContainsFunc(g.Current.Meta.PVs, func(p *metadata.PV) bool { return p.ID == id }) && g.Doubt == "" {
			g.Doubt = fmt.Sprintf("the committed metadata of %s cannot be read; it may be newer than seqno %d", c.Area.PV, g.Current.Meta.Seqno)
		}
	}
}

// pointedAt tells whether a committed slot points at the version.
func pointedAt(v *Version) bool {
	return slices.ContainsFunc(v.Copies, func(c *scan.Copy) bool { return c.Slot == scan.Committed })
}

// unpointed tells whether a version may have been committed though no committed slot says
// so: it stands in a backup file, which LVM writes of committed versions, in an area that
// was set aside since, in one without a header that could tell, or outside of all areas.
func unpointed(v *Version) bool {
	return slices.ContainsFunc(v.Copies, func(c *scan.Copy) bool {
		switch {
		case c.Slot == scan.BackupFile, c.Slot == scan.Ignored, c.Slot == scan.Carved:
			return true
		case c.Slot != scan.Ring:
			return false
		}
		return c.Area == nil || c.Area.Header == nil || c.Area.Header.Checksum != metadata.ChecksumValid
	})
}

// better ranks two versions for choose.
func better(a, b *Version) bool {
	rank := func(v *Version) int {
		switch s := v.Strength(); s {
		case Pending, Remnant: // one rank: the newer wins
			return int(Pending)
		default:
			return int(s)
		}
	}
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		compareTime(a, b),
		cmp.Compare(len(a.Copies), len(b.Copies)),
		a.Meta.CreationTime.Compare(b.Meta.CreationTime)) > 0
}

// copies says in how many places a version stands.
func copies(v *Version) string {
	n := map[scan.Slot]int{}
	for _, c := range v.Copies {
		n[c.Slot]++
	}
	var s []string
	for slot := scan.Committed; slot <= scan.Carved; slot++ {
		if n[slot] > 0 {
			s = append(s, fmt.Sprintf("%d× %s", n[slot], slot))
		}
	}
	return strings.Join(s, ", ")
}

// Version finds the version that the user names: a seqno, or seqno:digest for a fork.
func (g *Group) Version(name string) (*Version, error) {
	seq, digest, _ := strings.Cut(name, ":")
	n, err := strconv.ParseUint(seq, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("version %q is not a seqno such as 12 or 12:1a2b3c4d", name)
	}
	var hits []*Version
	for _, v := range g.Versions {
		if uint64(v.Meta.Seqno) == n && strings.HasPrefix(hex.EncodeToString(v.Content.SHA256[:]), digest) {
			hits = append(hits, v)
		}
	}
	if len(hits) == 0 {
		return nil, fmt.Errorf("VG %s has no version %s; `lvrescue history %s` lists those found", g.Name(), name, g.Name())
	}
	best := hits[0]
	for _, v := range hits[1:] {
		if v.Fork && best.Fork && digest == "" && essence(v.Meta) != essence(best.Meta) {
			return nil, fmt.Errorf("VG %s has differing versions of seqno %d; name one: %s or %s", g.Name(), n, best.ID(), v.ID())
		}
		if better(v, best) {
			best = v
		}
	}
	return best, nil
}
