package metadata

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Damage is one thing wrong with a text and what it costs.
type Damage struct {
	Line, Column int // from 1
	Offset       int // bytes
	Text         string
	Dropped      string // what of the VG is left out for it; "" when nothing is
}

func (d Damage) String() string {
	s := fmt.Sprintf("line %d, column %d (byte %d): %s", d.Line, d.Column, d.Offset, d.Text)
	if d.Dropped != "" {
		s += "; left out: " + d.Dropped
	}
	return s
}

// maxDamages bounds the list of a DamagedError.
const maxDamages = 1000

// DamagedError lists what is wrong with a text.
type DamagedError struct {
	Damages []Damage // in the order in which they were found; at most 1,000
	More    int      // damages beyond those
}

func (e *DamagedError) Error() string {
	s := "damaged metadata text: " + e.Damages[0].String()
	if n := len(e.Damages) + e.More; n > 1 {
		s += fmt.Sprintf(" (and %d more)", n-1)
	}
	return s
}

func (e *DamagedError) add(d Damage) {
	if len(e.Damages) == maxDamages {
		e.More++
		return
	}
	e.Damages = append(e.Damages, d)
}

// Decode turns a tree into the typed model. A field that lvm2 needs and that is missing, or
// one of the wrong type or out of range, is a *DamagedError; see [ParseTolerant] for what is
// left of such a text. What fields say about each other is left to [Check].
func Decode(t *Text) (*VG, error) {
	vg, damage := decode(t, nil)
	if damage != nil {
		return nil, damage
	}
	return vg, nil
}

// decode reads what can be read and adds to the damage found before.
func decode(t *Text, damage *DamagedError) (*VG, *DamagedError) {
	d := &decoder{text: t, damage: damage, salvaged: damage != nil}
	vg := &VG{Text: t, Node: t.VG()}
	readFields(d, headerFields, vg, t.Root, subject{kind: "the header"})
	if vg.Node == nil {
		d.bad(t.Root, "", "there is no section of a volume group")
		return vg, d.damage
	}
	if vg.Name = vg.Node.Key; len(vg.Name) > maxNameLength {
		vg.Name = shorten(vg.Name)
		d.bad(vg.Node, "", "the name of VG %s has %d bytes, at most %d are possible", vg.Name, len(vg.Node.Key), maxNameLength)
	}
	readFields(d, vgFields, vg, vg.Node, subject{"VG ", vg.Name, ""})
	if vg.ExtentSize == 0 && vg.Node.Has("extent_size") {
		d.bad(vg.Node.find("extent_size"), "the place of every extent", "extent_size is 0")
	}
	d.vg = vg
	d.readPVs()
	d.readLVs()
	d.readHistory()
	return vg, d.damage
}

// decoder fills a VG from a tree. Slabs keep the allocations of large VGs few.
type decoder struct {
	text   *Text
	vg     *VG
	damage *DamagedError
	err    string // why the last item was not read in full

	salvaged bool // the text breaks the grammar, the tree is what is left of it

	lvs      slab[LV]
	segments slab[Segment]
	pointers slab[*Segment]
	areas    slab[Area]
	strings  slab[string]
}

// subject is what a message is about; it becomes text only when there is a message.
type subject struct{ kind, name, segment string }

func (s subject) String() string {
	name := s.kind + shorten(s.name)
	if s.segment == "" {
		return name
	}
	return name + ", " + shorten(s.segment)
}

// bad notes something wrong at a node.
func (d *decoder) bad(n *Node, dropped, format string, args ...any) {
	if d.damage == nil {
		d.damage = new(DamagedError)
	}
	d.err = fmt.Sprintf(format, args...)
	line, column := 0, 0
	if len(d.damage.Damages) < maxDamages { // to find the line takes time
		line, column = d.text.Position(n.Offset)
	}
	d.damage.add(Damage{line, column, n.Offset, d.err, dropped})
}

// readFields reads the assignments of a section. It reports whether all of them could be
// read, and notes what could not.
func readFields[T any](d *decoder, table []field[T], target *T, section *Node, what subject) (ok bool) {
	ok = true
	scanFields(d, table, target, section, func(n *Node, key string, err error) {
		d.bad(n, "", "%s: %s %v", what, key, err)
		ok = false
	})
	return ok
}

var errMissing = errors.New("is missing")

// scanFields reads the assignments of a section and hands what it cannot read to bad, with
// the node it is about.
func scanFields[T any](d *decoder, table []field[T], target *T, section *Node, bad func(n *Node, key string, err error)) {
	var seen uint64
	next := 0 // lvm2's order is the table's
	for n := section.first; n != nil; n = n.next {
		if n.Kind != Assignment {
			continue
		}
		i := findField(table, n.Key, next)
		if i < 0 || seen&(1<<i) != 0 {
			continue
		}
		seen |= 1 << i
		next = i + 1
		if err := d.read(table[i].ref(target), table[i].max, n); err != nil {
			bad(n, n.Key, err)
		}
	}
	for i := range table {
		if table[i].need && seen&(1<<i) == 0 {
			bad(section, table[i].key, errMissing)
		}
	}
}

// findField looks a key up, from the place where it is likely on.
func findField[T any](table []field[T], key string, from int) int {
	for i := from; i < len(table); i++ {
		if table[i].key == key {
			return i
		}
	}
	for i := 0; i < from; i++ {
		if table[i].key == key {
			return i
		}
	}
	return -1
}

// read stores an assignment's value where ref points.
func (d *decoder) read(ref any, largest int64, n *Node) error {
	if ref, ok := ref.(*[]string); ok {
		return d.readStrings(ref, n)
	}
	if n.List || len(n.Values) != 1 {
		return errOneValue
	}
	v := n.Values[0]
	switch ref := ref.(type) {
	case *string:
		return readText(ref, v)
	case *segmentType:
		var s string
		err := readText(&s, v)
		ref.set(s)
		return err
	case *ID:
		id, err := ParseID(v.Text())
		*ref = id
		return err
	case *int64:
		return readInt(ref, v, 0, largest)
	case **int64:
		*ref = new(int64)
		return readInt(*ref, v, -1, largest)
	case *bool:
		var i int64
		err := readInt(&i, v, 0, largest)
		*ref = i != 0
		return err
	case *uint32:
		var i int64
		err := readInt(&i, v, 0, math.MaxUint32)
		*ref = uint32(i)
		return err
	case *time.Time:
		var i int64
		err := readInt(&i, v, math.MinInt64, math.MaxInt64)
		*ref = unixTime(i)
		return err
	}
	panic(fmt.Sprintf("metadata: field %s has no readable type", n.Key))
}

// readStrings reads a list of texts; a single text is a list too.
func (d *decoder) readStrings(ref *[]string, n *Node) error {
	if len(n.Values) == 0 {
		return nil
	}
	list := d.strings.take(len(n.Values))
	for i, v := range n.Values {
		if err := readText(&list[i], v); err != nil {
			return err
		}
	}
	*ref = list
	return nil
}

func readText(ref *string, v Value) error {
	if !v.IsString() {
		return fmt.Errorf("is %s, not text", shorten(v.Raw))
	}
	*ref = v.Text()
	return nil
}

func readInt(ref *int64, v Value, least, most int64) error {
	i, ok := v.Int()
	if !ok {
		return fmt.Errorf("is %q, not an integer", shorten(v.Raw))
	}
	if i < least || i > most {
		return fmt.Errorf("is %d, not between %d and %d", i, least, most)
	}
	*ref = i
	return nil
}

// spanFits tells whether a span of extents, first sector and all, ends at a place that an
// int64 can hold in bytes.
func (d *decoder) spanFits(startSectors, extents int64) bool {
	hi, lo := bits.Mul64(uint64(extents), uint64(d.vg.ExtentSize))
	return hi == 0 && lo <= maxSectors && startSectors <= maxSectors-int64(lo)
}

// readPVs reads the PVs. A PV of which anything that places its extents is lost is left out:
// nothing may be read at a guessed place.
func (d *decoder) readPVs() {
	section := d.vg.Node.Child(keyPVs)
	if section == nil {
		d.bad(d.vg.Node, "all PVs", "there is no section %s", keyPVs)
		return
	}
	for n := range section.Children() {
		if n.Kind != Section {
			continue
		}
		pv := &PV{Key: n.Key, Node: n}
		what := subject{"PV ", n.Key, ""}
		if !d.room(n, lvMemory, "all PVs from here on") {
			return
		}
		if len(n.Key) > maxNameLength {
			d.bad(n, what.String(), "the name of %s has %d bytes, at most %d are possible", what, len(n.Key), maxNameLength)
			continue
		}
		ok := readFields(d, pvFields, pv, n, what)
		if n.damaged {
			d.bad(n, what.String(), "%s: part of its section is lost", what)
			continue
		}
		if !ok && !pvPlaced(pv) {
			d.bad(n, what.String(), "%s cannot be used", what)
			continue
		}
		if !d.spanFits(pv.PEStart, pv.PECount) {
			d.bad(n, what.String(), "%s: %d extents from sector %d on do not fit 2^63 bytes", what, pv.PECount, pv.PEStart)
			continue
		}
		d.vg.PVs = append(d.vg.PVs, pv)
	}
}

// pvPlaced tells whether all that places a PV's extents was read.
func pvPlaced(pv *PV) bool {
	if pv.ID == "" {
		return false
	}
	for _, key := range []string{"pe_start", "pe_count"} {
		if i, ok := pv.Node.Int(key); !ok || i < 0 || i > maxSectors {
			return false
		}
	}
	return pv.Node.Has("pe_count") && pv.PECount <= math.MaxUint32
}

func (d *decoder) readLVs() {
	for n := range d.vg.Node.Child(keyLVs).Children() {
		if n.Kind == Section {
			if !d.room(n, lvMemory, "all LVs from here on") {
				return
			}
			d.vg.LVs = append(d.vg.LVs, d.readLV(n))
		}
	}
}

// room reports whether there is memory for what a node is about to become.
func (d *decoder) room(n *Node, bytes int, what string) bool {
	if !d.text.take(bytes) {
		d.bad(n, what, "expected %s", d.text.tooMuch())
		return false
	}
	return true
}

// readLV reads an LV with those of its segments that are intact.
func (d *decoder) readLV(n *Node) *LV {
	lv := d.lvs.one()
	lv.Name, lv.Node = n.Key, n
	what := subject{"LV ", n.Key, ""}
	if !readFields(d, lvFields, lv, n, what) {
		lv.Damaged = d.err
	}
	if len(n.Key) > maxNameLength {
		lv.Name = shorten(n.Key)
		d.bad(n, "", "the name of %s has %d bytes, at most %d are possible", what, len(n.Key), maxNameLength)
		lv.Damaged = d.err
	}
	sections := 0
	for c := n.first; c != nil; c = c.next {
		if c.Kind == Section {
			sections++
		}
	}
	lv.Segments = d.pointers.take(sections)[:0]
	for c := n.first; c != nil; c = c.next {
		if c.Kind != Section {
			continue
		}
		if !d.room(c, segmentMemory, what.String()+": all segments from here on") {
			lv.Damaged = d.err
			break
		}
		if s := d.readSegment(c, n.Key); s != nil {
			lv.Segments = append(lv.Segments, s)
		} else {
			lv.Damaged = d.err
		}
	}
	switch {
	case lv.Damaged != "":
	case n.damaged:
		d.bad(n, "", "%s: part of its section is lost", what)
		lv.Damaged = d.err
	case d.vg.ExtentSize == 0:
		lv.Damaged = "the VG's extent_size is lost"
	}
	if int64(sections) != lv.SegmentCount && n.Has("segment_count") {
		d.bad(n, "", "%s: segment_count is %d, but there are %d segments", what, lv.SegmentCount, sections)
		lv.Damaged = d.err
	}
	if !slices.IsSortedFunc(lv.Segments, byStart) {
		slices.SortStableFunc(lv.Segments, byStart)
	}
	return lv
}

func byStart(a, b *Segment) int { return cmp.Compare(a.StartExtent, b.StartExtent) }

// readSegment reads a segment, or gives nil if anything in it cannot be read: a segment half
// known would map extents to the wrong place.
func (d *decoder) readSegment(n *Node, lv string) *Segment {
	what := subject{"LV ", lv, n.Key}
	s := d.segments.one()
	s.Key, s.Node = n.Key, n
	if !readFields(d, segmentFields, s, n, what) {
		d.damage.drop(what.String())
		return nil
	}
	err := d.readAreas(s)
	switch {
	case n.damaged:
		err = fmt.Errorf("part of its section is lost")
	case err != nil:
	case !d.spanFits(0, s.StartExtent+s.ExtentCount):
		err = fmt.Errorf("%d extents from %d on do not fit 2^63 bytes", s.ExtentCount, s.StartExtent)
	}
	if err == nil && d.salvaged {
		err = strangeField(s)
	}
	if err != nil {
		d.bad(n, what.String(), "%s: %v", what, err)
		return nil
	}
	return s
}

// strangeField reports a field that segments of that type do not have. In a text that is
// damaged elsewhere it is most likely the rest of one that they do have.
func strangeField(s *Segment) error {
	for n := range s.Node.Children() {
		if n.Kind == Assignment && !knownField(s.Type, n.Key) {
			return fmt.Errorf("%s is no field of type %s", shorten(n.Key), s.Type)
		}
	}
	return nil
}

// drop says of the last damage what is left out for it.
func (e *DamagedError) drop(what string) {
	if e.More == 0 {
		e.Damages[len(e.Damages)-1].Dropped = what
	}
}

func (d *decoder) readHistory() {
	for n := range d.vg.Node.Child(keyHistorical).Children() {
		if n.Kind != Section {
			continue
		}
		if !d.room(n, lvMemory, "all historical LVs from here on") {
			return
		}
		h := &HistoricalLV{Key: n.Key, Node: n}
		what := subject{"historical LV ", n.Key, ""}
		if readFields(d, historicalFields, h, n, what); n.damaged {
			d.bad(n, what.String(), "%s: part of its section is lost", what)
			continue
		}
		if h.Name == "" {
			h.Name = h.Key
		}
		d.vg.HistoricalLVs = append(d.vg.HistoricalLVs, h)
	}
}
