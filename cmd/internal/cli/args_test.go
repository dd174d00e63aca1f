package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
)

func touch(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, nil, 0o666))
}

func TestSplitVG(t *testing.T) {
	t.Chdir(t.TempDir())
	touch(t, "disk.img")
	for _, c := range []struct {
		args    []string
		vg      string
		sources []string
	}{
		{nil, "", nil},
		{[]string{"vg0"}, "vg0", []string{}},
		{[]string{"vg0", "disk.img"}, "vg0", []string{"disk.img"}},
		{[]string{"disk.img", "x"}, "", []string{"disk.img", "x"}},
		{[]string{"no/such.img"}, "", []string{"no/such.img"}},
		{[]string{"/dev/vg0", "disk.img"}, "vg0", []string{"disk.img"}},
		{[]string{"/dev/null"}, "", []string{"/dev/null"}},
	} {
		vg, sources := splitVG(c.args)
		require.Equal(t, c.vg, vg, c.args)
		require.Equal(t, c.sources, sources, c.args)
	}
}

func TestSplitPair(t *testing.T) {
	t.Chdir(t.TempDir())
	touch(t, "a=b.img")
	for in, want := range map[string][2]string{
		"x.img=x.map":     {"x.img", "x.map"},
		"x.img=y=z.map":   {"x.img", "y=z.map"},
		"a=b.img=c=d.map": {"a=b.img", "c=d.map"},
	} {
		a, b, ok := splitPair(in)
		require.True(t, ok, in)
		require.Equal(t, want, [2]string{a, b}, in)
	}
	for _, in := range []string{"", "x", "=", "x=", "=x", "a=b.img="} {
		_, _, ok := splitPair(in)
		require.False(t, ok, in)
	}
}

func TestParseAssume(t *testing.T) {
	t.Chdir(t.TempDir())
	touch(t, "odd@7")
	const id = "SMETv9-8R1E-TT2u-goch-kvR2-tZIc-Zu2haQ"
	pv, err := metadata.ParseID(id)
	require.NoError(t, err)
	for in, want := range map[string]rebuild.Assume{
		id + "=disk.img":            {PV: pv, Source: "disk.img"},
		id + "=disk.img@1048576":    {PV: pv, Source: "disk.img", Offset: 1 << 20},
		id + "=disk.img@0x100000":   {PV: pv, Source: "disk.img", Offset: 1 << 20},
		id + "=odd@7":               {PV: pv, Source: "odd@7"},
		id + "=odd@7@512":           {PV: pv, Source: "odd@7", Offset: 512},
		string(pv) + "=a=b.img@512": {PV: pv, Source: "a=b.img", Offset: 512},
	} {
		got, err := parseAssume(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", id, id + "=", "short=disk.img", id + "=disk.img@", id + "=disk.img@-x", id + "=disk.img@1x"} {
		_, err := parseAssume(in)
		require.Equal(t, exitUsage, codeOf(err), in)
	}
}

func TestJoinDiff(t *testing.T) {
	for in, want := range map[string]string{
		"history --diff 3 5 vg0":             "history|--diff=3 5|vg0",
		"history vg0 --diff 3:1a2b 5":        "history|vg0|--diff=3:1a2b 5",
		"history vg0 --diff 3 disk.img":      "history|vg0|--diff|3|disk.img",
		"history vg0 --diff 3":               "history|vg0|--diff|3",
		"history --diff=3 5":                 "history|--diff=3|5",
		"history -- --diff 3 5":              "history|--|--diff|3|5",
		"history vg0 disks --show 3 --units": "history|vg0|disks|--show|3|--units",
	} {
		require.Equal(t, want, strings.Join(joinDiff(strings.Fields(in)), "|"), in)
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{
		"root":           "root",
		"a.b+c_d-e":      "a.b+c_d-e",
		"..":             "%2E.",
		".hidden":        "%2Ehidden",
		"-o":             "%2Do",
		"../../etc/boot": "%2E.%2F..%2Fetc%2Fboot",
		"new\nline\x00":  "new%0Aline%00",
		"100%":           "100%25",
	} {
		require.Equal(t, want, fileName(in))
		require.True(t, filepath.IsLocal(fileName(in)))
	}
	require.Less(t, len(fileName(strings.Repeat("\x00", 5000))), 250)
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"disk.img":   "disk.img",
		"":           "''",
		"two words":  "'two words'",
		"it's":       `'it'\''s'`,
		"$HOME":      "'$HOME'",
		"a\nb":       `$'a\nb'`,
		"a'\\n\x1b":  `$'a\'\\n\x1b'`,
		"--units=b":  "--units=b",
		"größe.img":  "'größe.img'",
		"glob*?.img": "'glob*?.img'",
	} {
		require.Equal(t, want, shellQuote(in))
	}
}
