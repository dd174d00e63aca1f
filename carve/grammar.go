package carve

import (
	"bytes"
	"slices"
)

// The lines that lvm2 writes (lib/format_text/export.c), apart from their indentation:
//
//	name {
//	}
//	key = value   # comment
//	"value", 1,   inside of [ ]
//	]
//	# comment

// lineKind tells lines of such a text apart.
type lineKind uint8

const (
	foreign lineKind = iota // no line of lvm2's
	plain
	opens     // a section
	closes    // it
	opensList // whose elements are in lines of their own
	element   // of a list
	closesList
)

// lineOf looks at a line without its line break.
func lineOf(line []byte) lineKind {
	for len(line) > 0 && (line[0] == '\t' || line[0] == ' ') {
		line = line[1:]
	}
	if len(line) == 0 {
		return plain
	}
	switch c := line[0]; {
	case c == '#':
		return plain
	case c == '}':
		return only(line, closes)
	case c == ']':
		return only(line, closesList)
	case c == '"':
		return element
	}
	n := 0
	for n < len(line) && isNameByte[line[n]] {
		n++
	}
	switch rest := line[n:]; {
	case n == 0:
		return foreign
	case string(rest) == " {":
		return opens
	case string(rest) == " = [":
		return opensList
	case len(rest) > 3 && string(rest[:3]) == " = " && isValueStart(rest[3]):
		return plain
	}
	return foreign
}

// beginsForeign tells that one of the first two lines of b is none of lvm2's, where a look at
// how they begin is enough: a name, a space, and what must follow it. A search asks it of each
// sector of text, and of most of them it is so.
func beginsForeign(b []byte) bool {
	for range 2 {
		for len(b) > 0 && (b[0] == '\t' || b[0] == ' ') {
			b = b[1:]
		}
		if len(b) == 0 {
			return false
		}
		if c := b[0]; c != '\n' && c != '}' && c != ']' && c != '#' && c != '"' {
			n := bytes.IndexByte(b, ' ') + 1
			return n == 0 || n < len(b) && b[n] != '=' && b[n] != '{'
		}
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			return false
		}
		b = b[n+1:]
	}
	return false
}

// only is kind for a line of one character, perhaps with a comment behind it.
func only(line []byte, kind lineKind) lineKind {
	if rest := bytes.TrimLeft(line[1:], "\t "); len(rest) == 0 || rest[0] == '#' {
		return kind
	}
	return foreign
}

// lines follows a text line by line.
type lines struct {
	depth  int  // of sections
	list   bool // within a list
	middle bool // the text may have begun within a list
}

// next tells what the next line is: foreign also when it is out of place.
func (l *lines) next(line []byte) lineKind {
	kind := lineOf(line)
	switch {
	case kind == element || kind == closesList:
		if !l.list && !l.middle {
			return foreign
		}
		if kind == closesList {
			l.list, l.middle = false, false
		}
		return kind
	case l.list && kind != foreign && len(bytes.TrimSpace(line)) > 0:
		return foreign
	case kind == opensList:
		l.list = true
	case kind == opens:
		l.depth++
	case kind == closes:
		l.depth--
	}
	if l.middle && (kind != plain || len(bytes.TrimSpace(line)) > 0) {
		l.middle = false
	}
	return kind
}

func isValueStart(c byte) bool {
	return c == '"' || c == '[' || c == '-' || c >= '0' && c <= '9'
}

// isNameByte has the bytes of names and keys.
var isNameByte = func() (set [256]bool) {
	for c := range set {
		set[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '.' || c == '_' || c == '-' || c == '+'
	}
	return set
}()

// assigns stands between the key of a field and its value.
var assigns = []byte(" = ")

// telling are fields that hardly any other text has.
var telling = [][]byte{
	[]byte("start_extent = "), []byte("extent_count = "), []byte("segment_count = "), []byte("stripe_count = "),
	[]byte("pe_start = "), []byte("pe_count = "), []byte("dev_size = "), []byte("extent_size = "),
	[]byte("allocation_policy = "), []byte("creation_host = "), []byte("transaction_id = "), []byte("metadata_copies = "),
}

// fragmentStart tells whether a sector may be part of a text of lvm2's: all lines that begin
// and end in it are such, two at least, and one is telling.
func fragmentStart(b []byte) bool { return grammatical(b) && tells(b) }

// tells tells whether there is a telling field in b.
func tells(b []byte) bool {
	for i := 0; ; {
		n := bytes.Index(b[i:], assigns)
		if n < 0 {
			return false
		}
		i += n + len(assigns)
		if slices.ContainsFunc(telling, func(field []byte) bool { return bytes.HasSuffix(b[:i], field) }) {
			return true
		}
	}
}

// grammatical tells whether all lines that begin and end in b, two at least, are lvm2's. The
// text may end in b.
func grammatical(b []byte) bool {
	l := lines{middle: true}
	count := 0
	for i := bytes.IndexByte(b, '\n') + 1; i > 0; count++ {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			break
		}
		line := b[i : i+n]
		ours := l.next(line) != foreign
		switch {
		case !ours && (count < 2 || textEnd(line) == n):
			return false
		case !ours || textEnd(line) < n:
			return count >= 2 // the text ends in this line
		}
		i += n + 1
	}
	return count >= 2
}

// fewBack is how many sectors [searcher.continues] looks back.
const fewBack = 8

// continues tells whether the text at byte at goes on from the sector before, so that it is
// no start of a fragment.
func (s *searcher) continues(at int64) bool {
	for back := int64(1); back <= fewBack && back*sector <= at; back++ {
		b, bad := s.window(at-back*sector, sector)
		if bad >= 0 || len(b) < sector || !isText[b[sector-1]] || !grammatical(b) {
			return false
		}
		if beginsText(b) || bytes.HasPrefix(b, backupStart) || fragmentStart(b) {
			return true
		}
	}
	return false
}

// grammarEnd walks a backup file to the end of its first section. It gives the byte behind
// the last whole line that is lvm2's, and whether that is all.
func grammarEnd(b []byte) (n int, whole bool) {
	var l lines
	for i := 0; i < len(b); {
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			return i, false // cut in a line
		}
		switch l.next(b[i : i+end]) {
		case foreign:
			return i, false
		case closes:
			if l.depth <= 0 {
				return i + end + 1, l.depth == 0
			}
		}
		i += end + 1
	}
	return len(b), false
}

// fragmentEnd is the byte behind the last whole line of b that is lvm2's. b may begin in a line.
func fragmentEnd(b []byte) int {
	l := lines{middle: true}
	n, _ := l.check(b, bytes.IndexByte(b, '\n')+1)
	return n
}

// check looks at the lines of b that are complete from byte from on. It tells where the first
// that is not complete begins, and whether all are lvm2's.
func (l *lines) check(b []byte, from int) (next int, ours bool) {
	for {
		end := bytes.IndexByte(b[from:], '\n')
		if end < 0 {
			return from, true
		}
		if l.next(b[from:from+end]) == foreign {
			return from, false
		}
		from += end + 1
	}
}
