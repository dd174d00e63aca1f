package render

import (
	"bufio"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
)

// Column heads a column of a table.
type Column struct {
	Head  string
	Right bool // aligned to the right, as numbers are
}

// Left and Right make columns.
func Left(head string) Column  { return Column{Head: head} }
func Right(head string) Column { return Column{Head: head, Right: true} }

// Table is a heading and rows of cells, in the manner of lvs: no lines, two spaces in
// front.
type Table struct {
	Columns []Column
	Rows    [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write renders the table. Cells are shown whole, as far as anything that lvm2 makes goes:
// only the last column is wrapped, to keep the table within [Width] columns where the others
// leave room.
func (t *Table) Write(w io.Writer) error {
	last := len(t.Columns) - 1
	widths := make([]int, len(t.Columns))
	for j, c := range t.Columns {
		widths[j] = columns(c.Head)
	}
	rows := make([][]string, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = make([]string, len(t.Columns))
		for j, c := range r {
			rows[i][j] = Printable(c)
			if j < last && columns(rows[i][j]) > maxCell {
				rows[i][j] = headOf(rows[i][j], maxCell-1) + "…"
			}
			widths[j] = max(widths[j], columns(rows[i][j]))
		}
	}
	rest := Width
	for _, n := range widths[:last] {
		rest -= n + 2
	}
	out := bufio.NewWriter(w)
	heads := make([]string, len(t.Columns))
	for j, c := range t.Columns {
		heads[j] = c.Head
	}
	t.line(out, widths, heads)
	for _, r := range rows {
		if t.Columns[last].Right {
			t.line(out, widths, r)
			continue
		}
		for _, part := range Wrap(r[last], max(rest-2, minLast)) {
			r[last] = part
			t.line(out, widths, r)
			clear(r)
		}
	}
	return out.Flush()
}

// maxCell bounds the cells before the last column, in columns: they are padded to the widest.
const maxCell = 256

// minLast is the least width that the last column is wrapped to, in columns.
const minLast = 24

// line writes one line of cells, each behind two spaces.
func (t *Table) line(w *bufio.Writer, widths []int, cells []string) {
	gap := 0 // spaces owed: none are written at the end of a line
	for j, c := range cells {
		pad := widths[j] - columns(c)
		gap += 2
		if t.Columns[j].Right {
			gap, pad = gap+pad, 0
		}
		if c != "" {
			w.WriteString(strings.Repeat(" ", gap))
			w.WriteString(c)
			gap = 0
		}
		gap += pad
	}
	w.WriteByte('\n')
}

// columns is the width of a text on a terminal.
func columns(s string) int {
	if printableASCII(s) {
		return len(s)
	}
	return runewidth.StringWidth(s)
}
