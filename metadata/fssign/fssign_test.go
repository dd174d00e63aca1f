package fssign_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/fssign"
)

const (
	id  = "11111111-2222-3333-4444-555555555555"
	mib = 1 << 20
)

// real lists what testdata/make.sh made, with what its commands said; UUIDs "?" are random.
var real = map[string]fssign.Sign{
	"ext2":  {Type: fssign.Ext2, Size: 40 * mib, Block: 1024, UUID: id, Label: "two"},
	"ext3":  {Type: fssign.Ext3, Size: 20 * mib, Block: 2048, UUID: id},
	"ext4":  {Type: fssign.Ext4, Size: 300 * mib, Block: 4096, UUID: id, Label: "four four", Checksum: metadata.ChecksumValid},
	"xfs":   {Type: fssign.XFS, Size: 320 * mib, Block: 4096, UUID: id, Label: "ex", Stride: 80 * mib, Checksum: metadata.ChecksumValid},
	"btrfs": {Type: fssign.Btrfs, Size: 300 * mib, Block: 4096, UUID: id, Label: "butter", Checksum: metadata.ChecksumValid},
	"gfs2":  {Type: fssign.GFS2, Block: 4096, UUID: id, Label: "cluster:name"},
	"swap":  {Type: fssign.Swap, Size: 3 * mib, Block: 4096, UUID: id, Label: "pages"},
	"fat32": {Type: fssign.FAT, Size: 40 * mib, Block: 512, UUID: "1234-5678", Label: "FATTY"},
	"fat16": {Type: fssign.FAT, Size: 16 * mib, Block: 2048, UUID: "1234-5678", Label: "NO NAME"},
	"exfat": {Type: fssign.ExFAT, Size: 8 * mib, Block: 4096, UUID: "?"},
	"ntfs":  {Type: fssign.NTFS, Size: 8 * mib, Block: 4096, UUID: "?"},
	"luks1": {Type: fssign.LUKS, UUID: id},
	"luks2": {Type: fssign.LUKS, UUID: id, Label: "lucky"},
}

// testFile reads a superblock and its place.
func testFile(t testing.TB, path string) (kind string, at int64, b []byte) {
	t.Helper()
	kind, place, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".bin"), "@")
	at, err := strconv.ParseInt(place, 10, 64)
	require.NoError(t, err)
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	return kind, at, b
}

func testFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.bin")
	require.NoError(t, err)
	require.Greater(t, len(files), len(real))
	return files
}

func TestRealSuperblocks(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range testFiles(t) {
		kind, at, b := testFile(t, path)
		seen[kind] = true
		t.Run(filepath.Base(path), func(t *testing.T) {
			want, ok := real[kind]
			require.True(t, ok)
			got, ok := fssign.At(b)
			require.True(t, ok)
			want.Offset, want.Backup = at, at > 64<<10 || kind == "luks2" && at > 0
			if want.UUID == "?" {
				require.NotEmpty(t, got.UUID)
				want.UUID = got.UUID
			}
			require.Equal(t, want, got)
			for shift := 512; shift < len(b); shift += 512 {
				if s, ok := fssign.At(b[shift:]); ok { // copies that stand so near
					require.Contains(t, []string{"luks2", "fat32", "exfat"}, kind, "%+v at %d", s, shift)
				}
			}
		})
	}
	require.Len(t, seen, len(real))
}

func TestProbeFindsWhatBeginsHere(t *testing.T) {
	for _, path := range testFiles(t) {
		kind, at, b := testFile(t, path)
		if at > 64<<10 || kind == "luks2" && at > 0 {
			continue
		}
		volume := append(make([]byte, at), b...)
		s, ok := fssign.Probe(bytes.NewReader(volume), int64(len(volume)))
		require.True(t, ok, path)
		require.Equal(t, real[kind].Type, s.Type)

		_, ok = fssign.Probe(bytes.NewReader(volume[512:]), int64(len(volume)-512))
		require.False(t, ok, "%s: a superblock in the wrong place is not one", path)
	}
	_, ok := fssign.Probe(bytes.NewReader(nil), 0)
	require.False(t, ok)
	_, ok = fssign.Probe(bytes.NewReader(nil), 1<<40) // nothing can be read
	require.False(t, ok)
}

// TestDamageShows flips each bit of the bytes that a checksum covers.
func TestDamageShows(t *testing.T) {
	for _, name := range []string{"ext4@1024", "xfs@0", "btrfs@65536"} {
		_, _, b := testFile(t, "testdata/"+name+".bin")
		covered := map[string]int{"ext4@1024": 1020, "xfs@0": 512, "btrfs@65536": 4096}[name]
		for i := range covered {
			if name == "btrfs@65536" && i >= 4 && i < 32 {
				continue // room for longer checksums
			}
			b[i] ^= 1
			if s, ok := fssign.At(b); ok {
				require.NotEqual(t, metadata.ChecksumValid, s.Checksum, "%s: byte %d", name, i)
			}
			b[i] ^= 1
		}
	}
}

func FuzzAt(f *testing.F) {
	for _, path := range testFiles(f) {
		_, _, b := testFile(f, path)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := fssign.At(b)
		if !ok {
			return
		}
		require.NotEmpty(t, s.Type)
		require.GreaterOrEqual(t, s.Size, int64(0))
		require.GreaterOrEqual(t, s.Offset, int64(-1))
		if s.Size > 0 {
			require.Less(t, s.Offset, s.Size)
		}
	})
}
