package match_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate/match"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

func build(t *testing.T, so scan.Options, paths ...string) (*rebuild.Result, []*match.Candidate) {
	t.Helper()
	ev, err := scan.Run(t.Context(), paths, so)
	require.NoError(t, err)
	t.Cleanup(func() { ev.Close() })
	r, all, err := match.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	return r, all
}

// homes says of each PV of the groups' current versions on which source it is.
func homes(r *rebuild.Result) map[string]string {
	m := map[string]string{}
	for _, g := range r.Groups {
		for _, p := range g.At(nil).PVs {
			if !p.Missing() {
				m[p.Meta.ID.String()] = p.Found.String()
			}
		}
	}
	return m
}

// head is what is wiped of a disk: the label and the first metadata area.
const head = 1 << 20

// TestNoDiskIsTakenForAnother wipes the start of one disk after the other of each corpus, and
// of pairs: a disk may be found, but never as another PV than it was.
func TestNoDiskIsTakenForAnother(t *testing.T) {
	found, lost := 0, 0
	for _, name := range fixtures.Names() {
		if testing.Short() && name != "raid-levels" && name != "filesystems" {
			continue
		}
		c := fixtures.Open(t, name)
		if len(c.Disks) == 1 {
			continue // nothing is left to tell of the VG
		}
		r, _ := build(t, scan.Options{}, c.Paths()...)
		healthy := homes(r)
		for i, d := range c.Disks {
			wiped := []string{d.Path, c.Disks[(i+1)%len(c.Disks)].Path}
			keep := map[string]string{}
			for n, path := range wiped {
				keep[path] = filepath.Join(t.TempDir(), "keep")
				require.NoError(t, copyHead(keep[path], path))
				require.NoError(t, damage.Zero(path, 0, head))
				r, all := build(t, scan.Options{}, c.Paths()...)
				now := homes(r)
				for _, m := range all {
					if was := healthy[m.PV.ID.String()]; m.Used && was != "" && was != m.At.String() && slices.Contains(wiped[:n+1], was) {
						t.Errorf("%s: %v wiped: PV %s was %s, taken as %s: %s", name, wiped[:n+1], m.PV.ID, was, m.At, m.Why())
					}
				}
				for id, was := range healthy {
					if slices.Contains(wiped[:n+1], was) && now[id] == was {
						found++
					} else if slices.Contains(wiped[:n+1], was) {
						lost++
					}
				}
			}
			for path, k := range keep {
				require.NoError(t, damage.CopyRange(path, k, 0, head))
			}
		}
	}
	t.Logf("%d PVs found, %d not", found, lost)
	require.Greater(t, found, lost/4, "most of the corpora have one disk, or nothing that is known in their LVs")
}

func copyHead(to, from string) error {
	b := make([]byte, head)
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadFull(f, b); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// TestReasons breaks disks in ways that leave one kind of reason each.
func TestReasons(t *testing.T) {
	type want struct {
		disk            string
		offset          int64
		used, confirmed bool
		why             string
	}
	wipe := func(disk string, n int64) func(*testing.T, *fixtures.Corpus) {
		return func(t *testing.T, c *fixtures.Corpus) { require.NoError(t, damage.Zero(c.Disk(disk), 0, n)) }
	}
	for name, tt := range map[string]struct {
		corpus string
		spoil  func(*testing.T, *fixtures.Corpus)
		backup string // of the corpus
		want   map[string]want
	}{
		"a copy of a superblock": {"filesystems", wipe("b", head), "", map[string]want{
			"pv1": {disk: "b", used: true, confirmed: true, why: "copies of its superblock"},
		}},
		"superblocks of the right size, then copies": {"filesystems", func(t *testing.T, c *fixtures.Corpus) {
			wipe("a", head)(t, c)
			wipe("b", head)(t, c)
		}, "vgx", map[string]want{
			"pv0": {disk: "a", used: true, confirmed: true, why: "ext4 of just its size"},
			"pv1": {disk: "b", used: true, confirmed: true, why: "copies of its superblock"},
		}},
		"the image lacks its start": {"filesystems", func(t *testing.T, c *fixtures.Corpus) {
			require.NoError(t, damage.Shift(c.Disk("b"), 1536<<10, -1536<<10))
		}, "", map[string]want{
			"pv1": {disk: "b", offset: -1536 << 10, used: true, confirmed: true, why: "copies of its superblock"},
		}},
		"a lost partition table": {"filesystems", func(t *testing.T, c *fixtures.Corpus) {
			wipe("b", head)(t, c)
			require.NoError(t, damage.Shift(c.Disk("b"), 0, 1<<20))
			require.NoError(t, damage.Truncate(c.Disk("b"), 60<<20))
		}, "", map[string]want{
			"pv1": {disk: "b", offset: 1 << 20, used: true, confirmed: true, why: "copies of its superblock"},
		}},
		"superblocks of legs": {"raid-levels", wipe("b", head), "", map[string]want{
			"pv1": {disk: "b", used: true, confirmed: true, why: "the superblock of leg 1 of"},
		}},
		"parity": {"raid-levels", wipe("b", 3<<19), "", map[string]want{ // and the first extent, with a superblock
			"pv1": {disk: "b", used: true, confirmed: true, why: "fits the others"},
		}},
		"damaged labels": {"linear", func(t *testing.T, c *fixtures.Corpus) {
			for _, path := range c.Paths() {
				require.NoError(t, damage.Flip(path, 552, 3)) // in the PV's UUID
			}
		}, "", map[string]want{
			"pv0": {disk: "a", used: true, confirmed: true, why: "but for 1 of its characters"},
			"pv1": {disk: "b", used: true, confirmed: true, why: "but for 1 of its characters"},
			"pv2": {disk: "c", used: true, confirmed: true, why: "but for 1 of its characters"},
		}},
		"a blank disk": {"filesystems", func(t *testing.T, c *fixtures.Corpus) {
			wipe("b", 48<<20)(t, c)
		}, "", map[string]want{
			"pv1": {disk: "b", why: "it has the PV's 50331648 bytes"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, tt.corpus)
			tt.spoil(t, c)
			var so scan.Options
			if tt.backup != "" {
				so.Backups = []string{filepath.Join(c.Dir, "backup", tt.backup)}
			}
			_, all := build(t, so, c.Paths()...)
			got := map[string]want{}
			for _, m := range slices.Backward(all) {
				w := tt.want[m.PV.Key]
				require.Contains(t, m.Why(), w.why)
				got[m.PV.Key] = want{disk: strings.TrimSuffix(filepath.Base(m.At.Source.Name), ".img"), offset: m.At.Offset,
					used: m.Used, confirmed: m.Confirmed(), why: w.why}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// TestPlacedByHand: what the user has given to one PV is proposed for no other.
func TestPlacedByHand(t *testing.T) {
	c := fixtures.Open(t, "filesystems")
	healthy, _ := build(t, scan.Options{}, c.Paths()...)
	pv := healthy.Groups[0].At(nil).PVs[0].Meta
	require.NoError(t, damage.Zero(c.Disk("a"), 0, 4096)) // all that is left of the label
	require.NoError(t, os.Remove(c.Disk("b")))
	ev, err := scan.Run(t.Context(), []string{c.Disk("a")}, scan.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { ev.Close() })
	for name, tt := range map[string]struct {
		assume []rebuild.Assume
		want   string // key of the PV that the disk is said to be
	}{
		"found":   {nil, pv.Key},
		"by hand": {[]rebuild.Assume{{PV: pv.ID, Source: c.Disk("a")}}, ""},
	} {
		_, all, err := match.Build(ev, rebuild.Options{Assume: tt.assume})
		require.NoError(t, err)
		got := ""
		for _, m := range all {
			got += m.PV.Key
		}
		require.Equal(t, tt.want, got, name)
	}
}

// TestTooManyPlaces: of more places than are looked at it is told, and none is used unasked.
func TestTooManyPlaces(t *testing.T) {
	c := fixtures.Open(t, "linear")
	require.NoError(t, damage.Zero(c.Disk("a"), 0, head))
	dir := t.TempDir()
	paths := c.Paths()
	for i := range 50 {
		path := filepath.Join(dir, fmt.Sprintf("blank%02d.img", i))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Truncate(path, 200<<20))
		paths = append(paths, path)
	}
	r, all := build(t, scan.Options{}, paths...)
	told := slices.IndexFunc(r.Findings, func(f scan.Finding) bool { return f.Code == "probe-bounded" })
	require.GreaterOrEqual(t, told, 0)
	require.Contains(t, r.Findings[told].Text, "may lie on more than 256 places")
	for _, m := range all {
		require.False(t, m.Used)
	}
}
