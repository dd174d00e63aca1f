package rebuild_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// built scans disks and gives what they add up to.
func built(t *testing.T, paths []string, so scan.Options, ro rebuild.Options) (*rebuild.Result, error) {
	t.Helper()
	ev, err := scan.Run(t.Context(), paths, so)
	require.NoError(t, err)
	t.Cleanup(func() { ev.Close() })
	return rebuild.Build(ev, ro)
}

// states says of each PV what its first extent is known to be.
func states(vg *rebuild.VG) map[string]block.State {
	m := map[string]block.State{}
	for _, p := range vg.PVs {
		for e := range p.Dev.Extents(p.Meta.PEStart*block.SectorSize, block.SectorSize) {
			m[p.Meta.Key] = max(m[p.Meta.Key], e.State)
		}
	}
	return m
}

// doubted is the number of PVs that are wholly in doubt.
func doubted(vg *rebuild.VG) (n int) {
	for _, s := range states(vg) {
		if s == block.Doubtful {
			n++
		}
	}
	return n
}

// newer writes the corpus's backup file as a command would have left it a year later.
func newer(t *testing.T, c *fixtures.Corpus, seqno string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Dir, "backup", "vg0"))
	require.NoError(t, err)
	text = regexp.MustCompile(`seqno = \d+`).ReplaceAll(text, []byte("seqno = "+seqno))
	text = regexp.MustCompile(`creation_time = (\d+)\t# .*`).ReplaceAll(text, []byte("creation_time = 4000000000"))
	path := filepath.Join(t.TempDir(), "newer")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

// TestNewerBackup: LVM writes backup files of what it has committed, so that one that is
// newer than the disks says that the disks are old copies.
func TestNewerBackup(t *testing.T) {
	c := fixtures.Open(t, "linear")
	r, err := built(t, c.Paths(), scan.Options{Backups: []string{newer(t, c, "99")}}, rebuild.Options{})
	require.NoError(t, err)
	vg := r.Groups[0].At(nil)
	require.NotEqual(t, uint32(99), vg.Meta.Seqno)
	require.Equal(t, 3, doubted(vg))

	r, err = built(t, c.Paths(), scan.Options{Backups: []string{newer(t, c, "2")}}, rebuild.Options{})
	require.NoError(t, err)
	require.Zero(t, doubted(r.Groups[0].At(nil)), "an older backup says nothing")
}

// TestNewerWithoutHeader: a is rolled back, and the header of b, which has the newest text,
// is lost. Nothing tells any more that the newest text was committed, or that it was not.
func TestNewerWithoutHeader(t *testing.T) {
	c := fixtures.Open(t, "linear")
	old := olderText(t, c.Disk("a"))
	require.NoError(t, os.WriteFile(c.Disk("a"), old, 0o600))
	require.NoError(t, damage.Zero(c.Disk("b"), 4096, 512))
	require.NoError(t, damage.Zero(c.Disk("c"), 4096, 512))
	r, err := built(t, c.Paths(), scan.Options{}, rebuild.Options{})
	require.NoError(t, err)
	g := r.Groups[0]
	require.Equal(t, rebuild.Confirmed, g.Current.Strength())
	require.Less(t, g.Current.Meta.Seqno, g.Versions[len(g.Versions)-1].Meta.Seqno)
	require.Equal(t, 3, doubted(g.At(nil)))
}

// TestStaleAtOlderVersion: a disk that was away is as stale for the version before the
// current one as for the current one.
func TestStaleAtOlderVersion(t *testing.T) {
	c := fixtures.Open(t, "linear")
	require.NoError(t, os.WriteFile(c.Disk("a"), olderText(t, c.Disk("a")), 0o600))
	r, err := built(t, c.Paths(), scan.Options{History: true}, rebuild.Options{})
	require.NoError(t, err)
	g := r.Groups[0]
	before := g.Versions[len(g.Versions)-2]
	require.Less(t, before.Meta.Seqno, g.Current.Meta.Seqno)
	a := g.At(before).PV("pv0")
	require.Equal(t, c.Disk("a"), a.Found.Source.Name)
	require.Contains(t, a.Doubt, "last saw seqno")
}

// TestWithout: what names nothing must not be passed over.
func TestWithout(t *testing.T) {
	c := fixtures.Open(t, "linear")
	for word, missing := range map[string]bool{
		c.Disk("c"): true,
		filepath.Join(filepath.Dir(c.Disk("c")), ".", "..", "disks", "c.img"): true,
		c.Disk("c") + "x":                        false,
		"000000-0000-0000-0000-0000-0000-000000": false,
	} {
		r, err := built(t, c.Paths(), scan.Options{}, rebuild.Options{Without: []string{word}})
		if !missing {
			require.ErrorContains(t, err, "--without "+word)
			continue
		}
		require.NoError(t, err)
		require.True(t, r.Groups[0].At(nil).PV("pv2").Missing(), word)
	}
}

// TestAssumeAgainstLabel: the user places a PV where the label is another's. Both PVs can
// be read there, neither without doubt.
func TestAssumeAgainstLabel(t *testing.T) {
	c := fixtures.Open(t, "linear")
	r, err := built(t, c.Paths(), scan.Options{}, rebuild.Options{})
	require.NoError(t, err)
	id := r.Groups[0].At(nil).PV("pv0").Meta.ID
	r, err = built(t, c.Paths(), scan.Options{}, rebuild.Options{Assume: []rebuild.Assume{{PV: id, Source: c.Disk("b")}}})
	require.NoError(t, err)
	vg := r.Groups[0].At(nil)
	require.Equal(t, map[string]block.State{"pv0": block.Doubtful, "pv1": block.Doubtful, "pv2": block.Data}, states(vg))

	link := filepath.Join(t.TempDir(), "link.img")
	require.NoError(t, os.Symlink(c.Disk("a"), link))
	r, err = built(t, c.Paths(), scan.Options{}, rebuild.Options{Assume: []rebuild.Assume{{PV: id, Source: link}}})
	require.NoError(t, err, "a source has more than one name")
	require.Zero(t, doubted(r.Groups[0].At(nil)))
}

// TestDataStartDisagrees: label and metadata, both with valid checksums, put the first
// extent at different places.
func TestDataStartDisagrees(t *testing.T) {
	c := fixtures.Open(t, "linear")
	resealed(t, c.Disk("a"), func(label []byte) { label[32+40+1] ^= 0x10 }) // first data area's offset
	r, err := built(t, c.Paths(), scan.Options{}, rebuild.Options{})
	require.NoError(t, err)
	require.Equal(t, map[string]block.State{"pv0": block.Doubtful, "pv1": block.Data, "pv2": block.Data}, states(r.Groups[0].At(nil)))
}

// TestOneUUIDTwice: a text that gives two PVs one UUID.
func TestOneUUIDTwice(t *testing.T) {
	c := fixtures.Open(t, "linear")
	path := newer(t, c, "99")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	ids := regexp.MustCompile(`pv[01] \{\s+id = "([^"]+)"`).FindAllSubmatch(text, -1)
	require.Len(t, ids, 2)
	text = bytes.Replace(text, ids[1][1], ids[0][1], 1)
	require.NoError(t, os.WriteFile(path, text, 0o600))
	r, err := built(t, c.Paths(), scan.Options{Backups: []string{path}}, rebuild.Options{})
	require.NoError(t, err)
	v, err := r.Groups[0].Version("99")
	require.NoError(t, err)
	vg := r.Groups[0].At(v)
	require.Contains(t, vg.PV("pv0").Doubt, "two PVs")
	require.Contains(t, vg.PV("pv1").Doubt, "two PVs")
	require.NotContains(t, vg.PV("pv2").Doubt, "two PVs")
}

// resealed changes a disk's label and gives it the checksum that belongs to it.
func resealed(t *testing.T, path string, change func(label []byte)) {
	t.Helper()
	disk, err := os.ReadFile(path)
	require.NoError(t, err)
	label := disk[metadata.SectorSize : 2*metadata.SectorSize]
	change(label)
	binary.LittleEndian.PutUint32(label[16:], metadata.Sum(label[20:]))
	require.NoError(t, os.WriteFile(path, disk, 0o600))
}

// olderText is a disk whose committed slot points at the version of three commands before,
// as a copy of the disk from then has it.
func olderText(t *testing.T, path string) []byte {
	t.Helper()
	ev, err := scan.Run(t.Context(), []string{path}, scan.Options{History: true})
	require.NoError(t, err)
	defer ev.Close()
	disk, err := os.ReadFile(path)
	require.NoError(t, err)
	const area = 4096
	header := disk[area : area+metadata.MDAHeaderSize]
	newest, err := ev.Copies[len(ev.Copies)-1].Content.VG()
	require.NoError(t, err)
	for _, c := range ev.Copies {
		vg, err := c.Content.VG()
		require.NoError(t, err)
		switch {
		case vg.Seqno == newest.Seqno-3:
			text := append(bytes.Clone(c.Content.Raw), 0)
			binary.LittleEndian.PutUint64(header[40:], uint64(c.Offset-area))
			binary.LittleEndian.PutUint64(header[48:], uint64(len(text)))
			binary.LittleEndian.PutUint32(header[56:], metadata.Sum(text))
		case vg.Seqno > newest.Seqno-3:
			clear(disk[c.Offset : c.Offset+int64(len(c.Content.Raw))])
		}
	}
	binary.LittleEndian.PutUint32(header, metadata.Sum(header[4:]))
	return disk
}

// TestCopyFromAnotherVG: a disk whose own metadata is of a VG that it has left for another,
// going by the other's text, is a copy from before.
func TestCopyFromAnotherVG(t *testing.T) {
	c := fixtures.Open(t, "linear")
	path := newer(t, c, "7")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text = regexp.MustCompile(`vg0 \{\s+id = "[^"]+"`).ReplaceAll(text, []byte("vg9 {\n\tid = \"000000-0000-0000-0000-0000-0000-000009\""))
	require.NoError(t, os.WriteFile(path, text, 0o600))
	r, err := built(t, c.Paths(), scan.Options{Backups: []string{path}}, rebuild.Options{})
	require.NoError(t, err)
	require.Len(t, r.Groups, 2)
	require.Contains(t, r.Groups[1].At(nil).PV("pv0").Doubt, "last saw VG vg0, before it came to vg9")
	require.NotContains(t, r.Groups[0].At(nil).PV("pv0").Doubt, "last saw")
}
