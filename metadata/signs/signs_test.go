package signs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/signs"
)

const (
	valid = metadata.ChecksumValid
	id    = "11111111-2222-3333-4444-555555555555"
)

// TestReal reads what the formats' own tools have written: 4096 bytes of a fresh filesystem
// each, from where its superblock or header begins.
func TestReal(t *testing.T) {
	for name, want := range map[string]signs.Sign{
		"ext4":         {Format: "ext4", Start: 1024, Size: 64 << 20, Block: 1024, Group: 8 << 20, UUID: id, Label: "rescue", Checksum: valid},
		"ext4-backup":  {Format: "ext4", Start: 8193 << 10, Size: 64 << 20, Block: 1024, Group: 8 << 20, UUID: id, Label: "rescue", Checksum: valid, Backup: true},
		"xfs":          {Format: "XFS", Size: 320 << 20, Block: 4096, Group: 80 << 20, UUID: id, Label: "rescue", Checksum: valid},
		"xfs-backup":   {Format: "XFS", Start: 80 << 20, Size: 320 << 20, Block: 4096, Group: 80 << 20, UUID: id, Label: "rescue", Checksum: valid, Backup: true},
		"btrfs":        {Format: "Btrfs", Start: 64 << 10, Size: 128 << 20, Block: 4096, UUID: id, Label: "rescue", Checksum: valid},
		"btrfs-backup": {Format: "Btrfs", Start: 64 << 20, Size: 128 << 20, Block: 4096, UUID: id, Label: "rescue", Checksum: valid, Backup: true},
		"swap":         {Format: "swap", Start: 1024, Size: 8 << 20, Block: 4096, UUID: id, Label: "rescue"},
		"luks1":        {Format: "LUKS1", UUID: id},
		"luks2":        {Format: "LUKS2", UUID: id, Label: "rescue"},
		"luks2-backup": {Format: "LUKS2", Start: 16 << 10, UUID: id, Label: "rescue", Backup: true},
		"fat16":        {Format: "FAT16", Size: 32 << 20, Block: 2048, UUID: "1234-5678", Label: "RESCUE"},
		"fat32":        {Format: "FAT32", Size: 64 << 20, Block: 512, UUID: "1234-5678", Label: "RESCUE"},
		"gfs2":         {Format: "GFS2", Start: 64 << 10, Block: 4096, Label: "c:rescue"},
		"ntfs":         {Format: "NTFS", Size: 16 << 20},
		"exfat":        {Format: "exFAT", Size: 16 << 20},
	} {
		b := real(t, name)
		require.True(t, signs.Maybe(b), name)
		got := signs.Read(b)
		require.NotNil(t, got, name)
		if want.UUID == "" {
			require.NotEmpty(t, got.UUID, name)
			want.UUID = got.UUID
		}
		require.Equal(t, want, *got, name)
	}
}

func real(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".bin")
	require.NoError(t, err)
	return b
}

// TestOneBitIsTold flips bits of superblocks that have a checksum.
func TestOneBitIsTold(t *testing.T) {
	for name, at := range map[string]int{"ext4": 130, "xfs": 110, "btrfs": 310} {
		b := real(t, name)
		b[at] ^= 1
		got := signs.Read(b)
		require.NotNil(t, got, name)
		require.Equal(t, metadata.ChecksumInvalid, got.Checksum, name)
	}
}

// TestDeviceMapper finds the superblocks of device-mapper's own formats where the kernel has
// put them.
func TestDeviceMapper(t *testing.T) {
	for _, c := range []struct {
		corpus, disk string
		at           int64
		want         signs.Sign
	}{
		{"raid-levels", "a", 1179648, signs.Sign{Format: "dm-raid", Size: 384 << 10, Block: 16 << 10, Array: &signs.Array{Level: 0, Devices: 3, Events: 1}}},
		{"thin", "a", 28311552, signs.Sign{Format: "thin pool", Size: 24 << 20, Block: 64 << 10, Checksum: valid}},
		{"cache", "b", 1048576, signs.Sign{Format: "cache", Size: 2 << 20, Block: 64 << 10, Checksum: valid}},
		{"writecache", "b", 1048576, signs.Sign{Format: "writecache", Size: 2084864, Block: 4096}},
		{"snapshot", "a", 3145728, signs.Sign{Format: "snapshot store", Block: 4096}},
		{"integrity", "a", 2883584, signs.Sign{Format: "integrity", Size: 1536 << 10, Block: 512}},
	} {
		f, err := os.Open(fixtures.Open(t, c.corpus).Disk(c.disk))
		require.NoError(t, err)
		defer f.Close()
		b := make([]byte, signs.Length)
		_, err = f.ReadAt(b, c.at)
		require.NoError(t, err)
		got := signs.Read(b)
		require.NotNil(t, got, c.corpus)
		require.Equal(t, c.want, *got, c.corpus)
	}
}

func FuzzRead(f *testing.F) {
	names, err := filepath.Glob("testdata/*.bin")
	require.NoError(f, err)
	for _, n := range names {
		f.Add(real(f, strings.TrimSuffix(filepath.Base(n), ".bin")))
	}
	c := fixtures.Open(f, "md-members")
	for disk, at := range map[string]int64{"a": 4096, "c": 12517376, "e": 12574720, "g": 0} {
		file, err := os.Open(c.Disk(disk))
		require.NoError(f, err)
		b := make([]byte, signs.Length)
		_, err = file.ReadAt(b, at)
		require.NoError(f, err)
		require.NoError(f, file.Close())
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := signs.Read(b)
		if s == nil {
			return
		}
		require.True(t, signs.Maybe(b))
		require.NotEmpty(t, s.Format)
		require.GreaterOrEqual(t, s.Size, int64(0))
		require.GreaterOrEqual(t, s.Block, int64(0))
		require.GreaterOrEqual(t, s.Start, int64(signs.Unknown))
	})
}

func BenchmarkMaybe(b *testing.B) {
	sectors := make([]byte, 1<<20)
	for i := range sectors {
		sectors[i] = byte(i*7 + i>>8)
	}
	b.SetBytes(int64(len(sectors)))
	for b.Loop() {
		for at := 0; at < len(sectors); at += metadata.SectorSize {
			if signs.Maybe(sectors[at:]) {
				b.Fatal(at)
			}
		}
	}
}

// TestMD reads superblocks of md of each version, as mdadm has written and examined them.
func TestMD(t *testing.T) {
	c := fixtures.Open(t, "md-members")
	text, err := os.ReadFile(filepath.Join(c.Dir, "examine.txt"))
	require.NoError(t, err)
	examined := strings.NewReplacer(":", "", " ", "").Replace(string(text))
	for disk, want := range map[string]struct {
		at    int64
		sign  signs.Sign
		array signs.Array
	}{
		"a": {4096, signs.Sign{Start: 4096, Size: 11 << 20, Label: "nas:0"}, signs.Array{Level: 1, Devices: 2, Data: 1 << 20, Events: 2, Active: 2}},
		"d": {12517376, signs.Sign{Start: signs.Unknown, Size: 12224 << 10}, signs.Array{Level: 1, Devices: 2, Position: 1, Events: 1, Active: 2}},
		"e": {12574720, signs.Sign{Start: 12574720, Size: 12224 << 10, Label: "nas:2"}, signs.Array{Level: 1, Devices: 2, Events: 2, Active: 2}},
		"h": {0, signs.Sign{Size: 11 << 20, Label: "nas:3"}, signs.Array{Level: 1, Devices: 2, Position: 1, Data: 1 << 20, Events: 2, Active: 2}},
		"k": {4096, signs.Sign{Start: 4096, Size: 11 << 20, Block: 64 << 10, Label: "nas:4"}, signs.Array{Level: 5, Devices: 3, Position: 2, Data: 1 << 20, Events: 2, Active: 3}},
		"n": {4096, signs.Sign{Start: 4096, Size: 11 << 20, Label: "nas:6"}, signs.Array{Level: 1, Devices: 2, Data: 1 << 20, Active: 1}},
	} {
		f, err := os.Open(c.Disk(disk))
		require.NoError(t, err)
		defer f.Close()
		b := make([]byte, signs.Length)
		_, err = f.ReadAt(b, want.at)
		require.NoError(t, err)
		require.True(t, signs.Maybe(b), disk)
		got := signs.Read(b)
		require.NotNil(t, got, disk)
		if disk != "n" { // examined is the other one
			require.Contains(t, examined, "UUID"+strings.ReplaceAll(got.UUID, "-", ""), disk)
		}
		if want.array.Events == 0 {
			require.Greater(t, got.Array.Events, uint64(3), "it was changed while the other was away")
			want.array.Events = got.Array.Events
		}
		want.sign.Format, want.sign.Checksum, want.sign.UUID, want.sign.Array = "md", valid, got.UUID, &want.array
		require.Equal(t, want.sign, *got, disk)
	}
}
