package metadata

import (
	"errors"
	"fmt"
	"strings"
)

// Classes of bytes (libdm/libdm-config.c; white space is that of C's isspace).
const (
	isSpace  = 1 << iota
	endsWord // of a key or a bare value
)

var classes = func() (t [256]uint8) {
	for _, c := range []byte(" \t\n\v\f\r") {
		t[c] = isSpace | endsWord
	}
	for _, c := range []byte("#={}") {
		t[c] = endsWord
	}
	return t
}()

// peek gives the byte at hand, 0 at the end. A text holds no NUL.
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// space skips white space and keeps the comments in it.
func (p *parser) space() error {
	for ; p.pos < len(p.src); p.pos++ {
		c := p.src[p.pos]
		switch {
		case c == '\n':
			p.fresh = nil
		case c == '#':
			if err := p.comment(); err != nil {
				return err
			}
			p.pos-- // the line end comes next
		case classes[c]&isSpace == 0:
			return nil
		}
	}
	return nil
}

// comment keeps a comment: with the node on whose line it stands, otherwise as a node.
func (p *parser) comment() error {
	start := p.pos
	if n := strings.IndexByte(p.src[start:], '\n'); n >= 0 {
		p.pos += n
	} else {
		p.pos = len(p.src)
	}
	text := p.src[start:p.pos]
	if p.fresh != nil && p.fresh.Comment == "" {
		p.fresh.Comment = text
		return nil
	}
	n, err := p.add(p.section, "", start)
	if err == nil {
		n.Kind, n.Comment = Remark, text
	}
	return err
}

// word reads up to white space or one of "#={}": a key or a bare value.
func (p *parser) word() string {
	start := p.pos
	for p.pos < len(p.src) && classes[p.src[p.pos]]&endsWord == 0 {
		p.pos++
	}
	return p.src[start:p.pos]
}

// quoted reads a string up to its closing quote and gives what is between the quotes. In
// double quotes a backslash takes the next byte with it.
func (p *parser) quoted(quote byte) (string, error) {
	start := p.pos + 1
	for i := start; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == quote:
			p.pos = i + 1
			return p.src[start:i], nil
		case c == '\\' && quote == '"':
			i++
		}
	}
	return "", p.failAt(start-1, fmt.Sprintf("a string that ends with %c", quote))
}

// errQuiet is the error of a quiet parser: to find a line's number takes time.
var errQuiet = errors.New("not what was expected")

// fail makes the error for what stands at hand.
func (p *parser) fail(expected string) error { return p.failAt(p.pos, expected) }

func (p *parser) failAt(offset int, expected string) error {
	if p.quiet {
		return errQuiet
	}
	found := "the end of the text"
	if offset < len(p.src) {
		end := offset + 1
		for end < len(p.src) && end < offset+20 && classes[p.src[end]]&endsWord == 0 {
			end++
		}
		found = fmt.Sprintf("%q", p.src[offset:end])
	}
	line, column := position(p.src, offset)
	return &SyntaxError{Line: line, Column: column, Offset: offset, Expected: expected, Found: found}
}
