package guess_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/match"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/guess"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/signs"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// bare opens a corpus whose disks have lost all that LVM knew.
func bare(t *testing.T, name string) (*fixtures.Corpus, *scan.Evidence) {
	t.Helper()
	c := fixtures.Open(t, name)
	for _, path := range c.Paths() {
		require.NoError(t, damage.Zero(path, 0, 1<<20))
	}
	ev, err := scan.Run(t.Context(), c.Paths(), scan.Options{})
	require.NoError(t, err)
	require.Empty(t, ev.Copies)
	t.Cleanup(func() { ev.Close() })
	for _, s := range ev.Sources {
		found, err := guess.Search(t.Context(), s, nil)
		require.NoError(t, err)
		ev.Signs = append(ev.Signs, found...)
	}
	return c, ev
}

// guessed writes the guess to a file, and rebuilds a VG from it as lvrescue does.
func guessed(t *testing.T, c *fixtures.Corpus, ev *scan.Evidence) (*guess.Layout, *rebuild.VG) {
	t.Helper()
	l := guess.Guess(ev.Signs)
	var text bytes.Buffer
	require.NoError(t, l.Write(&text))
	parsed, err := metadata.Parse(text.Bytes())
	require.NoError(t, err, "%s", text.Bytes())
	vg, err := metadata.Decode(parsed)
	require.NoError(t, err, "%s", text.Bytes())
	require.Empty(t, metadata.Check(vg), "%s", text.Bytes())

	path := filepath.Join(t.TempDir(), "guess.vg")
	require.NoError(t, os.WriteFile(path, text.Bytes(), 0o600))
	again, err := scan.Run(t.Context(), c.Paths(), scan.Options{Backups: []string{path}})
	require.NoError(t, err)
	t.Cleanup(func() { again.Close() })
	var assume []rebuild.Assume
	for _, d := range l.Disks {
		assume = append(assume, rebuild.Assume{PV: d.ID, Source: d.Source.Name})
	}
	r, _, err := match.Build(again, rebuild.Options{Assume: assume})
	require.NoError(t, err)
	require.Len(t, r.Groups, 1)
	return l, r.Groups[0].At(nil)
}

// TestGuessGivesTheKernelsBytes: filesystems in pieces, in stripes and on arrays, of which
// nothing but what is in them tells, come out as the kernel read them.
func TestGuessGivesTheKernelsBytes(t *testing.T) {
	var corpus string
	var c *fixtures.Corpus
	var l *guess.Layout
	var vg *rebuild.VG
	for _, tt := range []struct {
		corpus, lv, golden string
		sure               guess.Sureness
	}{
		{"filesystems", "ext4", "vgx/ext", guess.Weak}, // where its pieces meet is guessed
		{"filesystems", "xfs", "vgx/xfs", guess.Sure},
		{"filesystems-one", "root", "vgn/root", guess.Weak},
		{"filesystems-one", "swap", "vgn/swap", guess.Sure},
		{"filesystems-one", "home", "vgn/home", guess.Sure},
		{"filesystems-one", "xfs", "vgn/data", guess.Likely},
		{"filesystems-raid", "two", "vgf/two", guess.Weak}, // stripes of 128 KiB would do as well
		{"filesystems-raid", "three", "vgf/three", guess.Sure},
		{"filesystems-raid", "four", "vgf/four", guess.Sure},
		{"filesystems-raid", "zero", "vgf/zero", guess.Sure},
		{"filesystems-raid", "mirrored", "vgf/mirrored", guess.Likely},
		{"filesystems-raid", "five", "vgf/five", guess.Likely},
		{"filesystems-raid", "ten", "vgf/ten", guess.Sure},
	} {
		if corpus != tt.corpus {
			corpus = tt.corpus
			var ev *scan.Evidence
			c, ev = bare(t, corpus)
			l, vg = guessed(t, c, ev)
		}
		fixtures.RequireGolden(t, c, tt.golden, export(t, vg, tt.lv))
		for _, v := range l.Volumes {
			if v.Name == tt.lv {
				require.Equal(t, tt.sure, v.Sure, "%v", v.Notes)
			}
		}
	}
}

// export writes an LV to a file.
func export(t *testing.T, vg *rebuild.VG, name string) string {
	t.Helper()
	lv, err := vg.LV(name)
	require.NoError(t, err)
	plan, err := activate.New(vg, lv, volume.OpenVolume)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "out")
	dev := volume.Open(plan)
	b := make([]byte, dev.Size())
	require.NoError(t, block.ReadRange(dev, b, 0, func(block.Extent) {}))
	require.NoError(t, os.WriteFile(out, b, 0o600))
	return out
}

// TestArraysGiveTheKernelsBytes: arrays of which nothing is left but the superblocks of
// device-mapper and the legs, of each level and layout, come out as the kernel read them; with
// a disk less, too, where the level allows it.
func TestArraysGiveTheKernelsBytes(t *testing.T) {
	for _, less := range []string{"", "b"} {
		c, ev := bare(t, "raid-levels")
		if less != "" {
			ev.Signs = slices.DeleteFunc(ev.Signs, func(s *scan.Sign) bool { return s.Source.Name == c.Disk(less) })
		}
		l, vg := guessed(t, c, ev)
		want := map[[sha256.Size]byte]string{}
		for key, g := range c.Golden {
			want[g.SHA256] = key
		}
		found := map[string]guess.Sureness{}
		for _, v := range l.Volumes {
			require.NotNil(t, v.Striping)
			b, err := os.ReadFile(export(t, vg, v.Name))
			require.NoError(t, err)
			key := want[sha256.Sum256(b)]
			require.NotEmpty(t, key, "%s: %v", v.Name, v.Notes)
			found[key] = v.Sure
		}
		if less != "" {
			require.Len(t, found, len(c.Golden)-3, "r0 has no superblocks, r0meta needs all legs, between has no array")
			continue
		}
		require.Equal(t, guess.Weak, found["vgr/r0meta"], "nothing tells whether its legs fit")
		delete(found, "vgr/r0meta")
		for key, sure := range found {
			require.Equal(t, guess.Sure, sure, key)
		}
		require.Len(t, found, len(c.Golden)-4, "r0 has no superblocks, a leg of r5long lies in pieces, between has no array")
	}
}

// TestMirrorWithoutSuperblocks: each leg is the filesystem, and tells of the other.
func TestMirrorWithoutSuperblocks(t *testing.T) {
	c, ev := bare(t, "filesystems-raid")
	ev.Signs = slices.DeleteFunc(ev.Signs, func(s *scan.Sign) bool { return s.Label != "mirrored" })
	l, vg := guessed(t, c, ev)
	require.Len(t, l.Volumes, 2)
	for _, v := range l.Volumes {
		fixtures.RequireGolden(t, c, "vgf/mirrored", export(t, vg, v.Name))
		require.Contains(t, strings.Join(v.Notes, "\n"), ": legs of a mirror, or a clone; they agree at 3 of 3 places")
	}
}

// TestAnyTextIsWhole: whatever stands on a disk, the text can be read, and no LV of it claims
// an extent that is not there, or one of another's.
func TestAnyTextIsWhole(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	formats := []string{"ext4", "XFS", "Btrfs", "swap", "LUKS2", "NTFS"}
	for range 300 {
		var sources []*scan.Source
		for _, name := range []string{"a\"\n}", "b"} {
			sources = append(sources, &scan.Source{Name: name, Dev: block.NewZero(1<<30 + rnd.Int64N(1<<30))})
		}
		var list []*scan.Sign
		for range 1 + rnd.IntN(12) {
			s := sources[rnd.IntN(2)]
			sign := &signs.Sign{Format: formats[rnd.IntN(len(formats))], UUID: string('a' + rune(rnd.IntN(4))), Label: "l\"} \x00",
				Start: rnd.Int64N(3) * rnd.Int64N(1<<28), Size: rnd.Int64N(4) * rnd.Int64N(1<<29), Group: rnd.Int64N(1 << 27)}
			sign.Backup = sign.Start > 1<<20
			list = append(list, &scan.Sign{Source: s, Offset: rnd.Int64N(1<<20) * 1024, Sign: sign})
		}
		requireReadable(t, guess.Guess(list))
	}
}
