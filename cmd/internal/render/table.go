package render

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
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

// Write renders the table. Cells are shown whole: only the last column is wrapped, to keep
// the table within [Width] columns where the others leave room.
func (t *Table) Write(w io.Writer) error {
	rows := make([][]string, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = make([]string, len(t.Columns))
		for j, c := range r {
			rows[i][j] = Printable(c)
		}
	}
	t.wrapLast(rows)
	return t.render(w, rows)
}

// minLast is the least width that the last column is wrapped to, in columns.
const minLast = 24

// wrapLast breaks the cells of the last column into lines.
func (t *Table) wrapLast(rows [][]string) {
	last := len(t.Columns) - 1
	if t.Columns[last].Right {
		return
	}
	used := 2 // one space on either side
	for j, c := range t.Columns[:last] {
		w := runewidth.StringWidth(c.Head)
		for _, r := range rows {
			w = max(w, runewidth.StringWidth(r[j]))
		}
		used += w + 2
	}
	for _, r := range rows {
		r[last] = strings.Join(Wrap(r[last], max(Width-used, minLast)), "\n")
	}
}

// render lays the cells out. The set-up avoids what tablewriter 1.1.5 gets wrong: cells of
// a right-aligned column are cut off when the padding is wider than one space.
func (t *Table) render(w io.Writer, rows [][]string) error {
	align := make([]tw.Align, len(t.Columns))
	heads := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		heads[i], align[i] = c.Head, tw.AlignLeft
		if c.Right {
			align[i] = tw.AlignRight
		}
	}
	var out bytes.Buffer
	table := tablewriter.NewTable(&out,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithAlignment(align))
	table.Header(heads)
	if err := table.Bulk(rows); err != nil {
		return fmt.Errorf("laying out a table: %w", err)
	}
	if err := table.Render(); err != nil {
		return fmt.Errorf("laying out a table: %w", err)
	}
	for line := range strings.Lines(out.String()) {
		if _, err := io.WriteString(w, " "+strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}
