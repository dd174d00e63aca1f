package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// file makes a file of a scratch directory.
func file(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	noise := filepath.Join(dir, "noise")
	require.NoError(t, os.WriteFile(noise, make([]byte, 3<<20), 0o600))
	require.NoError(t, damage.Noise(noise, 0, 3<<20, 1))
	empty := filepath.Join(dir, "dir")
	require.NoError(t, os.Mkdir(empty, 0o700))

	tests := []struct {
		path  string
		codes []string
	}{
		{file(t, dir, "empty", nil), []string{"source-empty"}},
		{file(t, dir, "511", make([]byte, 511)), []string{"source-empty"}},
		{file(t, dir, "512", make([]byte, 512)), []string{"nothing-found"}},
		{file(t, dir, "text", bytes.Repeat([]byte("just text\n"), 1000)), []string{"nothing-found"}},
		{noise, []string{"nothing-found"}},
		{empty, []string{"directory-empty"}},
		{filepath.Join(dir, "absent"), []string{"source-unreadable"}},
		{"/dev/null", []string{"source-unreadable"}},
	}
	for _, tt := range tests {
		t.Run(filepath.Base(tt.path), func(t *testing.T) {
			ev := run(t, Options{}, tt.path)
			require.Equal(t, tt.codes, bareCodes(ev))
			require.Empty(t, ev.PVs)
			require.Empty(t, ev.Copies)
			require.Contains(t, ev.Findings[0].String(), tt.path)
		})
	}
}

// TestFailureIsEvidence scans good disks beside a bad source.
func TestFailureIsEvidence(t *testing.T) {
	c := fixtures.Open(t, "linear")
	absent := filepath.Join(c.Dir, "absent")
	ev := run(t, Options{}, append([]string{absent}, c.Paths()...)...)
	require.ErrorIs(t, ev.Sources[0].Err, fs.ErrNotExist)
	require.Nil(t, ev.Sources[0].Dev)
	require.Len(t, ev.PVs, len(c.Disks))
}

func TestDirectory(t *testing.T) {
	c := fixtures.Open(t, "linear")
	dir := filepath.Dir(c.Disks[0].Path)
	for _, name := range []string{".hidden", "a.img.part", "old.map", "old.mapfile"} {
		require.NoError(t, damage.RollBack(file(t, dir, name, []byte{0}), c.Disks[0].Path))
	}
	file(t, dir, "tiny", []byte("x"))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o700))
	file(t, filepath.Join(dir, "sub"), "deep.img", make([]byte, 4096))
	require.NoError(t, os.Symlink("absent", filepath.Join(dir, "dangling")))

	ev := run(t, Options{}, dir)
	require.Equal(t, run(t, Options{}, c.Paths()...).Copies[0].Content.Raw, ev.Copies[0].Content.Raw)
	require.Len(t, ev.Sources, len(c.Disks))
	require.Equal(t, []string{"dangling:source-unreadable", "tiny:source-empty"}, codes(ev))
}

// mapfile is a ddrescue mapfile of a disk that has one bad range.
func mapfile(size, bad, n int64) []byte {
	return fmt.Appendf(nil, "0x0 + 1\n0x0 0x%x +\n0x%x 0x%x -\n0x%x 0x%x +\n", bad, bad, n, bad+n, size-bad-n)
}

func TestMapBeside(t *testing.T) {
	for _, suffix := range []string{"img.map", "map", "mapfile", "log", "img.log"} {
		c := fixtures.Open(t, "linear")
		path := c.Disks[0].Path
		stat, err := os.Stat(path)
		require.NoError(t, err)
		m := file(t, filepath.Dir(path), "a."+suffix, mapfile(stat.Size(), headerAt, 512))
		ev := run(t, Options{}, path)
		require.Equal(t, m, ev.Sources[0].Mapfile)
		require.Equal(t, []string{"partition-table-unreadable", "mda-unreadable"}, bareCodes(ev))
		require.NotEmpty(t, ev.Copies, "the ring still has them")
		for _, copy := range ev.Copies {
			require.Equal(t, Ring, copy.Slot)
		}
	}
}

func TestMapMarksTexts(t *testing.T) {
	c := fixtures.Open(t, "linear")
	path := c.Disks[0].Path
	healthy := run(t, Options{History: true}, path)
	newest := healthy.Copies[len(healthy.Copies)-1]
	stat, err := os.Stat(path)
	require.NoError(t, err)
	m := file(t, c.Dir, "m", mapfile(stat.Size(), newest.Offset+512, 512))
	ev := run(t, Options{Maps: map[string]string{path: m}}, path)
	require.Equal(t, []string{"text-unreadable", "ring-unreadable", "ring-fragments"}, bareCodes(ev))
	last := ev.Copies[len(ev.Copies)-1]
	require.Equal(t, Committed, last.Slot)
	require.Equal(t, metadata.ChecksumInvalid, last.Checksum)
	require.Equal(t, newest.Content.Raw[:512], last.Content.Raw, "what stands before the bad range")
	require.Len(t, ev.Copies, len(healthy.Copies), "the older versions, too")

	m = file(t, c.Dir, "m", mapfile(stat.Size(), labelAt, 512))
	ev = run(t, Options{Maps: map[string]string{path: m}}, path)
	require.Equal(t, []string{"partition-table-unreadable", "label-unreadable", "pv-label-lost"}, bareCodes(ev))
}

func TestMapWrong(t *testing.T) {
	c := fixtures.Open(t, "linear")
	path := c.Disks[0].Path
	bad := file(t, c.Dir, "bad", []byte("no mapfile"))

	_, err := Run(context.Background(), []string{path}, Options{Maps: map[string]string{"other.img": bad}})
	require.ErrorContains(t, err, "other.img, which is not among the sources")

	ev := run(t, Options{Maps: map[string]string{path: bad}}, path)
	var wrong *block.MapError
	require.ErrorAs(t, ev.Sources[0].Err, &wrong, "a source is not read without the map that it needs")
	require.Empty(t, ev.PVs)

	file(t, filepath.Dir(path), "a.log", []byte("a log of something else"))
	require.Empty(t, bareCodes(run(t, Options{}, path)))
	file(t, filepath.Dir(path), "a.img.map", []byte("no mapfile"))
	ev = run(t, Options{}, path)
	require.Equal(t, []string{"map-unreadable"}, bareCodes(ev))
	require.Len(t, ev.PVs, 1)
	requireDoubtful(t, ev.PVs[0].Dev)
	require.NoError(t, os.Remove(filepath.Join(filepath.Dir(path), "a.img.map")))

	long := file(t, c.Dir, "long", mapfile(1<<30, 1<<29, 512))
	ev = run(t, Options{Maps: map[string]string{filepath.Dir(path) + "/../" + filepath.Base(filepath.Dir(path)) + "/a.img": long}}, path)
	require.Equal(t, []string{"map-misfit"}, bareCodes(ev))
	requireDoubtful(t, ev.PVs[0].Dev)
}

func TestBackups(t *testing.T) {
	c := fixtures.Open(t, "linear")
	dir := t.TempDir()
	backup := file(t, dir, "vg0", []byte(c.Files["backup/vg0"]))
	absent := filepath.Join(dir, "absent")
	huge := file(t, dir, "huge", nil)
	require.NoError(t, os.Truncate(huge, metadata.MaxTextSize+1))
	ev := run(t, Options{Backups: []string{backup, absent, huge}}, c.Disks[0].Path)
	require.Equal(t, []string{"absent:backup-unreadable", "huge:backup-unreadable"}, codes(ev))
	require.Len(t, ev.Copies, 2)
	got := ev.Copies[1]
	require.Equal(t, &Source{Name: backup, Kind: "backup file"}, got.Source)
	require.Equal(t, BackupFile, got.Slot)
	require.Nil(t, got.Area)
	vg, err := got.Content.VG()
	require.NoError(t, err)
	require.Equal(t, "vg0", vg.Name)

	require.Equal(t, []string{"backup-as-source", "nothing-found"}, bareCodes(run(t, Options{}, backup)))
}

func TestSignatures(t *testing.T) {
	const size = 1 << 20
	tests := []struct {
		name, magic string
		at          int64
		code        string
	}{
		{"LUKS", "LUKS\xba\xbe\x00\x02", 0, "luks"},
		{"md 1.1", mdMagic, 0, "md-member"},
		{"md 1.2", mdMagic, 4096, "md-member"},
		{"md 1.0", mdMagic, size - 8192, "md-member"},
		{"md 0.90", mdMagic, size - 64<<10, "md-member"},
		{"LVM1", "HM\x01\x00", 0, "legacy-label"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := make([]byte, size)
			copy(b[tt.at:], tt.magic)
			ev := run(t, Options{}, file(t, t.TempDir(), "disk", b))
			require.Equal(t, []string{tt.code, "nothing-found"}, bareCodes(ev))
			require.Equal(t, tt.at, ev.Findings[0].Offset)
		})
	}
}

func TestBlockDevices(t *testing.T) {
	sys := t.TempDir()
	for name, values := range map[string]map[string]string{
		"sda":        {"size": "2048\n"},
		"sda1":       {"size": "1024\n", "partition": "1\n"},
		"loop0":      {"size": "0\n"},
		"ram0":       {"size": "8192\n"},
		"fd0":        {"size": "8\n"},
		"zram0":      {"size": "8192\n"},
		"cciss!c0d0": {"size": "8192\n"},
		"dm-0":       {"size": "8192\n", "dm/uuid": "LVRESCUE-abc\n", "dm/name": "lvrescue-vg-lv\n"},
		"dm-1":       {"size": "8192\n", "dm/uuid": "CRYPT-LUKS2-abc\n", "dm/name": "crypt\n"},
	} {
		for value, text := range values {
			path := filepath.Join(sys, name, value)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		}
	}
	paths, err := blockDevices(sys)
	require.NoError(t, err)
	require.Equal(t, []string{"/dev/cciss/c0d0", "/dev/mapper/crypt", "/dev/sda"}, paths)
	_, err = blockDevices(filepath.Join(sys, "absent"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestProgressAndCancel(t *testing.T) {
	c := fixtures.Open(t, "linear")
	var told []string
	run(t, Options{Progress: func(done, total int) { told = append(told, fmt.Sprintf("%d/%d", done, total)) }}, c.Paths()...)
	require.Equal(t, "1/3 2/3 3/3", strings.Join(told, " "))

	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	_, err := Run(ctx, c.Paths(), Options{})
	require.ErrorIs(t, err, context.Canceled)
}
