// Package render turns values into what a terminal shows: sizes as lvm2 prints them,
// tables, wrapped text, progress. Names come from disks and are hostile: everything that
// is shown goes through [Printable].
package render

import (
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

const (
	minWidth = 60
	maxWidth = 100
)

// Width is the most columns that a table or a wrapped text takes: 100, so that outputs can
// be compared, or fewer on a terminal that has not so many; see [FitTerminal].
var Width = maxWidth

// FitTerminal sets Width to what the terminal f can show. It leaves it alone where f is none.
func FitTerminal(f *os.File) {
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
		Width = fit(columns)
	}
}

// fit is the width for a terminal of that many columns; 0 is one that does not know.
func fit(columns int) int {
	if columns <= 0 {
		return maxWidth
	}
	return min(max(columns, minWidth), maxWidth)
}

// Printable returns s with everything that could move the cursor or hide text (control
// characters, line breaks, bidirectional overrides, invalid UTF-8) as Go escapes.
func Printable(s string) string {
	if printableASCII(s) {
		return s
	}
	clean := func(r rune) bool { return r != unicode.ReplacementChar && unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case clean(r) || r == unicode.ReplacementChar && strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune(r)
		case r == unicode.ReplacementChar:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i]), 16))
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// printableASCII tells whether s is of nothing but printable ASCII, as nearly all texts are: it
// is then as wide as it is long.
func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Wrap breaks printable text into lines of at most width columns, at spaces where it can.
func Wrap(s string, width int) []string {
	if s == "" {
		return []string{""}
	}
	var lines []string
	line, used := "", 0
	flush := func() { lines, line, used = append(lines, line), "", 0 }
	for _, word := range strings.Fields(Printable(s)) {
		w := columns(word)
		if used > 0 && used+1+w > width {
			flush()
		}
		for w > width { // a word longer than a line
			head := headOf(word, width)
			if head == "" {
				break
			}
			line = head
			flush()
			word = word[len(head):]
			w -= columns(head)
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+w
	}
	if used > 0 || len(lines) == 0 {
		flush()
	}
	return lines
}

// headOf is the start of a word that fits into width columns. It looks at no more of the word
// than it needs: words may have megabytes.
func headOf(word string, width int) string {
	if width > 0 && len(word) > width && printableASCII(word[:width+1]) { // no character goes on behind it
		return word[:width]
	}
	most := min(len(word), 16*width)
	for most < len(word) && !utf8.RuneStart(word[most]) {
		most--
	}
	return runewidth.Truncate(word[:most], width, "")
}

// Indent joins lines, the first behind first, the others indented as far.
func Indent(first string, lines []string) string {
	pad := "\n" + strings.Repeat(" ", runewidth.StringWidth(first))
	return first + strings.Join(lines, pad)
}

// Comment wraps text into lines that a shell passes over.
func Comment(text string) string {
	return "# " + strings.Join(Wrap(text, Width-2), "\n# ")
}

// Paragraph wraps text behind a bullet or heading, to [Width] columns.
func Paragraph(first, text string) string {
	return Indent(first, Wrap(text, Width-runewidth.StringWidth(first)))
}
