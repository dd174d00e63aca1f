package carve

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// image lays blocks at places of an otherwise noisy disk.
func image(t testing.TB, size int64, blocks map[int64][]byte) string {
	t.Helper()
	b := bytes.Repeat([]byte{0xf0, 0x9f, 1, 2}, int(size/4))
	for at, text := range blocks {
		copy(b[at:], text)
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, os.WriteFile(path, b, 0o666))
	return path
}

// blocksOf cuts a file into blocks, the last filled with zeros.
func blocksOf(file []byte, size int) (blocks [][]byte) {
	for len(file) > 0 {
		n := min(size, len(file))
		blocks = append(blocks, append(bytes.Clone(file[:n]), make([]byte, size-n)...))
		file = file[n:]
	}
	return blocks
}

func joinedOf(finds []*Find) (list []*Find) {
	for _, f := range finds {
		if f.How == ByJoin {
			list = append(list, f)
		}
	}
	return list
}

// TestJoin puts a real backup file together that lies in blocks apart from each other,
// and not when it can be done in two ways.
func TestJoin(t *testing.T) {
	backup := []byte(fixtures.Open(t, "raid-sync").Files["backup/vgy"])
	require.Greater(t, len(backup), 16<<10)
	sum := sha256.Sum256(backup)
	want := hex.EncodeToString(sum[:])
	for _, size := range []int{1024, 2048} {
		blocks := blocksOf(backup, size)
		places := map[int64][]byte{}
		for i, b := range blocks {
			places[int64(1<<20+8192*i)] = b
		}
		dir := t.TempDir()
		joined := joinedOf(search(t, dir, Options{}, image(t, 4<<20, places))[0].Finds)
		require.Len(t, joined, 1, "blocks of %d", size)
		require.Equal(t, want, joined[0].SHA256)
		require.Len(t, joined[0].Pieces, len(blocks))
		require.Empty(t, joined[0].Damage)

		// Copies of blocks, as a journal has them, change nothing; a block with another
		// number does.
		places[3<<20] = blocks[1]
		require.Len(t, joinedOf(search(t, t.TempDir(), Options{}, image(t, 4<<20, places))[0].Finds), 1)
		i := slices.IndexFunc(blocks, func(b []byte) bool { return bytes.Contains(b, []byte("\tcreation_time = 1")) })
		twin := int64(1<<20 + 8192*i + 4096)
		places[twin] = bytes.Replace(blocks[i], []byte("\tcreation_time = 1"), []byte("\tcreation_time = 2"), 1)
		require.Empty(t, joinedOf(search(t, t.TempDir(), Options{}, image(t, 4<<20, places))[0].Finds))
		delete(places, twin)
		delete(places, 3<<20)
		delete(places, 1<<20+8192)
		require.Empty(t, joinedOf(search(t, t.TempDir(), Options{}, image(t, 4<<20, places))[0].Finds), "a block is missing")
	}
}

// TestFilesInside: the VG's own backup and archive files lie in filesystems on its LVs, one in
// pieces between those of another file. With all of the metadata areas gone the VG is there.
func TestFilesInside(t *testing.T) {
	c := fixtures.Open(t, "files-inside")
	require.NoError(t, damage.Zero(c.Disk("a"), 0, 1<<20))
	dir := t.TempDir()
	finds := search(t, dir, Options{}, c.Paths()...)[0].Finds
	sum := sha256.Sum256([]byte(c.Files["backup/vgi"]))
	whole := map[string]int{}
	for _, f := range pick(finds, Backup) {
		if f.Damage == "" {
			whole[f.SHA256]++
		}
	}
	require.Positive(t, whole[hex.EncodeToString(sum[:])])
	for name, text := range c.Files {
		if sum := sha256.Sum256([]byte(text)); filepath.Dir(name) == "archive" && filepath.Base(name) < "vgi_00006" {
			require.GreaterOrEqual(t, whole[hex.EncodeToString(sum[:])], 3, "%s on ext4, in its journal, and on XFS", name)
		}
	}
	joined := joinedOf(finds)
	require.NotEmpty(t, joined)
	for _, f := range joined {
		require.Equal(t, hex.EncodeToString(sum[:]), f.SHA256)
		require.Greater(t, len(f.Pieces), 2)
	}
	require.Len(t, gather(t, "", false, c.Paths()...).Copies, 0)
	ev := gather(t, dir, false, c.Paths()...)
	require.NotEmpty(t, ev.Copies)
	r, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	g, err := r.Find("vgi")
	require.NoError(t, err)
	require.Equal(t, scan.Carved, g.Current.Copies[0].Slot)
	require.Equal(t, rebuild.Remnant, g.Current.Strength())
	require.NotEmpty(t, g.Doubt)
	require.NotEmpty(t, ev.Signs)
}
