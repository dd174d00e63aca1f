package metadata

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxMemory is what a text, and everything that is made of it, may take in memory, in bytes. A
// text of MaxTextSize as lvm2 writes it takes less: hostile ones have more in fewer bytes.
const MaxMemory = 112 << 20

// What things are taken to need of it, in bytes, with all that stands on them later.
const (
	nodeMemory    = 96
	valueMemory   = 48
	lvMemory      = 768 // or PV
	segmentMemory = 512
	areaMemory    = 128 // each name and each number in the list of areas
)

const maxDepth = 32 // nested sections; lvm2 writes at most 6

// Style is one of the two ways lvm2 lays out a text.
type Style uint8

const (
	Raw  Style = iota // in a metadata area: no indentation, hardly a comment, VG first
	File              // in /etc/lvm/backup and archive: header first, tabs, comments
)

// Text is a parsed metadata text.
type Text struct {
	Root  *Node // holds the header's assignments and the VG section
	Style Style

	src string
	*memory
}

// memory is an account of what a text takes.
type memory struct{ limit, left int } // bytes

func newMemory(limit int) *memory { return &memory{limit, limit} }

// Memory is about how many bytes the text, and all that was made of it, takes.
func (m *memory) Memory() int { return m.limit - m.left }

// MostMemory is more than [Text.Memory] can be of a text of so many bytes: three of them are
// enough for a section that becomes an LV.
func MostMemory(size int) int { return size * (1 + (nodeMemory+lvMemory+2)/3) }

// take takes n bytes and reports whether they were there.
func (m *memory) take(n int) bool {
	m.left -= n
	return m.left >= 0
}

// tooMuch is what was expected where a text needs more.
func (m *memory) tooMuch() string {
	return fmt.Sprintf("the end of what fits into %d bytes of memory", m.limit)
}

// VG gives the VG's section: the first section at the top of the text
// (lib/format_text/import_vsn1.c), or nil.
func (t *Text) VG() *Node {
	for n := range t.Root.Children() {
		if n.Kind == Section {
			return n
		}
	}
	return nil
}

// Position gives line and column, both from 1, of a byte of the text.
func (t *Text) Position(offset int) (line, column int) { return position(t.src, offset) }

func position(src string, offset int) (line, column int) {
	before := src[:min(max(offset, 0), len(src))]
	return strings.Count(before, "\n") + 1, len(before) - strings.LastIndexByte(before, '\n')
}

// SyntaxError is the first place where a text breaks the grammar or a limit.
type SyntaxError struct {
	Line, Column int // from 1
	Offset       int // bytes
	Expected     string
	Found        string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d (byte %d): expected %s, found %s",
		e.Line, e.Column, e.Offset, e.Expected, e.Found)
}

// Parse reads a metadata text, from a metadata area or a backup file, up to its end or the
// first NUL byte. The grammar is that of libdm/libdm-config.c. Any error is a *SyntaxError.
func Parse(text []byte) (*Text, error) { return parse(text, MaxMemory) }

// parse is Parse with less memory.
func parse(text []byte, limit int) (*Text, error) {
	if len(text) > MaxTextSize {
		return nil, &SyntaxError{Line: 1, Column: 1,
			Expected: fmt.Sprintf("at most %d bytes of text", MaxTextSize),
			Found:    fmt.Sprintf("%d bytes", len(text))}
	}
	src := string(text)
	if end := strings.IndexByte(src, 0); end >= 0 {
		src = src[:end]
	}
	p := parser{src: src, memory: newMemory(limit)}
	if !p.take(len(src)) {
		return nil, p.fail(p.tooMuch())
	}
	root := p.nodes.one()
	if err := p.body(root, 0); err != nil {
		return nil, err
	}
	return newText(root, src, p.memory), nil
}

// newText tells the style by what comes first: the header or the VG.
func newText(root *Node, src string, m *memory) *Text {
	t := &Text{Root: root, src: src, memory: m}
	for n := range root.Children() {
		switch n.Kind {
		case Assignment:
			t.Style = File
			return t
		case Section:
			return t
		}
	}
	return t
}

// parser turns a text into a tree. Keys, values and comments are parts of the text, not
// copies.
type parser struct {
	src    string
	pos    int
	quiet  bool // nobody reads the errors
	nodes  slab[Node]
	values slab[Value]
	*memory

	section *Node // the innermost open one: takes comments
	fresh   *Node // a comment on its line belongs to it
	list    []Value
}

// body reads statements into a section up to its "}", or to the end of the text for the
// root, at depth 0.
func (p *parser) body(section *Node, depth int) error {
	for {
		p.section = section
		if err := p.space(); err != nil {
			return err
		}
		if p.pos == len(p.src) {
			if depth > 0 {
				return p.fail("a key or }")
			}
			return nil
		}
		if p.src[p.pos] == '}' && depth > 0 {
			p.pos++
			p.fresh = nil
			return nil
		}
		if err := p.statement(section, depth); err != nil {
			return err
		}
	}
}

// statement reads "key { … }" or "key = value".
func (p *parser) statement(section *Node, depth int) error {
	start := p.pos
	key, err := p.key()
	if err != nil {
		return err
	}
	if depth++; strings.IndexByte(key, '/') >= 0 {
		if section, key, err = p.path(section, key, start, &depth); err != nil {
			return err
		}
	}
	if key == "" {
		return p.failAt(start, "a key")
	}
	if depth > maxDepth {
		return p.failAt(start, fmt.Sprintf("at most %d nested sections", maxDepth))
	}
	n, err := p.add(section, key, start)
	if err != nil {
		return err
	}
	p.fresh = n
	if err := p.space(); err != nil {
		return err
	}
	switch p.peek() {
	case '{':
		p.pos++
		return p.body(n, depth)
	case '=':
		n.Kind = Assignment
		n.tight = classes[p.src[p.pos-1]]&isSpace == 0
		p.pos++
		return p.assigned(n)
	}
	return p.fail("= or {")
}

// path makes the sections that a key with slashes stands for, and gives the last one and the
// key in it.
func (p *parser) path(section *Node, key string, start int, depth *int) (*Node, string, error) {
	for {
		name, rest, nested := strings.Cut(strings.TrimLeft(key, "/"), "/")
		if !nested {
			return section, name, nil
		}
		if *depth++; *depth > maxDepth {
			return nil, "", p.failAt(start, fmt.Sprintf("at most %d nested sections", maxDepth))
		}
		var err error
		if section, err = p.add(section, name, start); err != nil {
			return nil, "", err
		}
		key = rest
	}
}

// add appends a new node to a section.
func (p *parser) add(section *Node, key string, offset int) (*Node, error) {
	if !p.take(nodeMemory) {
		return nil, p.failAt(offset, p.tooMuch())
	}
	n := p.nodes.one()
	n.Key, n.Offset = key, offset
	section.Append(n)
	return n, nil
}

// key reads a bare or quoted key.
func (p *parser) key() (string, error) {
	switch c := p.src[p.pos]; c {
	case '"', '\'':
		s, err := p.quoted(c)
		if c == '"' {
			s = unescape(s)
		}
		return s, err
	case '{', '}', '[', ']', ',', '=':
		return "", p.fail("a key")
	}
	return p.word(), nil
}

// assigned reads what stands behind "key =".
func (p *parser) assigned(n *Node) error {
	if err := p.space(); err != nil {
		return err
	}
	if p.peek() != '[' {
		v, err := p.value(n.Key)
		if err != nil {
			return err
		}
		n.Values = p.values.take(1)
		n.Values[0] = v
		return nil
	}
	n.List = true
	p.pos++
	if err := p.elements(n.Key); err != nil {
		return err
	}
	n.Values = p.values.take(len(p.list))
	copy(n.Values, p.list)
	return nil
}

// elements reads a list behind its "[" into p.list. A comma may miss before a quoted value.
func (p *parser) elements(key string) error {
	p.list = p.list[:0]
	for separated := true; ; {
		if err := p.space(); err != nil {
			return err
		}
		switch c := p.peek(); {
		case c == ']':
			p.pos++
			return nil
		case !separated && c != '"' && c != '\'':
			return p.fail(", or ]")
		}
		v, err := p.value(key)
		if err != nil {
			return err
		}
		p.list = append(p.list, v)
		if err := p.space(); err != nil {
			return err
		}
		if separated = p.peek() == ','; separated {
			p.pos++
		}
	}
}

// value reads one value.
func (p *parser) value(key string) (v Value, err error) {
	if !p.take(valueMemory) {
		return v, p.fail(p.tooMuch())
	}
	start := p.pos
	switch c := p.peek(); c {
	case 0, '{', '}', '[', ']', ',', '=':
		return v, p.fail("a value")
	case '"':
		v.Raw, err = p.quoted(c)
	case '\'':
		v.Kind = QuotedValue
		v.Raw, err = p.quoted(c)
	case '.', '+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		v.Raw, v.Kind = p.number()
		if v.Kind == IntValue && !intFits(v.Raw, key) {
			err = p.failAt(start, "an integer of 64 bits")
		}
	default:
		v.Raw, v.Kind = p.word(), BareValue
	}
	return v, err
}

// number reads digits with at most one point.
func (p *parser) number() (string, ValueKind) {
	start, kind := p.pos, IntValue
	for ; p.pos < len(p.src); p.pos++ {
		c := p.src[p.pos]
		switch {
		case c >= '0' && c <= '9', p.pos == start && c != '.':
		case c == '.' && kind == IntValue:
			kind = FloatValue
		default:
			return p.src[start:p.pos], kind
		}
	}
	return p.src[start:], kind
}

// intFits tells whether an integer can be read. Of a creation_time only the form counts.
func intFits(s, key string) bool {
	if len(s) < 18 && s[0] >= '1' {
		return true
	}
	_, err := parseInt(s)
	return err == nil || err == errIntRange && key == "creation_time"
}

var (
	errIntRange = errors.New("does not fit 64 bits")
	errIntForm  = errors.New("is no integer")
)

// parseInt reads a decimal or, with a leading 0, octal integer.
func parseInt(s string) (int64, error) {
	base := 10
	if digits := strings.TrimLeft(s, "+-"); len(digits) > 1 && digits[0] == '0' {
		base = 8
	}
	i, err := strconv.ParseInt(s, base, 64)
	switch {
	case err == nil:
		return i, nil
	case errors.Is(err, strconv.ErrRange):
		return 0, errIntRange
	}
	return 0, errIntForm
}
