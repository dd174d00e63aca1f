package metadata

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// lineKind is what a line of a damaged text turns out to be.
type lineKind uint8

const (
	lineBlank lineKind = iota // or a comment
	lineBad
	lineClose      // }
	lineOpen       // name {
	lineAssignment // key = value; lists may take several lines
)

type line struct {
	kind  lineKind
	start int // byte of the text
	node  *Node
}

// lineReader cuts a damaged text into statements.
type lineReader struct {
	parser    parser
	src       string
	pos       int // behind the line at hand
	line      line
	listsTo   int // up to this byte, listEndAt is the end of every list; -1 for none
	listEndAt int
	counted   int // offset up to which line ends are counted
	lineEnds  int
}

func newLineReader(src string, m *memory) lineReader {
	return lineReader{src: src, parser: parser{quiet: true, memory: m}}
}

// position is the line and column of an offset, which must not be less than the one before.
func (r *lineReader) position(offset int) (line, column int) {
	if offset > r.counted {
		r.lineEnds += strings.Count(r.src[r.counted:offset], "\n")
		r.counted = offset
	}
	return r.lineEnds + 1, offset - strings.LastIndexByte(r.src[:offset], '\n')
}

// cut gives the line that begins at pos, without its end, and where the next one begins.
func (r *lineReader) cut(pos int) (text string, next int) {
	if n := strings.IndexByte(r.src[pos:], '\n'); n >= 0 {
		return r.src[pos : pos+n], pos + n + 1
	}
	return r.src[pos:], len(r.src)
}

// next reads the next statement, blank or bad line into r.line.
func (r *lineReader) next() bool {
	if r.pos >= len(r.src) {
		return false
	}
	text, next := r.cut(r.pos)
	start := r.pos
	r.pos = next
	r.line = line{start: start}
	trimmed := strings.TrimSpace(text)
	switch {
	case !isText(text) || next == start+len(text) || start == 0 && !r.begins():
		r.line.kind = lineBad
	case trimmed == "" || trimmed[0] == '#':
	case trimmed == "}":
		r.line.kind = lineClose
	default:
		r.line.kind, r.line.node = r.statement(start, start+len(text))
	}
	return true
}

// statement parses a line "name {" or an assignment, with the lines that its list takes.
func (r *lineReader) statement(start, end int) (lineKind, *Node) {
	p := &r.parser
	scratch := &Node{}
	p.section, p.fresh = scratch, nil
	p.src, p.pos = r.src[:end], start
	if p.space() != nil || p.pos == end {
		return lineBad, nil
	}
	key, err := p.key()
	if err != nil || !isName(key) {
		return lineBad, nil
	}
	n, err := p.add(scratch, key, start)
	if err != nil || p.space() != nil {
		return lineBad, nil
	}
	kind := lineBad
	switch p.peek() {
	case '{':
		p.pos++
		kind = lineOpen
	case '=':
		n.tight = classes[p.src[p.pos-1]]&isSpace == 0
		p.pos++
		kind, n.Kind = lineAssignment, Assignment
		if strings.HasSuffix(strings.TrimSpace(p.src[p.pos:]), "[") {
			p.src = r.src[:r.listEnd()]
		}
		if p.assigned(n) != nil {
			return lineBad, nil
		}
		r.pos = max(r.pos, min(len(p.src)+1, len(r.src)))
	}
	if p.space() != nil || p.pos < len(p.src) {
		return lineBad, nil
	}
	return kind, n
}

// listEnd finds the end of a list that goes on behind the line at hand: a line "]" behind
// lines of quoted names. Without one it is the end of the line at hand.
func (r *lineReader) listEnd() int {
	if r.pos >= r.listsTo {
		r.findListEnd()
	}
	if r.listEndAt < 0 {
		return max(r.pos-1, 0)
	}
	return r.listEndAt
}

// findListEnd looks once for all lists that begin among the same lines of quoted names.
func (r *lineReader) findListEnd() {
	r.listEndAt, r.listsTo = -1, r.pos+1
	for pos := r.pos; pos < len(r.src); {
		text, next := r.cut(pos)
		trimmed := strings.TrimSpace(text)
		if trimmed == "]" {
			r.listEndAt = pos + len(text)
			return
		}
		if !isText(text) || trimmed == "" || trimmed[0] != '"' {
			return
		}
		pos = next
		r.listsTo = next
	}
}

// keyBehind is the key of the next line, if it is an assignment.
func (r *lineReader) keyBehind() string {
	text, _ := r.cut(r.pos)
	if !isText(text) {
		return ""
	}
	return assignedKey(text)
}

// textBehind tells whether the next line is free of bytes that lvm2 does not write.
func (r *lineReader) textBehind() bool {
	text, _ := r.cut(r.pos)
	return isText(text)
}

// headLines is how far headShape looks: behind the fields of any LV or PV.
const headLines = 40

// headShape tells what kind of section the line at hand begins, whose first key is id, by
// the first telling key before the next id.
func (r *lineReader) headShape() place {
	_, pos := r.cut(r.pos)
	for i := 0; i < headLines && pos < len(r.src); i++ {
		var text string
		text, pos = r.cut(pos)
		if !isText(text) || strings.TrimSpace(text) == "}" {
			break // what follows may be another section's
		}
		switch assignedKey(text) {
		case "seqno", "extent_size":
			return inVG
		case "device", "dev_size", "pe_start", "pe_count":
			return inPV
		case "segment_count", "start_extent":
			return inLV
		case "removal_time":
			return inHistorical
		case "id":
			return inOther
		}
	}
	return inOther
}

// assignedKey gives the key of a line "key = …", or "".
func assignedKey(text string) string {
	key, _, found := strings.Cut(text, "=")
	if !found {
		return ""
	}
	return strings.TrimSpace(key)
}

// segmentNumber is the number in a name "segmentN", or 0.
func segmentNumber(name string) int {
	digits, found := strings.CutPrefix(name, "segment")
	n, err := strconv.Atoi(digits)
	if !found || err != nil || n < 0 || n > MaxTextSize {
		return 0
	}
	return n
}

// begins tells whether the first line is one that a text begins with: a comment, the header
// or the VG. What else stands there may be the rest of a longer line.
func (r *lineReader) begins() bool {
	first, next := r.cut(0)
	if strings.HasPrefix(first, "#") || assignedKey(first) == "contents" {
		return true
	}
	for range 2 { // behind "name {" and "id = "
		var text string
		text, next = r.cut(next)
		if assignedKey(text) == "seqno" {
			return true
		}
	}
	return false
}

// isText tells whether a line is free of bytes that lvm2 does not write; it indents with
// tabs alone.
func isText(line string) bool {
	return binaryIndex(line) < 0 && !strings.HasPrefix(line, " ") && !strings.HasSuffix(line, " ")
}

// binaryIndex is the place of the first control character or byte that is not UTF-8, or -1.
// A carriage return at the end of a line is let pass: editors add it.
func binaryIndex(s string) int {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				return i
			}
			i += size
			continue
		case c == '\r' && (i+1 == len(s) || s[i+1] == '\n'):
		case isBinary(rune(c)) || c == 0x7f:
			return i
		}
		i++
	}
	return -1
}

// isName tells whether a key can be one that lvm2 writes.
func isName(key string) bool {
	for i := range len(key) {
		if !isNameByte(key[i]) {
			return false
		}
	}
	return key != "" && len(key) <= maxNameLength
}
