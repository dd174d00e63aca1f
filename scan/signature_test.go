package scan

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/scan/block"
)

// requireDoubtful wants nothing of a device to pass for good.
func requireDoubtful(t *testing.T, dev block.Device) {
	t.Helper()
	sum := block.Summarise(dev)
	require.Zero(t, sum.Data+sum.Zero)
	require.NotZero(t, sum.Doubtful)
}

// TestLeftOver puts on a PV what says that its bytes may not be where they seem to be.
func TestLeftOver(t *testing.T) {
	level := func(n uint32, at int) []byte {
		b := append([]byte(mdMagic), make([]byte, 96)...)
		binary.LittleEndian.PutUint32(b[at:], n)
		return b
	}
	const md090Level, md1Level = 28, 72
	table := make([]byte, 66)
	copy(table[4:], "\x83")
	copy(table[8:], "\x00\x08\x00\x00\x00\x08\x00\x00")
	copy(table[64:], "\x55\xaa")

	for name, c := range map[string]struct {
		bytes []byte
		at    func(size int64) int64
		doubt string
	}{
		"nothing":          {nil, fromStart(0), ""},
		"RAID5, 1.0":       {level(5, md1Level), md10, "member of an md array"},
		"RAID0, 0.90":      {level(0, md090Level), md090, "member of an md array"},
		"linear, 1.0":      {level(1<<32-1, md1Level), md10, "member of an md array"},
		"damaged, 1.0":     {level(mdMirror, md1Level), md10, "member of an md array"},
		"damaged, 0.90":    {level(mdMirror, md090Level), md090, "member of an md array"},
		"mirror, 1.2":      {level(mdMirror, md1Level), fromStart(4096), "member of an md array"},
		"qcow":             {[]byte("QFI\xfb"), fromStart(0), "begins as an image of another format"},
		"LUKS":             {[]byte("LUKS\xba\xbe"), fromStart(0), "encrypted with LUKS"},
		"partitioned anew": {table, fromStart(446), "partition table"},
	} {
		t.Run(name, func(t *testing.T) {
			path := fixtures.Open(t, "linear").Disk("a")
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			defer f.Close()
			info, err := f.Stat()
			require.NoError(t, err)
			_, err = f.WriteAt(c.bytes, c.at(info.Size()))
			require.NoError(t, err)
			ev := run(t, Options{}, path)
			require.Len(t, ev.PVs, 1)
			if c.doubt == "" {
				require.Empty(t, ev.PVs[0].Doubt)
				return
			}
			require.Contains(t, ev.PVs[0].Doubt, c.doubt)
		})
	}
}

// TestImageFormats looks for nothing in images that hold a disk's bytes in another order.
func TestImageFormats(t *testing.T) {
	const at = 3 * 512 // where the disk begins in the image
	disk, err := os.ReadFile(fixtures.Open(t, "linear").Disk("a"))
	require.NoError(t, err)
	formats := 0
	for _, sig := range signatures {
		if sig.code != ImageFormat {
			continue
		}
		formats++
		image := make([]byte, len(disk)+at)
		copy(image[at:], disk)
		copy(image[sig.at(0):], sig.magic)
		ev := run(t, Options{History: true}, file(t, t.TempDir(), "image", image))
		require.True(t, ev.Sources[0].Foreign, sig.text)
		require.Empty(t, ev.PVs, sig.text)
		require.Empty(t, ev.Copies, sig.text)
		require.Len(t, ev.Findings, 1, sig.text)
		require.Equal(t, ImageFormat, ev.Findings[0].Code)
	}
	require.Greater(t, formats, 10)
}
