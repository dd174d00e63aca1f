package activate

import (
	"cmp"
	"fmt"
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
