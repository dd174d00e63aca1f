package activate

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// judge decides what of each leg may be trusted.
func (a *array) judge() {
	if a.fresh == nil {
		a.judgeWithoutSuperblocks()
		return
	}
	for _, l := range a.order {
		l.stale = a.behind(l)
		if l.stale != "" && l.sb != nil && l.sb.Failed.Has(a.fresh.sb.Position) {
			a.doubt = fmt.Sprintf("%s and %s each say that the other failed: both were written alone", a.fresh.name, l.name)
		}
	}
	a.contest()
	a.readBitmap()
	for _, l := range a.order {
		switch {
		case l.image == nil:
		case l.stale != "":
			a.markStale(l)
		case l.sb == nil && l.rebuild:
			a.mark(l, block.Bad, l.name+" was never rebuilt", everything)
		case l.sb == nil:
			a.mark(l, block.Doubtful, fmt.Sprintf("nothing vouches for %s: %v", l.name, l.noSB), everything)
		case l.sb.RecoveryOffset != dmraid.Whole && a.fresh.sb.Reshape == nil:
			a.mark(l, block.Bad, l.name+" was not rebuilt to here", from(l.sb.RecoveryOffset))
		}
	}
	a.judgeSync()
}

// contest doubts a freshest superblock that stands against as many legs or more: those that
// went on without others called them failed. Of a mirror without its superblock samples tell
// whether it is against.
func (a *array) contest() {
	with, against := 0, 0
	for _, l := range a.order {
		switch {
		case l.sb != nil && a.fresh.sb.Failed.Has(l.sb.Position) || l.image == nil || missingPV(l.image, map[*Volume]bool{}):
		case l.sb == nil && (l.stale != "" || l.rebuild || a.layout.Level != 1 || a.alike(l)):
		case l.sb != nil && l.stale == "":
			with++
		default:
			against++
		}
	}
	if against >= with {
		a.doubt = fmt.Sprintf("%s is at event %d, and calls none of %d legs failed that are far behind it or hold something else", a.fresh.name, a.fresh.sb.Events, against)
	}
}

// behind tells why a leg has missed writes that others have got; "" when it has not. A
// leg that is one event behind was only the last to be told (drivers/md/md.c,
// super_1_validate).
func (a *array) behind(l *raidLeg) string {
	f := a.fresh.sb
	position := l.index
	if l.sb != nil {
		position = l.sb.Position
	}
	switch {
	case l == a.fresh:
		return ""
	case f.Failed.Has(position) && l.sb != nil:
		return fmt.Sprintf("%s is stale: it failed at event %d, the array went on to %d", l.name, l.sb.Events, f.Events)
	case f.Failed.Has(position):
		return fmt.Sprintf("%s is stale: the other legs say that it failed", l.name)
	case l.sb != nil && !a.asFresh(l):
		return fmt.Sprintf("%s is stale: event %d, the array is at %d", l.name, l.sb.Events, f.Events)
	}
	return ""
}

// markStale marks what a stale leg may have missed. If the bitmap has not been cleared since
// it failed, what is clean there is still the same.
func (a *array) markStale(l *raidLeg) {
	switch {
	case l.sb == nil:
		a.mark(l, block.Doubtful, l.stale, everything)
	case l.sb.RecoveryOffset != dmraid.Whole:
		a.mark(l, block.Doubtful, l.stale, []span{{0, l.sb.RecoveryOffset}})
		a.mark(l, block.Bad, l.name+" was not rebuilt to here", from(l.sb.RecoveryOffset))
	case a.bitmap == nil || l.sb.Events < a.bitmap.EventsCleared:
		a.mark(l, block.Doubtful, l.stale, everything)
	default:
		a.mark(l, block.Doubtful, l.stale, a.dirty())
	}
}

// mark takes down what of a leg's data is not to be trusted, in ascending order.
func (a *array) mark(l *raidLeg, s block.State, why string, spans []span) {
	for _, d := range spans {
		data := l.image.Size - a.dataOffset
		if d.lo < data {
			l.marks = append(l.marks, block.Extent{Off: a.dataOffset + d.lo, Len: min(d.hi, data) - d.lo, State: s, Why: why})
		}
	}
}

// trusted tells whether a leg counts in full.
func (l *raidLeg) trusted() bool { return l.image != nil && len(l.marks) == 0 }

// judgeSync looks at what of the array has not been in sync. Where copies may differ, the
// kernel reads the first leg that is in sync, and copies it to the others (drivers/md/raid1.c).
func (a *array) judgeSync() {
	const why = "the array was not in sync here when it was last used"
	var spans []span
	if synced := a.syncedTo(); synced != dmraid.Whole {
		if a.layout.Spreads() {
			a.unsynced = []block.Extent{{Off: synced, Len: math.MaxInt64 - synced, State: block.Doubtful, Why: why}}
			return
		}
		spans = from(a.onLegs(synced, synced+1).lo)
	}
	if a.layout.Copies() > 1 {
		a.markCopies(why, spans)
		a.markWriteMostly()
		return
	}
	if a.layout.Parity() == 0 {
		return
	}
	if spans == nil && !a.degraded() {
		spans = a.dirty()
	}
	for _, d := range spans {
		a.unsynced = append(a.unsynced, block.Extent{Off: d.lo, Len: d.hi - d.lo, State: block.Doubtful, Why: why})
	}
}

// syncedTo is up to where all superblocks that are as fresh as can be call the array in sync.
func (a *array) syncedTo() int64 {
	to := a.fresh.sb.ResyncOffset
	for _, l := range a.order {
		if l.sb != nil && a.asFresh(l) {
			to = min(to, l.sb.ResyncOffset)
		}
	}
	return to
}

// inSync tells whether a leg was in sync when the array was last used, as far as is known:
// of one that is missing nothing speaks against it.
func (l *raidLeg) inSync() bool {
	if l.sb == nil {
		return l.stale == "" && !l.rebuild
	}
	return l.stale == "" && l.sb.RecoveryOffset == dmraid.Whole
}

// markCopies makes all copies doubtful but the first of each byte.
func (a *array) markCopies(why string, spans []span) {
	leader := slices.IndexFunc(a.order, (*raidLeg).inSync)
	for i, l := range a.order {
		first := i == leader
		if a.layout.Level == 10 { // copies of a chunk stand side by side
			first = i%a.layout.Copies() == 0
		}
		if !first && l.trusted() {
			a.mark(l, block.Doubtful, why, spans)
		}
	}
}

// markWriteMostly makes doubtful what raid1 may still have owed to the legs that it only
// writes to: with write-behind it tells of a write before they have it.
func (a *array) markWriteMostly() {
	for _, l := range a.order {
		if l.trusted() && l.image.LV.HasStatus("WRITEMOSTLY") && !a.degraded() {
			a.mark(l, block.Doubtful, l.name+" is write-mostly: the last writes may not have reached it", a.dirty())
		}
	}
}

// degraded tells whether the array was degraded when it was last used. The bitmap then has
// all that was written since, not only what was under way.
func (a *array) degraded() bool {
	return !a.fresh.sb.Failed.Empty() || slices.ContainsFunc(a.order, func(l *raidLeg) bool {
		return l.stale != "" || l.sb != nil && l.sb.RecoveryOffset != dmraid.Whole
	})
}

// tell notes what was decided about the legs.
func (a *array) tell() {
	for i, l := range a.order {
		switch {
		case l.image == nil:
			a.note(a.lv, true, "leg %d has no image: %s", i, l.leg().Lost)
		case missingPV(l.image, map[*Volume]bool{}):
			a.note(a.lv, true, "leg %d (%s) is on a missing PV", i, l.name)
		case len(l.marks) > 0:
			a.note(a.lv, true, "leg %d: %s", i, l.marks[0].Why)
		case l.sb == nil && a.fresh != nil && !errors.Is(l.noSB, dmraid.ErrNoSuperblock):
			a.note(a.lv, false, "leg %d (%s) has no usable superblock: %v", i, l.name, l.noSB)
		}
	}
	if a.doubt != "" {
		a.note(a.lv, false, "%s", a.doubt)
	}
}

// missingPV tells whether part of a volume lies on a PV that is not there. seen has the
// volumes that were looked at already.
func missingPV(v *Volume, seen map[*Volume]bool) bool {
	if seen[v] {
		return false
	}
	seen[v] = true
	for _, s := range v.Segments {
		for _, in := range s.Target.Inputs() {
			if in.PV != nil && in.PV.Missing() || in.Volume != nil && missingPV(in.Volume, seen) {
				return true
			}
		}
	}
	return false
}
