package dm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/scan/block"
)

// lvmTables reads what dmsetup said when LVM had a corpus active: by device name the lines
// of its table, with disks and bytes for numbers and sectors, and neighbours joined.
func lvmTables(t *testing.T, c *fixtures.Corpus) map[string]string {
	t.Helper()
	type place struct {
		disk string
		off  int64
	}
	devices := map[string]place{}
	b, err := os.ReadFile(filepath.Join(c.Dir, "devices.txt"))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		off, err := strconv.ParseInt(f[2], 10, 64)
		require.NoError(t, err)
		devices[f[0]] = place{f[1], off}
	}
	tables := map[string]string{}
	for line := range strings.Lines(c.Table) {
		name, rest, ok := strings.Cut(line, ": ")
		f := strings.Fields(rest)
		if !ok || len(f) < 3 {
			continue
		}
		for i := 3; i+1 < len(f); i++ {
			if at, ok := devices[f[i]]; ok {
				n, err := strconv.ParseInt(f[i+1], 10, 64)
				require.NoError(t, err)
				f[i], f[i+1] = at.disk, fmt.Sprint(at.off+n*block.SectorSize)
			}
		}
		tables[name] += strings.Join(f, " ") + "\n"
	}
	for name := range tables {
		tables[name] = joined(t, tables[name])
	}
	return tables
}

// joined makes one line of linear ones that go on where others end.
func joined(t *testing.T, table string) string {
	var out [][]string
	num := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		require.NoError(t, err)
		return n
	}
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if n := len(out); n > 0 && f[2] == "linear" && out[n-1][2] == "linear" {
			last := out[n-1]
			if last[3] == f[3] && num(last[4])+num(last[1])*block.SectorSize == num(f[4]) {
				last[1] = fmt.Sprint(num(last[1]) + num(f[1]))
				continue
			}
		}
		out = append(out, f)
	}
	var b strings.Builder
	for _, f := range out {
		fmt.Fprintln(&b, strings.Join(f, " "))
	}
	return b.String()
}

// ourTable is the table of an LV in the same form.
func ourTable(s *Stack) string {
	var b strings.Builder
	for _, l := range s.Top().Table {
		words := []string{fmt.Sprint(l.Start), fmt.Sprint(l.Len), l.Type}
		for i, a := range l.Args {
			on, isSource := a.On.(*Source)
			switch {
			case isSource:
				words = append(words, strings.TrimSuffix(filepath.Base(on.Path), ".img"))
			case a.On != nil:
				words = append(words, "device")
			case i > 0 && l.Args[i-1].On != nil:
				n, _ := strconv.ParseInt(a.Text, 10, 64)
				n *= block.SectorSize
				if on, ok := l.Args[i-1].On.(*Source); ok {
					n += on.Off
				}
				words = append(words, fmt.Sprint(n))
			default:
				words = append(words, a.Text)
			}
		}
		fmt.Fprintln(&b, strings.Join(words, " "))
	}
	return b.String()
}

// TestTablesAreLVMs compares the tables of all LVs that come to linear, striped and zero with
// those that LVM made. docs/activate.md tells why those of other kinds differ.
func TestTablesAreLVMs(t *testing.T) {
	same := 0
	for _, name := range fixtures.Names() {
		c := fixtures.Open(t, name)
		tables := lvmTables(t, c)
		for _, p := range plans(t, c.Paths(), nil) {
			table := tables[strings.TrimPrefix(DeviceName(p.plan.VG.Meta.Name, p.plan.LV.Name), NamePrefix)]
			golden, ok := c.Golden[shownName(p.plan)]
			if !ok || golden.Note != "" || table == "" || strings.ContainsAny(table, ":") || len(p.plan.Notes) > 0 {
				continue
			}
			if s, _ := compiled(t, p.plan); s != nil {
				require.Equal(t, table, ourTable(s), "%s %s", name, shownName(p.plan))
				same++
			}
		}
	}
	t.Log(same)
	require.Greater(t, same, 500)
}

// TestVDOTablesAreLVMs compares what both say of VDO pools: how large they are, and how large
// their data. A pool of which data is lost is refused.
func TestVDOTablesAreLVMs(t *testing.T) {
	pools := map[string]string{"vgv/v1": "vgv-vp-vpool", "vgw/v2": "vgw-vp2-vpool", "vgw/moved": "vgw-vp2-vpool"}
	seen := 0
	for _, name := range []string{"vdo-clean", "vdo-crash"} {
		c := fixtures.Open(t, name)
		for _, p := range plans(t, c.Paths(), nil) {
			pool := pools[shownName(p.plan)]
			if pool == "" { // the pool by its own name, which reads as its data
				continue
			}
			theirs := strings.Fields(lvmTables(t, c)[pool])
			s, why := compiled(t, p.plan)
			require.Empty(t, why)
			i := slices.IndexFunc(s.Devices, func(d *Device) bool { return strings.HasSuffix(d.Name, "-vdo0") })
			ours := strings.Fields(s.Devices[i].Table[0].text(func(n Node) string { return n.(*Device).Name }))
			require.Equal(t, append([]string{"0", theirs[1], "vdo", "V4", s.Top().Name + "-fence0"}, append(theirs[5:9], "deduplication", "off")...), ours)
			seen++
		}
		paths := c.Paths()
		require.NoError(t, os.WriteFile(paths[0]+".map", []byte("0 + 1\n0 3000000 +\n3000000 4096 -\n3004096 5449591104 +\n"), 0o600))
		for _, p := range plans(t, paths, map[string]string{paths[0]: paths[0] + ".map"}) {
			if shownName(p.plan) == "vgv/v1" {
				_, why := compiled(t, p.plan)
				require.Contains(t, why, "of the VDO pool's data are lost")
			}
		}
	}
	require.Equal(t, 4, seen)
}
