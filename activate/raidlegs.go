package activate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// raidLeg is what is known of one leg of an array.
type raidLeg struct {
	index   int    // in the text
	name    string // of the image LV
	image   *Volume
	noImage string // why image is nil
	rebuild bool   // the text flags it as one to be rebuilt

	meta block.Device       // the metadata LV; nil for none
	sb   *dmraid.Superblock // nil for none
	noSB error              // why

	marks []block.Extent
	stale string // why it is behind the others; "" when it is not
}

// array is a RAID segment on its way to a target.
type array struct {
	*planner
	lv    *metadata.LV
	moved bool          // the text speaks of a reshape
	size  int64         // bytes
	asked dmraid.Layout // what the text says
	legs  []*raidLeg    // in the order of the text

	fresh      *raidLeg // whose superblock counts; nil for none
	layout     dmraid.Layout
	dataOffset int64
	order      []*raidLeg // by position in the array
	bitmap     *dmraid.Bitmap
	unsynced   []block.Extent
	doubt      string
}

// raidLeg finds a leg's LVs and reads its superblock.
func (p *planner) raidLeg(i int, text metadata.Leg, above []string) *raidLeg {
	l := &raidLeg{index: i, name: text.Image, noSB: dmraid.ErrNoSuperblock}
	image, err := p.named(text.Image, above)
	if err != nil {
		l.noImage = err.Error()
	} else {
		l.image = image
		l.rebuild = image.LV.HasStatus("REBUILD")
	}
	if text.Meta == "" {
		return l
	}
	meta, err := p.named(text.Meta, above)
	if err != nil {
		l.noSB = err
		return l
	}
	l.rebuild = l.rebuild || meta.LV.HasStatus("REBUILD")
	l.meta = p.open(meta)
	b := make([]byte, dmraid.SuperblockSize)
	if n, err := l.meta.ReadAt(b, 0); n < len(b) {
		l.noSB = err
		return l
	}
	l.sb, _, l.noSB = dmraid.ReadSuperblock(b)
	return l
}

// choose finds the freshest superblock, the first of equals (drivers/md/dm-raid.c,
// super_load), and with it the layout. It counts more than the text, which is written
// before the kernel begins a conversion and not again when it is done.
func (a *array) choose() {
	for _, l := range a.legs {
		if l.sb != nil && (a.fresh == nil || l.sb.Events > a.fresh.sb.Events) {
			a.fresh = l
		}
	}
	a.layout = a.asked
	if a.fresh == nil {
		return
	}
	a.outvote()
	a.layout, a.dataOffset = a.fresh.sb.Layout, a.fresh.sb.DataOffset
	if a.layout.Level == 1 { // legs of raid1 come and go without the kernel's doing
		a.layout.Devices = len(a.legs)
	}
	if a.fresh.sb.Reshape == nil && a.layout != a.asked {
		a.note(a.lv, false, "the text says %s, the superblocks %s: using the superblocks", a.asked, a.layout)
		if !a.moved && a.alone() {
			a.doubt = fmt.Sprintf("%s alone says that this is %s; the text says %s", a.fresh.name, a.layout, a.asked)
		}
	}
}

// geometry is what a leg's superblock says of how the array is laid out. It must have one.
func (l *raidLeg) geometry() string {
	sb := l.sb
	s := fmt.Sprint(sb.Layout.Level, sb.Layout.Algorithm, sb.Layout.Chunk, sb.DataOffset)
	if sb.Layout.Level != 1 {
		s += fmt.Sprint(" ", sb.Layout.Devices)
	}
	if sb.Reshape != nil {
		s += fmt.Sprint(" ", *sb.Reshape)
	}
	return s
}

// alone tells whether no other leg, however old, says what the freshest does.
func (a *array) alone() bool {
	return !slices.ContainsFunc(a.legs, func(l *raidLeg) bool {
		return l != a.fresh && l.sb != nil && l.geometry() == a.fresh.geometry()
	})
}

// outvote drops superblocks that are as fresh as the others, or were written last, and yet give
// another geometry: they have no checksum, but the kernel writes the same to all legs. Where no
// side has more, nothing is certain.
func (a *array) outvote() {
	votes := map[string]int{}
	var equals []*raidLeg
	for _, l := range a.legs {
		if l.sb != nil && a.asFresh(l) {
			equals = append(equals, l)
			votes[l.geometry()] += 2
			if l.sb.Layout == a.asked && (l.sb.DataOffset == 0 || a.moved) { // the text decides between as many
				votes[l.geometry()] |= 1
			}
		}
	}
	slices.SortStableFunc(equals, func(x, y *raidLeg) int {
		return cmp.Or(votes[y.geometry()]-votes[x.geometry()], cmp.Compare(y.sb.Events, x.sb.Events))
	})
	a.fresh = equals[0]
	for _, l := range equals {
		switch g := l.geometry(); {
		case g == a.fresh.geometry():
		case votes[g] == votes[a.fresh.geometry()]:
			a.doubt = fmt.Sprintf("the superblocks of %s and %s are equally fresh, but do not say the same: %s with data from %d, and %s with data from %d",
				a.fresh.name, l.name, a.fresh.sb.Layout, a.fresh.sb.DataOffset, l.sb.Layout, l.sb.DataOffset)
		default:
			l.noSB = fmt.Errorf("it says %s with data from %d, equally fresh ones say %s with data from %d",
				l.sb.Layout, l.sb.DataOffset, a.fresh.sb.Layout, a.fresh.sb.DataOffset)
			l.sb = nil
		}
	}
}

// asFresh tells whether a leg is as fresh as the freshest, or was only the last to be told.
func (a *array) asFresh(l *raidLeg) bool {
	return l.sb.Events >= a.fresh.sb.Events || a.fresh.sb.Events-l.sb.Events == 1
}

// devices is how many legs the array has, during a reshape the larger of both numbers.
func (a *array) devices() int {
	n := a.layout.Devices
	if a.fresh != nil && a.fresh.sb.Reshape != nil {
		n = max(n, a.fresh.sb.Reshape.Layout.Devices)
	}
	return n
}

// arrange puts the legs into their positions. Where the kernel would refuse a leg at
// another position, its superblock counts, else the order of the text (drivers/md/dm-raid.c,
// super_init_validation).
func (a *array) arrange() {
	a.order = make([]*raidLeg, a.devices())
	var rest []*raidLeg
	moved := ""
	for _, l := range a.legs {
		at := l.index
		if l.sb != nil && a.layout.Level != 1 && (a.layout.Level != 10 || a.layout.Spreads()) {
			at = l.sb.Position
		}
		if at != l.index {
			moved = fmt.Sprintf("%s says that it is leg %d of the array, the text has it as leg %d", l.name, at, l.index)
		}
		if at >= len(a.order) || a.order[at] != nil {
			rest = append(rest, l)
			continue
		}
		if at != l.index {
			a.note(a.lv, false, "%s: using its own word", moved)
		}
		a.order[at] = l
	}
	for i := range a.order {
		if a.order[i] != nil {
			continue
		}
		a.order[i] = &raidLeg{index: i, noSB: dmraid.ErrNoSuperblock}
		if at := slices.IndexFunc(rest, func(l *raidLeg) bool { return l.sb == nil }); at >= 0 {
			a.order[i] = rest[at]
			rest = slices.Delete(rest, at, at+1)
		}
	}
	// Legs that all say where they belong confirm each other.
	if moved != "" && slices.ContainsFunc(a.order, func(l *raidLeg) bool { return l.sb == nil }) {
		a.doubt = moved + ", and not all legs say where they belong"
	}
}

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

// readBitmap takes the write-intent bitmaps of all legs that are up to date: what one of them
// calls dirty is.
func (a *array) readBitmap() {
	for _, l := range a.order {
		if l.sb == nil || l.meta == nil || l.stale != "" {
			continue
		}
		b, err := dmraid.ReadBitmap(l.meta)
		if err != nil || b.Stale || b.Events < a.fresh.sb.Events {
			continue
		}
		if a.bitmap == nil {
			a.bitmap = b
		} else if !a.bitmap.Merge(b) {
			a.bitmap = nil
			return
		}
	}
}

// span is a range [lo, hi) of the data of each leg.
type span struct{ lo, hi int64 }

var everything = []span{{0, math.MaxInt64}}

func from(lo int64) []span { return []span{{lo, math.MaxInt64}} }

// maxSpans bounds what is kept of a bitmap, for all legs together. What has more is taken as
// a whole.
const maxSpans = 1 << 19

// dirty gives the ranges of the legs that the bitmap calls dirty.
func (a *array) dirty() []span {
	if a.bitmap == nil {
		return everything
	}
	var s []span
	for lo, hi := range a.bitmap.Dirty() {
		d := a.onLegs(lo, hi)
		if n := len(s); n > 0 && d.lo <= s[n-1].hi {
			s[n-1].hi = max(s[n-1].hi, d.hi)
			continue
		}
		if len(s) == maxSpans/len(a.order) {
			return everything
		}
		s = append(s, d)
	}
	return a.withCopies(s)
}

// onLegs turns a range that is synchronised into one of the legs, where raid10 has its first
// copies. It counts bytes of the array there (drivers/md/md-bitmap.h).
func (a *array) onLegs(lo, hi int64) span {
	chunk := a.layout.Chunk
	if a.layout.Level != 10 {
		return span{lo, hi}
	}
	if a.layout.Spreads() {
		from, to := a.layout.Spread(a.size).Rows(lo/chunk, (hi-1)/chunk)
		return span{from * chunk, to * chunk}
	}
	row := chunk * int64(a.layout.Columns())
	return span{lo / row * chunk, ((hi-1)/row + 1) * chunk}
}

// withCopies adds to the rows of first copies those of far ones. Near copies that go on in
// the next row stand there too.
func (a *array) withCopies(s []span) []span {
	if !a.layout.Spreads() {
		return s
	}
	var all []span
	for _, shift := range a.layout.Spread(a.size).Shifts() {
		for _, d := range s {
			all = append(all, span{d.lo + shift, d.hi + shift + a.layout.Chunk})
		}
	}
	slices.SortFunc(all, func(x, y span) int { return cmp.Compare(x.lo, y.lo) })
	merged := all[:0]
	for _, d := range all {
		if n := len(merged); n > 0 && d.lo <= merged[n-1].hi {
			merged[n-1].hi = max(merged[n-1].hi, d.hi)
			continue
		}
		merged = append(merged, d)
	}
	return merged
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
