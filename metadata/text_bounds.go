package metadata

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxTextSize is the longest metadata text that is read, in bytes: about 25,000 LVs.
const MaxTextSize = 8 << 20

// A raw text begins "NAME {\nid = \"UUID\"\nseqno = ", and ends with a trailer whose last
// field is creation_time (lib/format_text/export.c). An LV's section begins alike but for
// the seqno.
var (
	textOpen     = []byte(" {\nid = \"")
	textSeqno    = []byte("\"\nseqno = ")
	textContents = []byte("\ncontents = \"Text Format Volume Group\"\n")
	textCreated  = []byte("\ncreation_time = ")
)

const (
	maxNameLength  = 127 // bytes (lib/misc/lvm-string.c, NAME_LEN less the NUL)
	idFormattedLen = 38  // bytes, dashes included
)

// TextStart reports whether b begins with the start of a raw metadata text, as it stands
// in a ring, and of which VG.
func TextStart(b []byte) (vgName string, ok bool) {
	end := bytes.IndexByte(b[:min(len(b), maxNameLength+1)], ' ')
	if end <= 0 || !bytes.HasPrefix(b[end:], textOpen) {
		return "", false
	}
	rest := b[end+len(textOpen):]
	if len(rest) < idFormattedLen || !bytes.HasPrefix(rest[idFormattedLen:], textSeqno) {
		return "", false
	}
	for _, c := range b[:end] {
		if !isNameByte(c) {
			return "", false
		}
	}
	return string(b[:end]), true
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '_' || c == '-' || c == '+'
}

// isBinary reports a control character that no text holds.
func isBinary(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }

// CheckWhole tells whether raw, without its terminating NUL, is one whole raw metadata
// text: a single section from TextStart to its closing brace, then the trailer. A text of
// which a later one has overwritten a part fails, and the error says where.
//
// It says nothing about the text's meaning, and cannot see an overwrite that happens to
// keep all of that; only a checksum or a second copy can.
func CheckWhole(raw []byte) error {
	if _, ok := TextStart(raw); !ok {
		return errors.New("does not begin with the name and seqno of a volume group")
	}
	if i := bytes.IndexFunc(raw, isBinary); i >= 0 {
		return fmt.Errorf("byte 0x%02x at byte %d is no text", raw[i], i)
	}
	end, err := sectionEnd(raw)
	if err != nil {
		return err
	}
	trailer := raw[end:]
	if i := indexBrace(trailer); i >= 0 {
		return fmt.Errorf("a second section begins at byte %d", end+i)
	}
	if !bytes.Contains(trailer, textContents) {
		return fmt.Errorf("no contents field behind the section's end at byte %d", end)
	}
	i := bytes.LastIndex(trailer, textCreated)
	if i < 0 {
		return fmt.Errorf("no creation_time behind the section's end at byte %d", end)
	}
	_, after, ended := bytes.Cut(trailer[i+1:], []byte{'\n'})
	if !ended || len(bytes.TrimSpace(after)) > 0 {
		return errors.New("creation_time is not the last line")
	}
	return nil
}

// sectionEnd finds the byte behind the closing brace of the section that raw begins with.
func sectionEnd(raw []byte) (int, error) {
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth <= 0 {
				return i + 1, nil
			}
		case '"', '#':
			i += quotedLength(raw[i:]) - 1
		}
	}
	return 0, fmt.Errorf("%d sections are not closed", depth)
}

// indexBrace is the place of the first opening brace outside strings and comments, or -1.
func indexBrace(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			return i
		case '"', '#':
			i += quotedLength(b[i:]) - 1
		}
	}
	return -1
}

// quotedLength is the length of the string or comment that b begins with.
func quotedLength(b []byte) int {
	if b[0] == '#' {
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			return i
		}
		return len(b)
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
