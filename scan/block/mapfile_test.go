package block

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// asDdrescueWrites is a mapfile of GNU ddrescue 1.27, byte for byte.
const asDdrescueWrites = `# Mapfile. Created by GNU ddrescue version 1.27
# Command line: ddrescue -n disk.img copy.img copy.map
# Start time:   2026-11-22 09:46:05
# Current time: 2026-11-22 09:46:05
# Copying non-tried blocks... Pass 1 (forwards)
# current_pos  current_status  current_pass
0x00120000     ?               1
#      pos        size  status
0x00000000  0x00117000  +
0x00117000  0x00000200  -
0x00117200  0x00000E00  /
0x00118000  0x00007000  *
0x0011F000  0x00001000  +
0x00120000  0x1000000000  ?
`

func TestMapfileRoundTrip(t *testing.T) {
	m, err := ParseMapfile(strings.NewReader(asDdrescueWrites))
	require.NoError(t, err)
	require.Equal(t, int64(0x120000), m.Pos)
	require.Equal(t, byte('?'), m.Status)
	require.Equal(t, 1, m.Pass)
	require.Len(t, m.Comments, 5)
	require.Len(t, m.Blocks, 6)
	require.Equal(t, MapBlock{0x117000, 0x200, BadSector}, m.Blocks[1])

	var out bytes.Buffer
	n, err := m.WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, asDdrescueWrites, out.String())
	require.Equal(t, int64(out.Len()), n)
}

func TestParseMapfile(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []MapBlock
	}{
		"no pass":       {"0x0 +\n0 16 +\n", []MapBlock{{0, 16, Finished}}},
		"bases":         {"0 + 1\n0x0 020 +\n16 0X10 -\n", []MapBlock{{0, 16, Finished}, {16, 16, BadSector}}},
		"comments":      {"\n# a\n  # b\n0 F 2 # c\n\n0 1 + #d\r\n", []MapBlock{{0, 1, Finished}}},
		"joined":        {"0 +\n0 1 +\n1 2 +\n", []MapBlock{{0, 3, Finished}}},
		"starts later":  {"0 +\n512 1 +\n", []MapBlock{{512, 1, Finished}}},
		"unknown end":   {"0 +\n0 1 +\n1 0x7FFFFFFFFFFFFFFF ?\n", []MapBlock{{0, 1, Finished}, {1, math.MaxInt64 - 1, NonTried}}},
		"nothing tried": {"0 ? 1\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ParseMapfile(strings.NewReader(c.text))
			require.NoError(t, err)
			require.Equal(t, c.want, m.Blocks)
		})
	}
}

func TestParseMapfileErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "line 0: no status line"},
		"comments only":    {"# Mapfile\n", "line 1: no status line"},
		"status fields":    {"0x0\n", "line 1: 1 fields in the status line"},
		"status":           {"0x0 x\n", `line 1: current status "x"`},
		"pass":             {"0x0 + -1\n", `line 1: current pass "-1"`},
		"position":         {"z +\n", `line 1: current position "z"`},
		"block fields":     {"0 +\n0 1\n", "line 2: 2 fields"},
		"block status":     {"0 +\n0 1 F\n", `line 2: block status "F"`},
		"long status":      {"0 +\n0 1 ++\n", `line 2: block status "++"`},
		"no bytes":         {"0 +\n0 0 +\n", "line 2: block at 0x0 has no bytes"},
		"gap":              {"0 +\n0 1 +\n\n2 1 +\n", "line 4: block at 0x2, want 0x1"},
		"overlap":          {"0 +\n0 2 +\n1 1 +\n", "line 3: block at 0x1, want 0x2"},
		"behind the end":   {"0 +\n0x7FFFFFFFFFFFFFFF 5 +\n", "line 2: block at 0x7FFFFFFFFFFFFFFF"},
		"too large":        {"0 +\n0 0x8000000000000000 +\n", "line 2: size"},
		"negative":         {"0 +\n-1 1 +\n", "line 2: position"},
		"Go number":        {"0 +\n0 1_000 +\n", "line 2: size"},
		"Go binary":        {"0 +\n0 0b11 +\n", "line 2: size"},
		"Go octal":         {"0 +\n0 0o11 +\n", "line 2: size"},
		"suffix":           {"0 +\n0 1k +\n", "line 2: size"},
		"a very long line": {"0 +\n" + strings.Repeat("x", 1<<17), "line 2: bufio.Scanner: token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ParseMapfile(strings.NewReader(c.text))
			require.ErrorContains(t, err, c.want)
			require.Nil(t, m)
		})
	}
}

func TestMapfileBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.map")
	require.NoError(t, SaveMapfile(path, &MapStream{Comments: slices.Values([]string{"large"}), Blocks: func(yield func(MapBlock) bool) {
		for i := range int64(maxMapBlocks) + 1 {
			if !yield(MapBlock{i, 1, []MapStatus{Finished, BadSector}[i%2]}) {
				return
			}
		}
	}}))
	_, err := ReadMapfile(path)
	require.ErrorContains(t, err, "line 1048581: more than 1048576 blocks")
	blocks, bad := 0, int64(0)
	m, err := ScanMapfile(path, func(b MapBlock) {
		blocks++
		if b.Status == BadSector {
			bad += b.Len
		}
	})
	require.NoError(t, err)
	require.Equal(t, []string{"large"}, m.Comments)
	require.Equal(t, maxMapBlocks+1, blocks)
	require.Equal(t, int64(maxMapBlocks/2), bad)

	m, err = ParseMapfile(strings.NewReader(strings.Repeat("# a\n", maxMapCommentBytes/8) + "0 +\n"))
	require.NoError(t, err)
	require.True(t, len(m.Comments) > 1 && len(m.Comments) < maxMapCommentBytes/16, "%d comments are kept", len(m.Comments))

	path = filepath.Join(t.TempDir(), "huge.map")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, maxMapBytes+1))
	_, err = ReadMapfile(path)
	require.ErrorContains(t, err, "too many for a mapfile")
}

func TestMarks(t *testing.T) {
	m := &Mapfile{Blocks: []MapBlock{{100, 100, Finished}, {200, 10, BadSector}, {210, 10, NonTrimmed}, {220, 80, Finished}, {300, 10, NonScraped}, {310, 10, NonTried}}}
	nonTried := "d: not read by ddrescue (non-tried)"
	require.Equal(t, []Extent{
		{0, 100, Bad, nonTried},
		{200, 10, Bad, "d: not read by ddrescue (bad sector)"},
		{210, 10, Bad, "d: not read by ddrescue (non-trimmed)"},
		{300, 10, Bad, "d: not read by ddrescue (non-scraped)"},
		{310, 690, Bad, nonTried},
	}, m.Marks(1000, "d"))
	require.Equal(t, []Extent{{0, 50, Bad, nonTried}}, m.Marks(50, "d"))
	require.NoError(t, m.Fits(300))
	require.ErrorContains(t, m.Fits(299), "finished bytes up to 300, but the image ends at 299")

	dev := WithMap(NewZero(1000), m, "d")
	requireContract(t, dev)
	require.Equal(t, int64(180), Summarise(dev).Zero)
	whole := WithMap(NewZero(1000), &Mapfile{Blocks: []MapBlock{{0, 5000, Finished}}}, "d")
	require.Equal(t, NewZero(1000), whole)
	require.Equal(t, []Extent{{0, 1000, Bad, nonTried}}, extents(WithMap(NewZero(1000), &Mapfile{}, "d"), 0, 1000))
}

// ddrescuelog runs the real tool, which is the judge of what a mapfile is.
func ddrescuelog(t *testing.T, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("ddrescuelog")
	require.NoError(t, err, "this test needs ddrescuelog: apt-get install gddrescue")
	out, err := exec.Command(tool, args...).CombinedOutput()
	require.NoError(t, err, "ddrescuelog %v: %s", args, out)
	return string(out)
}

func TestDdrescuelogReadsWhatWeWrite(t *testing.T) {
	m := &Mapfile{Comments: []string{"Mapfile. Created by lvrescue", "0x00 0x10 why\nnot"}, Pos: 5, Status: '+', Pass: 1}
	m.Add(1<<20, Finished)
	m.Add(512, BadSector)
	m.Add(512, NonTried)
	m.Add(1024, NonScraped)
	m.Add(1<<40, Finished)
	path := filepath.Join(t.TempDir(), "lv.map")
	require.NoError(t, SaveMapfile(path, m))
	require.Contains(t, ddrescuelog(t, "-t", path), "in      5 area(s)")
	require.Equal(t, "2048\n", ddrescuelog(t, "-l-", path), "the bad block in units of 512 bytes")
	require.Equal(t, "2050\n2051\n", ddrescuelog(t, "-l/", path))

	got, err := ReadMapfile(path)
	require.NoError(t, err)
	m.Comments[1] = "0x00 0x10 why not"
	require.Equal(t, m, got)
}

func TestSaveMapfileIsAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lv.map")
	victim := filepath.Join(dir, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	require.NoError(t, os.Link(victim, path+".tmp"))
	require.NoError(t, SaveMapfile(path, &Mapfile{}))
	kept, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept), "a link in the way is replaced, not followed")

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	require.Error(t, SaveMapfile(path, &Mapfile{}))
	require.NoFileExists(t, path+".tmp", "nothing is left behind")
	require.Error(t, SaveMapfile(filepath.Join(dir, "no", "lv.map"), &Mapfile{}))
}

func FuzzParseMapfile(f *testing.F) {
	f.Add([]byte(asDdrescueWrites))
	f.Add([]byte("0 +\n0 1 +\n1 0x7FFFFFFFFFFFFFFF ?\n"))
	f.Add([]byte("# \x00\r\n512 F 0\n512 010 -"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMapfile(bytes.NewReader(text))
		if err != nil {
			require.Nil(t, m)
			return
		}
		end := int64(-1)
		for _, b := range m.Blocks {
			require.Positive(t, b.Len)
			require.GreaterOrEqual(t, b.Off, int64(0))
			require.GreaterOrEqual(t, b.End(), b.Off)
			require.True(t, end < 0 || end == b.Off)
			end = b.End()
		}
		requireContract(t, WithMap(NewZero(10_000), m, "fuzz"))

		var first, second bytes.Buffer
		_, err = m.WriteTo(&first)
		require.NoError(t, err)
		again, err := ParseMapfile(bytes.NewReader(first.Bytes()))
		require.NoError(t, err, "%q", first.String())
		require.Equal(t, m.Blocks, again.Blocks)
		_, err = again.WriteTo(&second)
		require.NoError(t, err)
		require.Equal(t, first.String(), second.String())
	})
}
