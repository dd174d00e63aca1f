package metadata

import (
	"errors"
	"fmt"
	"strings"
)

// ParseTolerant gives what is intact of a text. Of a whole text that is all, and the error is
// nil. Otherwise the error is a *DamagedError that lists what is wrong and what was left out
// for it, or a *SyntaxError when nothing of use is left; the VG is nil then.
//
// Nothing is guessed: a segment or PV of which a byte cannot be read is left out whole. An
// LV keeps its other segments, and its field Damaged says that it has lost some. It is taken
// that damage overwrites bytes where they stand: what follows a hole still belongs to the
// same LV only if no other LV fits into the hole. Bytes that changed into other valid text
// cannot be told by the text itself; that takes its checksum.
func ParseTolerant(text []byte) (*VG, error) { return ParseWithin(text, MaxMemory) }

// ParseWithin is ParseTolerant for when there are only so many bytes of memory for the text
// and all that is made of it: see [Text.Memory]. A text that needs more is of no use at all.
func ParseWithin(text []byte, limit int) (*VG, error) {
	t, err := parse(text, limit)
	if err == nil {
		err = t.unclean()
	}
	var damage *DamagedError
	if err != nil {
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || len(text) > MaxTextSize {
			return nil, err
		}
		damage = &DamagedError{Damages: []Damage{{syntax.Line, syntax.Column, syntax.Offset,
			"expected " + syntax.Expected + ", found " + syntax.Found, ""}}}
		m := newMemory(limit)
		if t = salvage(strings.TrimRight(string(text), "\x00"), damage, m); m.left < 0 {
			return nil, err
		}
	}
	vg, found := decode(t, damage)
	switch {
	case found == nil:
		return vg, nil
	case vg.ID == "" && len(vg.PVs) == 0 && len(vg.LVs) == 0:
		if err == nil {
			err = found
		}
		return nil, err
	}
	return vg, found
}

// unclean reports what the grammar has nothing against, but no text of lvm2 has: bytes that
// it does not write, an end in the middle of a line or before the VG.
func (t *Text) unclean() error {
	p := parser{src: t.src}
	if t.VG() == nil {
		return p.failAt(len(t.src), "the section of a volume group")
	}
	if at := binaryIndex(t.src); at >= 0 {
		return p.failAt(at, "text")
	}
	if end := len(t.src); end > 0 && t.src[end-1] != '\n' && t.src[end-1] != '}' {
		return p.failAt(end, "a line end")
	}
	return nil
}

// minHead and minSegment are the shortest texts, in bytes, that begin an LV or PV, and that
// a segment takes up.
const (
	minHead    = len("x {\nid = \"\"\n") + idFormattedLen
	minSegment = len("segment1 {\nstart_extent = 0\nextent_count = 1\n\ntype = \"zero\"\n}\n")
)

// maxSalvageDepth bounds how many sections may be open: where braces are lost, more are than
// lvm2 ever nests.
const maxSalvageDepth = 1000

// salvager reads a damaged text line by line, as lvm2 writes a statement or brace on each,
// and puts what it can read into a tree. Sections are told by their first lines, so that it
// finds its way again where braces are lost.
type salvager struct {
	lines  lineReader
	damage *DamagedError
	root   *Node
	vg     *Node
	lists  map[place]*Node // of the VG: PVs, LVs, historical LVs
	stack  []frame         // open sections, the root first
	hole   int             // where what cannot be read began; -1 outside of it

	// lost is where the last line ends whose section was certain, once a hole is so large
	// that its end may belong anywhere; -1 otherwise.
	lost int

	vgStands bool // the VG is part of the tree
}

// frame is an open section. What is detached is not part of the tree: it is not known what
// it belongs to.
type frame struct {
	node     *Node
	place    place
	detached bool
	segments int // number in the name of the LV's last segment
}

// salvage reads what it can of a text that breaks the grammar.
func salvage(src string, damage *DamagedError, m *memory) *Text {
	s := &salvager{lines: newLineReader(src, m), damage: damage, root: &Node{}, lists: map[place]*Node{}, hole: -1, lost: -1}
	s.stack = []frame{{node: s.root, place: inRoot}}
	for m.take(0) && s.lines.next() {
		if !s.take(s.lines.line) {
			break
		}
	}
	s.closeHole(len(src))
	for i := range s.stack {
		s.stack[i].node.damaged = true
	}
	return newText(s.root, src, m)
}

func (s *salvager) top() *frame { return &s.stack[len(s.stack)-1] }

func (s *salvager) note(offset int, dropped, format string, args ...any) {
	line, column := s.lines.position(offset)
	s.damage.add(Damage{line, column, offset, fmt.Sprintf(format, args...), dropped})
}

// take puts one line into the tree. It gives false when what follows is of no use.
func (s *salvager) take(l line) bool {
	if l.kind == lineBlank {
		return true
	}
	if l.kind == lineBad {
		if s.hole < 0 {
			s.hole = l.start
			for _, f := range s.stack {
				f.node.damaged = true
			}
		}
		return true
	}
	s.closeHole(l.start)
	if l.kind == lineOpen && len(s.stack) > maxSalvageDepth {
		s.note(l.start, "all that follows", "more than %d sections are open", maxSalvageDepth)
		return false
	}
	switch l.kind {
	case lineClose:
		s.close()
	case lineOpen:
		return s.open(l)
	case lineAssignment:
		s.assign(l)
	}
	return true
}

// closeHole ends a hole at the first line that can be read.
func (s *salvager) closeHole(end int) {
	if s.hole < 0 {
		return
	}
	s.note(s.hole, "", "%d bytes are not text that lvm2 writes", end-s.hole)
	if end-s.hole >= minHead {
		s.lose(s.hole)
	}
	s.hole = -1
}

// lose notes that from offset on it is not certain which section is open.
func (s *salvager) lose(offset int) {
	if s.lost < 0 {
		s.lost = offset
	}
}

// close takes a "}". After a large hole it may close anything.
func (s *salvager) close() {
	if s.top().detached || s.lost < 0 && len(s.stack) > 1 {
		s.stack = s.stack[:len(s.stack)-1]
	}
}

// assign puts an assignment into the open section.
func (s *salvager) assign(l line) {
	n := l.node
	if n.Key == "contents" && s.vg != nil {
		s.unwind(inRoot)
		s.lost = -1
	}
	top := s.top()
	switch {
	case s.lost >= 0 && !top.detached:
		return
	case top.place == inRoot && n.Key != "contents" && !s.root.Has("contents"):
		return // of a section whose beginning is lost
	case n.Key == "id" && (top.node.Has("id") || top.place == inSegment || top.place == inOther):
		dropped := "a section"
		if len(n.Values) > 0 {
			dropped = "the section of UUID " + shorten(n.Values[0].Raw)
		}
		s.note(l.start, dropped, "an id where none can be: the name before it is lost")
		top.node.damaged = true
		s.lost = 0
		return
	case top.place == inLV && top.node.damaged && findField(lvFields, n.Key, 0) < 0:
		s.push(NewSection("segment"), inSegment, false)
		s.top().node.damaged = true
	}
	s.top().node.Append(n)
}

// open takes a line "name {".
func (s *salvager) open(l line) bool {
	p := s.shape(l)
	switch p {
	case inVG:
		if s.vg != nil {
			s.note(l.start, "all that follows", "a second volume group begins")
			return false
		}
		s.vg, s.vgStands = l.node, true
		s.stack = s.stack[:1]
		s.push(l.node, inVG, false)
	case inPVs, inLVs, inHistory:
		s.enter(p)
	case inPV, inLV, inHistorical:
		s.enter(listOf(p))
		s.push(l.node, p, false)
	case inSegment:
		s.openSegment(l)
		return true
	default:
		if s.doubtful(l) {
			s.lost = 0
		}
		top := s.top()
		s.push(l.node, top.place.within(l.node.Key), s.lost >= 0 || top.detached || top.place == inRoot)
		return true
	}
	s.lost = -1
	return true
}

// doubtful tells whether a section of unknown kind may be the beginning of an LV or PV that
// is too damaged to be known as one.
func (s *salvager) doubtful(l line) bool {
	inner := s.top().place.within(l.node.Key)
	if s.top().place == inSegment && (inner == inMessage || l.node.Key == "policy_settings") {
		return false
	}
	return s.top().node.damaged || !s.lines.textBehind()
}

// openSegment takes the beginning of a segment: of the open LV, if it can only be that one's.
func (s *salvager) openSegment(l line) {
	number := segmentNumber(l.node.Key)
	for i := len(s.stack) - 1; i > 0; i-- {
		lv := &s.stack[i]
		if lv.place != inLV {
			continue
		}
		certain := s.lost < 0 || number > lv.segments && minHead+(number-1)*minSegment > l.start-s.lost
		if !certain || lv.detached {
			break
		}
		s.unwind(inLV)
		s.lost = -1
		lv.segments = max(lv.segments, number)
		s.push(l.node, inSegment, false)
		return
	}
	s.note(l.start, l.node.Key, "it cannot be told which LV %s belongs to", l.node.Key)
	s.push(l.node, inSegment, true)
}

// push opens a section inside the open one.
func (s *salvager) push(n *Node, p place, detached bool) {
	if !detached {
		s.top().node.Append(n)
	}
	s.stack = append(s.stack, frame{node: n, place: p, detached: detached})
}

// unwind goes back to the open section of that kind, if there is one. What is open in it has
// not been closed, so part of it is lost.
func (s *salvager) unwind(p place) bool {
	for i := len(s.stack) - 1; i >= 0; i-- {
		if s.stack[i].place == p && !s.stack[i].detached {
			for _, f := range s.stack[i+1:] {
				if f.place != inLV {
					f.node.damaged = true
				}
			}
			s.stack = s.stack[:i+1]
			return true
		}
	}
	return false
}

// enter goes to the VG's list of PVs, LVs or historical LVs, and makes what of the way there
// is lost.
func (s *salvager) enter(list place) {
	if s.unwind(list) {
		return
	}
	if s.vg == nil {
		s.vg = NewSection("")
		s.vg.damaged = true
	}
	if !s.unwind(inVG) {
		s.stack = s.stack[:1]
		if !s.vgStands {
			s.root.Append(s.vg)
			s.vgStands = true
		}
		s.stack = append(s.stack, frame{node: s.vg, place: inVG})
	}
	if n := s.lists[list]; n != nil {
		s.stack = append(s.stack, frame{node: n, place: list})
		return
	}
	s.lists[list] = NewSection(listKeys[list])
	s.push(s.lists[list], list, false)
}

var listKeys = map[place]string{inPVs: keyPVs, inLVs: keyLVs, inHistory: keyHistorical}

// listOf gives the list that sections of a kind stand in.
func listOf(p place) place {
	switch p {
	case inPV:
		return inPVs
	case inLV:
		return inLVs
	}
	return inHistory
}

// shape tells what a section is by its name and the lines behind it, and only if they do not
// tell by where it stands.
func (s *salvager) shape(l line) place {
	for p, key := range listKeys {
		if key == l.node.Key {
			return p
		}
	}
	switch first := s.lines.keyBehind(); {
	case first == "id":
		if p := s.lines.headShape(); p != inOther {
			return p
		}
	case first == "start_extent" || segmentNumber(l.node.Key) > 0:
		return inSegment
	}
	switch top := s.top().place; {
	case s.lost >= 0:
	case top == inPVs || top == inLVs || top == inHistory:
		return top.within(l.node.Key)
	case top == inRoot && s.vg == nil && (l.start == 0 || s.root.Has("contents")):
		return inVG
	}
	return inOther
}
