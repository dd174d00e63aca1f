package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"github.com/stretchr/testify/require"
)

// The wanted texts are what lvs prints for the same sizes.
func TestSize(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want string
	}{
		{0, "0"},
		{512, "512b"},
		{1023, "1023b"},
		{1024, "1.00k"},
		{20 << 20, "20.00m"},
		{7340032, "7.00m"},
		{1319413953331, "<1.20t"},
		{32505856, "31.00m"},
		{1<<30 - 1, "<1024.00m"},
		{1<<63 - 1, "<8.00e"},
		{-2048, "-2.00k"},
	} {
		require.Equal(t, c.want, Human.Size(c.n), "%d bytes", c.n)
	}
	require.Equal(t, "1319413953332B", Bytes.Size(1319413953332))
}

func TestParseUnits(t *testing.T) {
	u, err := ParseUnits("b")
	require.NoError(t, err)
	require.Equal(t, Bytes, u)
	_, err = ParseUnits("furlongs")
	require.ErrorContains(t, err, "expected h")
}

func TestFit(t *testing.T) {
	for columns, want := range map[int]int{0: 100, 20: 60, 80: 80, 100: 100, 250: 100} {
		require.Equal(t, want, fit(columns), "%d columns", columns)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain-name_1.img":  "plain-name_1.img",
		"größe 盘":           "größe 盘",
		"a\x1b[31mred":      `a\x1b[31mred`,
		"two\nlines\t":      `two\nlines\t`,
		"bad\xff\xfeutf":    `bad\xff\xfeutf`,
		"rtl\u202eoverride": `rtl\u202eoverride`,
		"\uFFFD is real":    "\uFFFD is real",
	} {
		require.Equal(t, want, Printable(in))
	}
}

func TestWrap(t *testing.T) {
	require.Equal(t, []string{"one two", "three"}, Wrap("one two  three", 8))
	require.Equal(t, []string{"abcdef", "ghij k"}, Wrap("abcdefghij k", 6))
	require.Equal(t, []string{"abcdef\u0301", "gh"}, Wrap("abcdef\u0301gh", 6), "an accent stays with its letter")
	require.Equal(t, []string{""}, Wrap("", 6))

	hostile := strings.Repeat("a\u0301", 1<<20)
	require.Equal(t, hostile, strings.Join(Wrap(hostile, 100), ""))
}

// TestTableShowsEveryCell guards against layouts that cut cells off: every cell's text
// must appear as it is, whatever the alignment and the neighbours.
func TestTableShowsEveryCell(t *testing.T) {
	table := Table{
		Columns: []Column{Left("LV"), Right("LSize"), Right("%"), Left("Health")},
		Rows: [][]string{
			{"root", "20.00g", "100.00", "complete"},
			{"a-very-long-logical-volume-name", "<120.00g", "1", "partial"},
			{"", "20971520B", "", "lost"},
			{"x", "", "0.5", "盘"},
			{"esc\x1b[2J", "1", "2", "three"},
		},
	}
	var out bytes.Buffer
	require.NoError(t, table.Write(&out))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, len(table.Rows)+1)
	for i, row := range table.Rows {
		want := strings.Fields(Printable(strings.Join(row, " ")))
		require.Equal(t, want, strings.Fields(lines[i+1]))
	}
}

func TestTableCutsWhatNoNameHas(t *testing.T) {
	table := Table{Columns: []Column{Left("LV"), Left("Health")},
		Rows: [][]string{{strings.Repeat("n", 1<<20), "lost"}, {"root", "complete"}}}
	var out bytes.Buffer
	require.NoError(t, table.Write(&out))
	require.Contains(t, out.String(), "  "+strings.Repeat("n", maxCell-1)+"…  lost\n")
	require.Less(t, out.Len(), 4*maxCell)
}

func TestTableAlignment(t *testing.T) {
	table := Table{Columns: []Column{Left("LV"), Right("LSize"), Left("Health")},
		Rows: [][]string{{"root", "7.00m", "complete"}, {"home", "<120.00g", "lost"}}}
	var out bytes.Buffer
	require.NoError(t, table.Write(&out))
	require.Equal(t, ""+
		"  LV       LSize  Health\n"+
		"  root     7.00m  complete\n"+
		"  home  <120.00g  lost\n", out.String())
}

func TestTableWrapsItsLastColumn(t *testing.T) {
	table := Table{Columns: []Column{Left("LV"), Left("Why")},
		Rows: [][]string{{"root", strings.Repeat("many words of reason ", 20)}}}
	var out bytes.Buffer
	require.NoError(t, table.Write(&out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Greater(t, len(lines), 4)
	for _, l := range lines {
		require.LessOrEqual(t, runewidth.StringWidth(l), Width)
	}
	require.Equal(t, 20, strings.Count(out.String(), "reason"))
}
