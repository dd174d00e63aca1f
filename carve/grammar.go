package carve

import "bytes"

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
	opens
	closes
)

// lineOf looks at a line without its line break.
func lineOf(line []byte) lineKind {
	line = bytes.TrimLeft(line, "\t ")
	if len(line) == 0 {
		return plain
	}
	switch c := line[0]; {
	case c == '#':
		return plain
	case c == '}':
		return only(line, closes)
	case c == ']':
		return only(line, plain)
	case c == '"', c >= '0' && c <= '9' && bytes.IndexByte(line, '=') < 0 && bytes.IndexByte(line, '{') < 0:
		return plain
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
	case len(rest) > 3 && string(rest[:3]) == " = " && isValueStart(rest[3]):
		return plain
	}
	return foreign
}

// only is kind for a line of one character, perhaps with a comment behind it.
func only(line []byte, kind lineKind) lineKind {
	if rest := bytes.TrimLeft(line[1:], "\t "); len(rest) == 0 || rest[0] == '#' {
		return kind
	}
	return foreign
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

// telling are fields that hardly any other text has.
var telling = [][]byte{
	[]byte("start_extent = "), []byte("extent_count = "), []byte("segment_count = "), []byte("stripe_count = "),
	[]byte("pe_start = "), []byte("pe_count = "), []byte("dev_size = "), []byte("extent_size = "),
	[]byte("allocation_policy = "), []byte("creation_host = "), []byte("transaction_id = "), []byte("metadata_copies = "),
}

// fragmentStart tells whether a sector may be part of a text of lvm2's: all lines that begin
// and end in it are such, two at least, and one is telling.
func fragmentStart(b []byte) bool {
	if !grammatical(b) {
		return false
	}
	for _, t := range telling {
		if bytes.Contains(b, t) {
			return true
		}
	}
	return false
}

// grammatical tells whether all lines that begin and end in b, two at least, are lvm2's. The
// text may end in b.
func grammatical(b []byte) bool {
	b = b[:textEnd(b)]
	lines := 0
	for i := bytes.IndexByte(b, '\n') + 1; i > 0; lines++ {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			break
		}
		if lineOf(b[i:i+n]) == foreign {
			return false
		}
		i += n + 1
	}
	return lines >= 2
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
// what is lvm2's, and whether that is all.
func grammarEnd(b []byte) (n int, whole bool) {
	depth := 0
	for i := 0; i < len(b); {
		end := bytes.IndexByte(b[i:], '\n')
		if end < 0 {
			return len(b), false // cut in a line
		}
		switch lineOf(b[i : i+end]) {
		case foreign:
			return i, false
		case opens:
			depth++
		case closes:
			if depth--; depth <= 0 {
				return i + end + 1, depth == 0
			}
		}
		i += end + 1
	}
	return len(b), false
}

// fragmentEnd is the byte behind what is lvm2's in b, which may begin in a line.
func fragmentEnd(b []byte) int {
	if n, ours := checkLines(b, 0); !ours {
		return n
	}
	return len(b)
}

// checkLines looks at the lines of b that are complete from byte from on, where one begins
// or, at 0, may go on. It tells where the first that is not complete begins, and whether all
// are lvm2's.
func checkLines(b []byte, from int) (next int, ours bool) {
	for first := from == 0; ; first = false {
		end := bytes.IndexByte(b[from:], '\n')
		if end < 0 {
			return from, true
		}
		if !first && lineOf(b[from:from+end]) == foreign {
			return from, false
		}
		from += end + 1
	}
}
