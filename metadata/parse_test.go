package metadata

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// textFiles gives the texts written by lvm2 in testdata/text, by file name.
func textFiles(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/text/*.vg")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	texts := make(map[string][]byte)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		texts[filepath.Base(name)] = text
	}
	return texts
}

func TestParseAndDecodeRealTexts(t *testing.T) {
	for name, raw := range textFiles(t) {
		t.Run(name, func(t *testing.T) {
			text, err := Parse(raw)
			require.NoError(t, err)
			style := File
			if strings.Contains(name, ".raw.") {
				style = Raw
			}
			require.Equal(t, style, text.Style)

			vg, err := Decode(text)
			require.NoError(t, err)
			require.NotEmpty(t, vg.Name)
			require.True(t, vg.ID.Valid())
			require.Equal(t, contentsValue, vg.Contents)
			require.Positive(t, vg.ExtentSize)
			require.NotEmpty(t, vg.PVs)
			for _, lv := range vg.LVs {
				require.Len(t, lv.Segments, int(lv.SegmentCount))
			}
		})
	}
}

func TestParseValues(t *testing.T) {
	text, err := Parse([]byte(`i = 42 neg=-7 plus = +3 oct = 010 f = 1.5 bare = auto
s = "a \"b\" \\ \x" q = 'no \ escape' e = []
l = ["x" 'y', 3,] "key with space" { /deep/path = 1 } creation_time = 99999999999999999999
i = 43`))
	require.NoError(t, err)
	root := text.Root
	for key, want := range map[string]int64{"i": 42, "neg": -7, "plus": 3, "oct": 8, "creation_time": repairedCreationTime} {
		got, ok := root.Int(key)
		require.True(t, ok, key)
		require.Equal(t, want, got, key)
	}
	for key, want := range map[string]string{"bare": "auto", "s": `a "b" \ \x`, "q": `no \ escape`} {
		got, ok := root.String(key)
		require.True(t, ok, key)
		require.Equal(t, want, got)
	}
	_, ok := root.Int("f")
	require.False(t, ok)
	_, ok = root.String("i")
	require.False(t, ok)
	list, ok := root.Strings("e")
	require.True(t, ok)
	require.Empty(t, list)
	_, ok = root.Strings("l")
	require.False(t, ok, "a list with a number is no list of texts")
	require.Len(t, root.find("l").Values, 3)
	deep, ok := root.Child("key with space").Child("deep").Int("path")
	require.True(t, ok)
	require.EqualValues(t, 1, deep)
}

func TestParseEndsAtNUL(t *testing.T) {
	text, err := Parse([]byte("vg {\nseqno = 1\n}\n\x00}}}garbage"))
	require.NoError(t, err)
	require.Equal(t, "vg", text.VG().Key)
}

func TestParseErrors(t *testing.T) {
	for name, test := range map[string]struct {
		text         string
		line, column int
		offset       int
		expected     string
	}{
		"no value":          {"a =\n}", 2, 1, 4, "a value"},
		"no assignment":     {"vg {\n  a b\n}", 2, 5, 9, "= or {"},
		"open section":      {"vg {\n", 2, 1, 5, "a key or }"},
		"stray brace":       {"a = 1\n}", 2, 1, 6, "a key"},
		"open string":       {"a = \"bc\nd", 1, 5, 4, `a string that ends with "`},
		"open list":         {"a = [ 1, 2", 1, 11, 10, ", or ]"},
		"two commas":        {"a = [1,,2]", 1, 8, 7, "a value"},
		"no comma":          {"a = [1 2]", 1, 8, 7, ", or ]"},
		"bad octal":         {"a = 08", 1, 5, 4, "an integer of 64 bits"},
		"sign alone":        {"a = -", 1, 5, 4, "an integer of 64 bits"},
		"overflow":          {"a = 9223372036854775808", 1, 5, 4, "an integer of 64 bits"},
		"empty key":         {`"" { }`, 1, 1, 0, "a key"},
		"path without name": {"a/ = 1", 1, 1, 0, "a key"},
		"key cannot be":     {"[a] = 1", 1, 1, 0, "a key"},
		"too deep":          {strings.Repeat("a{", 40), 1, 65, 64, "at most 32 nested sections"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text))
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, test.expected, syntax.Expected)
			require.Equal(t, [3]int{test.line, test.column, test.offset},
				[3]int{syntax.Line, syntax.Column, syntax.Offset})
		})
	}
}

func TestParseLimits(t *testing.T) {
	for name, text := range map[string]string{
		"size":     strings.Repeat(" ", MaxTextSize+1),
		"nodes":    strings.Repeat("a{}", MaxMemory/nodeMemory),
		"comments": strings.Repeat("#\n", MaxMemory/nodeMemory),
		"values":   "a=[" + strings.Repeat("1,", MaxMemory/valueMemory) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(text))
			require.Error(t, err)
			require.Regexp(t, "at most 8388608 bytes|what fits into 117440512 bytes", err.Error())
		})
	}
}
