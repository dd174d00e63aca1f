package rebuild

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
)

// Seqnos alone do not order the versions of a VG: vgcfgrestore writes an old text anew with
// the seqno that follows the old one's. From then on the VG counts on from there, and what
// was before has higher seqnos. An era is the time between two such restorations.

// maxEras is how many restorations of one VG are believed: nobody does that often.
const maxEras = 64

// eras finds the restorations among the versions, and tells each version's era.
func (g *Group) eras() {
	rings := g.rings()
	restored := map[*Version]bool{}
	for _, v := range g.Versions {
		if len(restored) < maxEras && v.Damage == nil && strings.Contains(v.Meta.Description, "vgcfgrestore") {
			restored[v] = true
		}
	}
	for _, ring := range rings {
		for i, p := range ring[1:] {
			if before := ring[i]; len(restored) < maxEras && p.follows(before) && p.v.Meta.Seqno < before.v.Meta.Seqno && p.v.Damage == nil && before.v.Damage == nil &&
				!p.v.Meta.CreationTime.Before(before.v.Meta.CreationTime) {
				restored[p.v] = true
			}
		}
	}
	if len(restored) == 0 {
		return
	}
	nth := map[*Version]map[*scan.Area]int{}
	for _, ring := range rings {
		for i, p := range ring {
			if nth[p.v] == nil {
				nth[p.v] = map[*scan.Area]int{}
			}
			nth[p.v][p.area] = i
		}
	}
	for r := range restored {
		for _, v := range g.Versions {
			if r == v || writtenBefore(r, v, nth) {
				v.era++
			}
		}
	}
}

// ringPlace is where a version stands in the ring of one area.
type ringPlace struct {
	v    *Version
	area *scan.Area
	at   int64 // bytes from the start of the area
	end  int64 // of its text, NUL included
}

// follows tells whether p's text was put right behind q's, with nothing lost between them.
func (p ringPlace) follows(q ringPlace) bool {
	next := (q.end + metadata.SectorSize - 1) &^ (metadata.SectorSize - 1)
	if next >= q.area.Size {
		next -= q.area.Size - metadata.MDAHeaderSize
	}
	return p.at == next
}

// rings lists for each area with a header what stands in its ring in the order in which it
// was written, the committed text last. What is behind that one in the ring is the oldest.
func (g *Group) rings() [][]ringPlace {
	byArea := map[*scan.Area][]ringPlace{}
	var order []*scan.Area
	for _, v := range g.Versions {
		for _, c := range v.Copies {
			a := c.Area
			if a == nil || a.Header == nil || a.Header.Checksum != metadata.ChecksumValid || a.Header.Committed.Empty() || c.Slot == scan.Precommitted {
				continue
			}
			if byArea[a] == nil {
				order = append(order, a)
			}
			at := c.Offset - a.PV.Offset - a.Offset
			byArea[a] = append(byArea[a], ringPlace{v: v, area: a, at: at, end: at + int64(len(c.Content.Raw)) + 1})
		}
	}
	rings := make([][]ringPlace, 0, len(order))
	for _, a := range order {
		ring := byArea[a]
		committed := a.Header.Committed.Offset
		age := func(p ringPlace) int64 { // how far behind the committed text, going back
			if p.at > committed {
				return committed + a.Size - p.at
			}
			return committed - p.at
		}
		slices.SortStableFunc(ring, func(x, y ringPlace) int { return cmp.Compare(age(y), age(x)) })
		rings = append(rings, ring)
	}
	return rings
}

// writtenBefore tells whether r was written before v: by their order in a ring that has
// both, or else by the clock.
func writtenBefore(r, v *Version, nth map[*Version]map[*scan.Area]int) bool {
	for _, c := range v.Copies {
		n, in := nth[v][c.Area]
		if m, both := nth[r][c.Area]; in && both {
			return m < n
		}
	}
	return r.Meta.CreationTime.Before(v.Meta.CreationTime)
}

// compareTime orders two versions of one VG by when they were written, as far as eras and
// seqnos tell; 0 for forks.
func compareTime(a, b *Version) int {
	return cmp.Or(cmp.Compare(a.era, b.era), cmp.Compare(a.Meta.Seqno, b.Meta.Seqno))
}

// Gap is a run of seqnos of which no whole version was found.
type Gap struct {
	From, To uint32   // seqnos, inclusive
	After    *Version // the last version before it
	Before   *Version // the first behind it
}

// String is "seqno 6" or "seqnos 6 to 9".
func (g Gap) String() string {
	if g.From == g.To {
		return fmt.Sprintf("seqno %d", g.From)
	}
	return fmt.Sprintf("seqnos %d to %d", g.From, g.To)
}

// Gaps lists the seqnos that are missing between the whole versions that were found: of a
// damaged one nobody knows what it had besides.
func (g *Group) Gaps() []Gap {
	var gaps []Gap
	var p *Version
	for _, v := range g.Versions {
		if v.Damage != nil {
			continue
		}
		if p != nil && v.era == p.era && uint64(v.Meta.Seqno) > uint64(p.Meta.Seqno)+1 {
			gaps = append(gaps, Gap{p.Meta.Seqno + 1, v.Meta.Seqno - 1, p, v})
		}
		p = v
	}
	return gaps
}

// gapsAfter lists the gaps between a version and the current one.
func (g *Group) gapsAfter(v *Version) []Gap {
	return slices.DeleteFunc(g.Gaps(), func(gap Gap) bool {
		return compareTime(gap.After, v) < 0 || compareTime(gap.Before, g.Current) > 0
	})
}
