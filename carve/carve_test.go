package carve

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// search carves sources into the case dir.
func search(t testing.TB, dir string, opt Options, paths ...string) []*Outcome {
	t.Helper()
	ev, err := scan.Run(t.Context(), paths, scan.Options{})
	require.NoError(t, err)
	defer ev.Close()
	c, err := OpenToWrite(dir)
	require.NoError(t, err)
	defer c.Close()
	outcomes, err := c.Run(t.Context(), ev.Sources, opt)
	require.NoError(t, err)
	return outcomes
}

// pick lists the finds of some kinds.
func pick(finds []*Find, kinds ...Kind) (list []*Find) {
	for _, f := range finds {
		for _, k := range kinds {
			if f.Kind == k {
				list = append(list, f)
			}
		}
	}
	return list
}

// TestFindsWhatScanFinds holds the search of a surface against the scan of disks whose
// structures are whole: each label, area and text is found at its place, wrapped or not, and
// the texts that slots vouch for with their checksum.
func TestFindsWhatScanFinds(t *testing.T) {
	for _, name := range []string{"linear", "mda-two", "mda-ignored", "partitions", "ring-wrapped", "removed", "same-name", "nested"} {
		t.Run(name, func(t *testing.T) {
			paths := fixtures.Open(t, name).Paths()
			ev, err := scan.Run(t.Context(), paths, scan.Options{History: true})
			require.NoError(t, err)
			defer ev.Close()
			found := map[string][]*Find{}
			for _, o := range search(t, t.TempDir(), Options{}, paths...) {
				found[o.Name] = o.Finds
				require.Equal(t, o.Wanted, o.Searched)
			}
			for _, c := range ev.Copies {
				var hit *Find
				for _, f := range pick(found[c.Source.Name], Text) {
					if f.Offset == c.Offset {
						hit = f
					}
				}
				require.NotNil(t, hit, "text at %d of %s", c.Offset, c.Source.Name)
				require.Empty(t, hit.Damage)
				require.Equal(t, hex.EncodeToString(c.Content.SHA256[:]), hit.SHA256)
				if c.Slot != scan.Ring {
					require.Equal(t, c.Checksum.String(), hit.Checksum)
				}
				vg, err := c.Content.VG()
				require.NoError(t, err)
				require.Equal(t, []any{vg.Name, vg.ID.String(), vg.Seqno, vg.CreationTime.Unix(), vg.Description},
					[]any{hit.Name, hit.UUID, hit.Seqno, hit.Time, hit.Says})
			}
			for _, p := range ev.PVs {
				if p.Label != nil {
					requireStart(t, found[p.Source.Name], Label, p.Offset)
				}
				for _, a := range p.Areas {
					requireAt(t, found[p.Source.Name], Area, p.Offset+a.Offset)
				}
			}
		})
	}
}

func requireStart(t testing.TB, finds []*Find, kind Kind, start int64) {
	t.Helper()
	for _, f := range pick(finds, kind) {
		if f.Start != nil && *f.Start == start {
			return
		}
	}
	require.Failf(t, "not found", "%s of a PV at %d", kind, start)
}

func requireAt(t testing.TB, finds []*Find, kind Kind, at int64) {
	t.Helper()
	for _, f := range pick(finds, kind) {
		if f.Offset == at {
			return
		}
	}
	require.Failf(t, "not found", "%s at %d", kind, at)
}

// TestCaseChangesNothingOfWhole tells that a case adds nothing to disks that are whole.
func TestCaseChangesNothingOfWhole(t *testing.T) {
	for _, name := range []string{"linear", "ring-wrapped", "nested", "mda-ignored"} {
		for _, history := range []bool{false, true} {
			paths := fixtures.Open(t, name).Paths()
			dir := t.TempDir()
			search(t, dir, Options{}, paths...)
			plain := gather(t, "", history, paths...)
			with := gather(t, dir, history, paths...)
			require.Equal(t, describe(t, plain), describe(t, with), "%s, history %v", name, history)
		}
	}
}

// gather scans, with a case unless dir is "".
func gather(t testing.TB, dir string, history bool, paths ...string) *scan.Evidence {
	t.Helper()
	opt := scan.Options{History: history}
	var c *Case
	if dir != "" {
		var err error
		c, err = Open(dir)
		require.NoError(t, err)
		opt.Places = c.Places
	}
	ev, err := scan.Run(t.Context(), paths, opt)
	require.NoError(t, err)
	t.Cleanup(func() { ev.Close() })
	if c != nil {
		c.Add(ev, history)
	}
	return ev
}

// describe tells what evidence comes to: which VGs, at which seqno, on which disks, with
// what in doubt.
func describe(t testing.TB, ev *scan.Evidence) []string {
	t.Helper()
	r, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	var lines []string
	for _, g := range r.Groups {
		vg := g.At(nil)
		if strings.HasPrefix(g.Name(), "inner") {
			continue // nested: only a case knows of it
		}
		lines = append(lines, g.Name()+" "+g.Current.ID()+" "+vg.Doubt)
		for _, v := range g.Versions {
			lines = append(lines, v.ID()+" "+v.Strength().String())
		}
		for _, p := range vg.PVs {
			place := "missing"
			if !p.Missing() {
				place = p.Found.String()
			}
			lines = append(lines, place+" "+p.Doubt)
		}
	}
	return lines
}

// TestPartsMakeTheWhole searches a disk in parts, whose borders lie in the middle of things.
func TestPartsMakeTheWhole(t *testing.T) {
	path := fixtures.Open(t, "ring-wrapped").Disk("a")
	whole, merged := t.TempDir(), t.TempDir()
	search(t, whole, Options{}, path)
	borders := []int64{0, 1, 600, 4096 + 512, 6000, 7 << 10, 33 << 10, 1 << 20, 0}
	var parts []string
	for i := range borders[1:] {
		part := t.TempDir()
		search(t, part, Options{From: borders[i], To: borders[i+1]}, path)
		parts = append([]string{part}, parts...)
	}
	into, err := OpenToWrite(merged)
	require.NoError(t, err)
	for _, part := range append(parts, parts[2]) { // once more: nothing changes
		from, err := Open(part)
		require.NoError(t, err)
		damaged, err := into.Merge(from)
		require.NoError(t, err)
		require.Zero(t, damaged)
	}
	require.NoError(t, into.Close())
	requireSameCase(t, whole, merged)
}

// requireSameCase wants the same finds, texts and map of the one source in both cases.
func requireSameCase(t testing.TB, a, b string) {
	t.Helper()
	var texts [2][]byte
	for i, dir := range []string{a, b} {
		for _, pattern := range []string{findsFile, surfaceFile} {
			files, err := filepath.Glob(filepath.Join(dir, sourcesDir, "*", pattern))
			require.NoError(t, err)
			require.Len(t, files, 1)
			content, err := os.ReadFile(files[0])
			require.NoError(t, err)
			texts[i] = append(texts[i], content...)
		}
		c, err := Open(dir)
		require.NoError(t, err)
		finds, damaged, err := c.Sources[0].Finds()
		require.NoError(t, err)
		require.Zero(t, damaged)
		for _, f := range finds {
			if f.SHA256 != "" {
				_, err := c.Text(f.SHA256)
				require.NoError(t, err)
			}
		}
	}
	require.Equal(t, string(texts[0]), string(texts[1]))
}

// TestRepeatedSearch finds nothing anew, and a torn line in the log costs nothing else.
func TestRepeatedSearch(t *testing.T) {
	path, dir, fresh := fixtures.Open(t, "linear").Disk("a"), t.TempDir(), t.TempDir()
	first := search(t, dir, Options{}, path)[0]
	require.Positive(t, first.New)
	require.Zero(t, search(t, dir, Options{}, path)[0].New)

	logs, err := filepath.Glob(filepath.Join(dir, sourcesDir, "*", findsFile))
	require.NoError(t, err)
	content, err := os.ReadFile(logs[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(logs[0], content[:len(content)-20], 0o666))
	require.NoError(t, os.Remove(filepath.Join(filepath.Dir(logs[0]), surfaceFile)))
	again := search(t, dir, Options{}, path)[0]
	require.Equal(t, int64(1), again.New)
	search(t, fresh, Options{}, path)
	require.Len(t, again.Finds, len(first.Finds))
}

// TestDiskFullOfLabels must not fill the case, nor memory; and says so.
func TestDiskFullOfLabels(t *testing.T) {
	disk := fixtures.Open(t, "linear").Disk("a")
	f, err := os.Open(disk)
	require.NoError(t, err)
	defer f.Close()
	label := make([]byte, sector)
	_, err = f.ReadAt(label, sector)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "full.img")
	require.NoError(t, os.WriteFile(path, bytes.Repeat(label, 20000), 0o666))
	o := search(t, t.TempDir(), Options{}, path)[0]
	require.Len(t, o.Finds, maxOthers)
	require.Equal(t, "15904 of kind label", o.Left)
}

// TestDeepSearch finds texts that begin on no sector, across pieces too.
func TestDeepSearch(t *testing.T) {
	c := fixtures.Open(t, "linear")
	backup := []byte(c.Files["backup/vg0"])
	require.NotEmpty(t, backup)
	raw := pickRaw(t, c)
	image := bytes.Repeat([]byte("noise \x01"), 100000)
	places := map[int64][]byte{1001: backup, pieceSize - 7: raw, 300001: append(bytes.Clone(raw), "and more\x00"...)}
	for at, text := range places {
		image[at-1] = 1 // else it may be part of the VG's name
		copy(image[at:], text)
		image[at+int64(len(text))] = 0
	}
	path := filepath.Join(t.TempDir(), "memory.img")
	require.NoError(t, os.WriteFile(path, image, 0o666))
	require.Empty(t, pick(search(t, t.TempDir(), Options{}, path)[0].Finds, Text, Backup))
	got := map[int64]*Find{}
	for _, f := range pick(search(t, t.TempDir(), Options{Deep: true}, path)[0].Finds, Text, Backup) {
		got[f.Offset] = f
	}
	require.Len(t, got, 3)
	require.Empty(t, got[1001].Damage)
	require.Equal(t, Backup, got[1001].Kind)
	require.Empty(t, got[pieceSize-7].Damage)
	require.Equal(t, ByByte, got[pieceSize-7].How)
	require.NotEmpty(t, got[300001].Damage)
}

// pickRaw is the current text of a corpus as it stands on its disks.
func pickRaw(t testing.TB, c *fixtures.Corpus) []byte {
	t.Helper()
	ev, err := scan.Run(t.Context(), c.Paths(), scan.Options{})
	require.NoError(t, err)
	defer ev.Close()
	require.NotEmpty(t, ev.Copies)
	return ev.Copies[0].Content.Raw
}

// TestAreaKnowsWhereItsPVBegins: a label that is gone is not needed for that.
func TestAreaKnowsWhereItsPVBegins(t *testing.T) {
	c := fixtures.Open(t, "partitions")
	for _, at := range []int64{0, 10485760} { // partition table; label in the first partition
		require.NoError(t, damage.Zero(c.Disk("gpt"), at, 4096))
	}
	dir := t.TempDir()
	search(t, dir, Options{}, c.Paths()...)
	ev := gather(t, dir, false, c.Paths()...)
	for _, p := range ev.PVs {
		if p.Source.Name == c.Disk("gpt") && p.Offset == 10485760 {
			require.Nil(t, p.Label)
			require.NotEmpty(t, p.Areas)
			require.Equal(t, metadata.ChecksumValid, p.Areas[0].Header.Checksum)
			return
		}
	}
	require.Fail(t, "the PV whose label is gone was not found")
}

func TestCancelledSearchGoesOn(t *testing.T) {
	path, dir, fresh := fixtures.Open(t, "linear").Disk("a"), t.TempDir(), t.TempDir()
	ev, err := scan.Run(t.Context(), []string{path}, scan.Options{})
	require.NoError(t, err)
	defer ev.Close()
	c, err := OpenToWrite(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	o, err := c.Run(ctx, ev.Sources, Options{Workers: 1, Progress: func(p Progress) {
		if p.Done > 0 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, o, 1)
	_, err = OpenToWrite(dir)
	require.ErrorContains(t, err, "another lvrescue")
	require.NoError(t, c.Close())
	search(t, dir, Options{}, path)
	search(t, fresh, Options{}, path)
	requireSameCase(t, fresh, dir)
}

// TestCopyOfADisksHead is a file with the first megabytes of a disk, as people make them: on
// a disk without partitions, within a filesystem, and beside the disk itself.
func TestCopyOfADisksHead(t *testing.T) {
	c := fixtures.Open(t, "linear")
	head := make([]byte, 3<<20)
	disk, err := os.Open(c.Disk("a"))
	require.NoError(t, err)
	defer disk.Close()
	_, err = disk.ReadAt(head, 0)
	require.NoError(t, err)
	super, err := os.ReadFile("../metadata/signs/testdata/ext4.bin")
	require.NoError(t, err)
	holds := make([]byte, 64<<20)
	copy(holds[1<<20+1024:], super)
	copy(holds[9<<20:], head)
	path := filepath.Join(t.TempDir(), "other.img")
	require.NoError(t, os.WriteFile(path, holds, 0o666))

	dir := t.TempDir()
	search(t, dir, Options{}, append(c.Paths(), path)...)
	alone := gather(t, dir, false, path)
	require.Len(t, alone.PVs, 1)
	require.Contains(t, alone.PVs[0].Doubt, "lies within a filesystem, ext4 from byte 1048576 on")

	with := gather(t, dir, true, append(c.Paths(), path)...)
	require.Equal(t, describe(t, gather(t, "", true, append(c.Paths(), path)...)), describe(t, with))
	for _, pv := range with.PVs {
		require.False(t, pv.Carved())
	}
}

// TestSourcesAreKnownAgain by their content, wherever they are; a copy is another source.
func TestSourcesAreKnownAgain(t *testing.T) {
	path, dir := fixtures.Open(t, "linear").Disk("a"), t.TempDir()
	first := search(t, dir, Options{}, path)[0]
	content, err := os.ReadFile(path)
	require.NoError(t, err)

	moved := filepath.Join(t.TempDir(), "moved.img")
	require.NoError(t, os.Rename(path, moved))
	again := search(t, dir, Options{}, moved)[0]
	require.Equal(t, first.Source.ID, again.Source.ID)
	require.Zero(t, again.New)

	require.NoError(t, os.WriteFile(path, content, 0o666))
	both := search(t, dir, Options{}, path, moved)
	require.Equal(t, first.Source.ID, both[0].Source.ID)
	require.True(t, both[0].Changed)
	require.NotEqual(t, first.Source.ID, both[1].Source.ID)
	require.Equal(t, int64(len(first.Finds)), both[1].New)

	content[sector+8] ^= 1 // in the first sample
	require.NoError(t, os.WriteFile(path, content, 0o666))
	other := search(t, dir, Options{}, path)[0]
	require.NotContains(t, []string{both[0].Source.ID, both[1].Source.ID}, other.Source.ID)
}

// TestOtherFinds finds what no corpus has, as lvm2's sources have it: a label of LVM1, the
// devices file and hints.
func TestOtherFinds(t *testing.T) {
	lvm1 := make([]byte, sector)
	copy(lvm1, "HM\x01\x00")
	copy(lvm1[44:], "abcdefghijklmnopqrstuvwxyz012345")
	copy(lvm1[172:], "vg_old")
	devices := "# LVM uses devices listed in this file.\n# Created by LVM command vgimportdevices pid 5 at Mon Jan  1 00:00:00 2024\nVERSION=1.1.2\nIDTYPE=devname IDNAME=/dev/sda2 DEVNAME=/dev/sda2 PVID=abc PART=2\n"
	hints := "# Created by lvs pid 7 Mon Jan  1 00:00:00 2024\nhints_version: 0.1\nscan:/dev/sda pvid:abc devn:8:0 vg:vg0\n"
	path := image(t, 1<<20, map[int64][]byte{
		64 << 10: lvm1, 100 << 10: []byte(devices + "\x00"), 200 << 10: []byte(hints + "\x00"),
		300 << 10: []byte("# Created by hand\nno hints: here\n\x00"),
	})
	dir := t.TempDir()
	finds := search(t, dir, Options{}, path)[0].Finds
	require.Len(t, finds, 3)
	require.Equal(t, []any{Legacy, "vg_old", "LVM1", int64(64 << 10)}, []any{finds[0].Kind, finds[0].Name, finds[0].Says, *finds[0].Start})
	c, err := Open(dir)
	require.NoError(t, err)
	for i, want := range []string{devices, hints} {
		require.Equal(t, Devices, finds[i+1].Kind)
		text, err := c.Text(finds[i+1].SHA256)
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
}
