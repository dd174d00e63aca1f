package metadata

import (
	"fmt"
	"slices"
	"time"
)

// Encode writes a VG as lvm2 would, so that vgcfgrestore takes it: its fields in lvm2's
// order, fields unknown to the model where they stood, and in a file lvm2's comments. Times
// keep the comment that they had, as its time zone is not known. There is no terminating
// NUL.
//
// A VG that lvm2 wrote comes out in the same bytes. One that was changed or made should have
// only what lvm2 knows: of a segment without a Node the areas are written, and nothing of
// other segment types.
func Encode(vg *VG, style Style) []byte {
	e := encoder{vg: vg, style: style}
	root := NewSection("")
	if style == File {
		e.header(root)
	}
	root.Append(e.section())
	if style == Raw {
		e.header(root)
	}
	t := &Text{Root: root, Style: style}
	if vg.Text != nil {
		t.src = vg.Text.src // tells how much to allocate
	}
	return t.Bytes()
}

// encoder makes a tree from a VG.
type encoder struct {
	vg    *VG
	style Style
}

// header makes the header's assignments and comments.
func (e *encoder) header(root *Node) {
	h := *e.vg
	if h.Contents == "" {
		h.Contents, h.Version = contentsValue, 1
	}
	var old *Node
	generated := generatedBy + "lvrescue"
	if h.Text != nil {
		old = h.Text.Root
		for n := range old.Children() {
			if n.Kind == Remark {
				generated = n.Comment
				break
			}
		}
	}
	root.Append(&Node{Kind: Remark, Comment: generated})
	writeFields(e, root, headerFields, &h, old, nil)
	for n := range root.Children() {
		was := old.find(n.Key)
		switch {
		case n.Kind != Assignment:
		case was != nil && slices.Equal(was.Values, n.Values):
			n.Comment = was.Comment
		case n.Key == "creation_time":
			n.Comment = h.CreationTime.Format("# " + time.ANSIC)
		}
	}
}

// section makes the VG's section.
func (e *encoder) section() *Node {
	vg := NewSection(e.vg.Name)
	writeFields(e, vg, vgFields, e.vg, e.vg.Node, nil)
	pvs := NewSection(keyPVs)
	for i, pv := range e.vg.PVs {
		n := NewSection(orNumbered(pv.Key, "pv", i))
		writeFields(e, n, pvFields, pv, pv.Node, nil)
		pvs.Append(n)
	}
	vg.Append(pvs)
	if len(e.vg.LVs) > 0 {
		lvs := NewSection(keyLVs)
		for _, lv := range e.vg.LVs {
			lvs.Append(e.lv(lv))
		}
		vg.Append(lvs)
	}
	if len(e.vg.HistoricalLVs) > 0 {
		history := NewSection(keyHistorical)
		for _, h := range e.vg.HistoricalLVs {
			n := NewSection(h.Key)
			writeFields(e, n, historicalFields, e.historical(h), h.Node, nil)
			history.Append(n)
		}
		vg.Append(history)
	}
	return vg
}

// historical takes out a name that only repeats the section's.
func (e *encoder) historical(h *HistoricalLV) *HistoricalLV {
	out := *h
	if out.Name == out.Key && !out.Node.Has("name") {
		out.Name = ""
	}
	return &out
}

func (e *encoder) lv(lv *LV) *Node {
	out := *lv
	out.SegmentCount = int64(len(lv.Segments))
	n := NewSection(lv.Name)
	writeFields(e, n, lvFields, &out, lv.Node, nil)
	for i, s := range lv.Segments {
		n.Append(e.segment(s, i))
	}
	return n
}

func (e *encoder) segment(s *Segment, i int) *Node {
	n := NewSection(orNumbered(s.Key, "segment", i+1))
	own := areaFields(s)
	writeFields(e, n, segmentFields, s, s.Node, func(old *Node) *Node {
		if made, ok := own[old.Key]; ok {
			return made
		}
		return clone(old)
	})
	if s.Node == nil {
		kind, _ := areasOf(s.Type)
		for _, key := range []string{kind.count, "stripe_size", kind.list} {
			if made := own[key]; made != nil {
				n.Append(made)
			}
		}
	}
	for c := range n.Children() {
		c.Comment = e.note(segmentNote(e.vg, s, c), c)
	}
	return n
}

// areaFields makes what a segment's Areas and StripeSize stand for in the text.
func areaFields(s *Segment) map[string]*Node {
	kind, ok := areasOf(s.Type)
	if !ok {
		return nil
	}
	list := NewList(kind.list)
	legs := len(s.Areas)
	for _, a := range s.Areas {
		switch {
		case kind.list == keyStripes || kind.list == keyMirrors:
			list.Values = append(list.Values, MakeString(a.Name), MakeInt(a.Start))
		case a.Name != "":
			list.Values = append(list.Values, MakeString(a.Name))
		}
	}
	if kind.list == keyRAIDs {
		legs /= 2
	}
	own := map[string]*Node{
		kind.list:  list,
		kind.count: NewAssignment(kind.count, MakeInt(int64(legs))),
	}
	if s.StripeSize > 0 {
		own["stripe_size"] = NewAssignment("stripe_size", MakeInt(s.StripeSize))
	}
	return own
}

// note gives the comment for a node: none in a metadata area.
func (e *encoder) note(made string, n *Node) string {
	switch {
	case e.style == Raw:
		return ""
	case made != "":
		return made
	}
	return n.Comment
}

// writeFields appends to a section what a table's fields hold, in the table's order, and
// behind each of them what is unknown to the table and stood there in the section that
// target was read from. other makes the new node from such an old one; nil copies the
// assignments.
func writeFields[T any](e *encoder, section *Node, table []field[T], target *T, old *Node, other func(*Node) *Node) {
	behind := strangers(table, old, other)
	appendAll(section, behind[""])
	for _, f := range table {
		if n := makeField(f, target); n != nil {
			was := old.find(f.key)
			_, isTime := f.ref(target).(*time.Time)
			switch {
			case e.style == Raw:
			case isTime && was != nil && was.Comment != "":
				n.Comment = was.Comment
			case f.note != nil:
				n.Comment = f.note(e.vg, target)
			}
			section.Append(n)
		}
		appendAll(section, behind[f.key])
	}
}

// strangers collects new nodes for what a table does not know, by the key before them.
func strangers[T any](table []field[T], old *Node, other func(*Node) *Node) map[string][]*Node {
	var behind map[string][]*Node
	at := ""
	for c := range old.Children() {
		switch {
		case c.Kind == Remark || c.Kind == Section && other == nil:
			continue
		case c.Kind == Assignment && findField(table, c.Key, 0) >= 0:
			at = c.Key
			continue
		}
		if behind == nil {
			behind = make(map[string][]*Node)
		}
		n := c
		if other != nil {
			n = other(c)
		} else {
			n = clone(c)
		}
		behind[at] = append(behind[at], n)
	}
	return behind
}

// clone copies a node and what is in it.
func clone(n *Node) *Node {
	c := &Node{Key: n.Key, Kind: n.Kind, List: n.List, Values: n.Values, Comment: n.Comment, tight: n.tight}
	for child := range n.Children() {
		c.Append(clone(child))
	}
	return c
}

func appendAll(section *Node, nodes []*Node) {
	for _, n := range nodes {
		section.Append(n)
	}
}

// makeField makes the assignment for a field of the model, or nil if lvm2 would not write
// it.
func makeField[T any](f field[T], target *T) *Node {
	var v Value
	empty := false
	switch ref := f.ref(target).(type) {
	case *[]string:
		return makeList(f.key, *ref, f.always)
	case *string:
		v, empty = MakeString(*ref), *ref == ""
	case *segmentType:
		v = MakeString((*Segment)(ref).TypeName())
	case *ID:
		v, empty = MakeString(ref.String()), *ref == ""
	case *int64:
		v, empty = MakeInt(*ref), *ref == 0
	case *uint32:
		v, empty = MakeInt(int64(*ref)), *ref == 0
	case **int64:
		if *ref == nil {
			return nil
		}
		v = MakeInt(**ref)
	case *time.Time:
		v, empty = MakeInt(ref.Unix()), ref.IsZero()
	default:
		panic(fmt.Sprintf("metadata: field %s has no writable type", f.key))
	}
	if empty && !f.always {
		return nil
	}
	return NewAssignment(f.key, v)
}

func makeList(key string, list []string, always bool) *Node {
	if len(list) == 0 && !always {
		return nil
	}
	n := NewList(key)
	for _, s := range list {
		n.Values = append(n.Values, MakeString(s))
	}
	return n
}

func orNumbered(key, prefix string, i int) string {
	if key != "" {
		return key
	}
	return fmt.Sprint(prefix, i)
}

// segmentUnits tells which fields of a segment have their size as a comment, and of how
// many sectors each unit is; perExtent stands for the VG's extent_size. It is from the
// text_export functions of lib/striped, lib/mirror, lib/thin and lib/vdo.
var segmentUnits = map[[2]string]int64{
	{"striped", "stripe_size"}:              1,
	{"mirror", "extents_moved"}:             perExtent,
	{"thin-pool", "chunk_size"}:             1,
	{"vdo-pool", "header_size"}:             1,
	{"vdo-pool", "virtual_extents"}:         perExtent,
	{"vdo-pool", "block_map_cache_size_mb"}: 2048,
	{"vdo-pool", "index_memory_size_mb"}:    2048,
	{"vdo-pool", "slab_size_mb"}:            2048,
}

const perExtent = -1

// segmentNote is the comment of a field that belongs to a segment's type.
func segmentNote(vg *VG, s *Segment, n *Node) string {
	if n.Kind != Assignment || len(n.Values) != 1 {
		return ""
	}
	count, ok := n.Values[0].Int()
	unit := segmentUnits[[2]string{s.Type, n.Key}]
	switch {
	case !ok || count < 0:
		return ""
	case s.Type == "striped" && n.Key == "stripe_count" && count == 1:
		return "# linear"
	case unit == perExtent:
		return sizeNote(count, vg.ExtentSize)
	case unit > 0:
		return sizeNote(count, unit)
	}
	return ""
}
