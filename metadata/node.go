package metadata

import (
	"iter"
	"strconv"
	"strings"
)

// NodeKind says what a Node is.
type NodeKind uint8

const (
	Section    NodeKind = iota // key { children }
	Assignment                 // key = value, or key = [ values ]
	Remark                     // a comment on a line of its own
)

// Node is a section, an assignment or a comment of a metadata text.
//
// Children stand in the order of the text. A key may occur twice in a damaged text: all
// occurrences are kept, and lookups find the first, as in lvm2 (libdm/libdm-config.c).
type Node struct {
	Key     string
	Values  []Value // of an assignment
	Comment string  // from "#" to the end of its line; behind the assignment or the "{"
	Offset  int     // byte of the text where the node begins; 0 in a made node
	Kind    NodeKind
	List    bool // an assignment in brackets; "[]" has no values

	tight   bool // "key=value", the form libdm writes what it does not interpret in
	damaged bool // part of what stood in it is lost

	first, last, next *Node
}

// ValueKind says how a value is written.
type ValueKind uint8

const (
	StringValue ValueKind = iota // "text", with \" and \\ for " and \
	QuotedValue                  // 'text', without escapes
	IntValue
	FloatValue
	BareValue // text without quotes
)

// Value is one value of an assignment.
type Value struct {
	Raw  string // as in the text, without the quotes
	Kind ValueKind
}

// repairedCreationTime is what lvm2 reads instead of a creation_time that does not fit 64
// bits: lvm2 before 2.02.169 wrote such times on 32-bit hosts (libdm/libdm-config.c).
const repairedCreationTime = 1527120000

// MakeString makes a text value, escaped as needed.
func MakeString(s string) Value { return Value{Raw: escape(s)} }

// MakeInt makes an integer value.
func MakeInt(i int64) Value { return Value{Raw: strconv.FormatInt(i, 10), Kind: IntValue} }

// IsString tells whether the value is text in any of its three forms.
func (v Value) IsString() bool { return v.Kind != IntValue && v.Kind != FloatValue }

// Text is the value as text, escapes resolved; of a number, its digits.
func (v Value) Text() string {
	if v.Kind == StringValue {
		return unescape(v.Raw)
	}
	return v.Raw
}

// Int is the value of an integer; octal with a leading 0, as C's strtoll has it. The one
// integer that the parser lets pass though it does not fit 64 bits is a creation_time: it
// reads as 2018-05-23T22:40:00Z, as in lvm2.
func (v Value) Int() (int64, bool) {
	if v.Kind != IntValue {
		return 0, false
	}
	i, err := parseInt(v.Raw)
	if err == errIntRange {
		return repairedCreationTime, true
	}
	return i, err == nil
}

// NewSection makes an empty section.
func NewSection(key string) *Node { return &Node{Key: key, Kind: Section} }

// NewAssignment makes "key = value".
func NewAssignment(key string, v Value) *Node {
	return &Node{Key: key, Kind: Assignment, Values: []Value{v}}
}

// NewList makes "key = [ values ]".
func NewList(key string, vs ...Value) *Node {
	return &Node{Key: key, Kind: Assignment, List: true, Values: vs}
}

// Append adds a child at the end. The child must not be in another section.
func (n *Node) Append(child *Node) {
	if n.first == nil {
		n.first = child
	} else {
		n.last.next = child
	}
	n.last = child
}

// Children iterates over a section's children in the order of the text.
func (n *Node) Children() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		if n == nil {
			return
		}
		for c := n.first; c != nil; c = c.next {
			if !yield(c) {
				return
			}
		}
	}
}

// find gives the first section or assignment of that key.
func (n *Node) find(key string) *Node {
	if n == nil {
		return nil
	}
	for c := n.first; c != nil; c = c.next {
		if c.Key == key && c.Kind != Remark {
			return c
		}
	}
	return nil
}

// Has tells whether n has a section or assignment of that key.
func (n *Node) Has(key string) bool { return n.find(key) != nil }

// Child gives the section of that key, or nil.
func (n *Node) Child(key string) *Node {
	if c := n.find(key); c != nil && c.Kind == Section {
		return c
	}
	return nil
}

// Value gives the single value assigned to key.
func (n *Node) Value(key string) (Value, bool) {
	if c := n.find(key); c != nil && len(c.Values) == 1 {
		return c.Values[0], true
	}
	return Value{}, false
}

// Int gives the integer assigned to key.
func (n *Node) Int(key string) (int64, bool) {
	if v, ok := n.Value(key); ok {
		return v.Int()
	}
	return 0, false
}

// String gives the text assigned to key.
func (n *Node) String(key string) (string, bool) {
	if v, ok := n.Value(key); ok && v.IsString() {
		return v.Text(), true
	}
	return "", false
}

// Strings gives the texts listed under key; a single text counts as a list of one.
func (n *Node) Strings(key string) ([]string, bool) {
	c := n.find(key)
	if c == nil || c.Kind != Assignment {
		return nil, false
	}
	list := make([]string, len(c.Values))
	for i, v := range c.Values {
		if !v.IsString() {
			return nil, false
		}
		list[i] = v.Text()
	}
	return list, true
}

// unescape resolves \" and \\; other backslashes stay (libdm/libdm-string.c).
func unescape(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for ; i >= 0; i = strings.IndexByte(s, '\\') {
		b.WriteString(s[:i])
		if i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') {
			i++
		}
		b.WriteByte(s[i])
		s = s[i+1:]
	}
	b.WriteString(s)
	return b.String()
}

// escape is the inverse of unescape.
func escape(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}
