package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

const mib = 1 << 20

// disk is a device whose content follows from its offset, so that any size is at hand and
// a byte at the wrong place is seen. Every fourth 64 KiB is zeros that it does not tell of.
type disk struct {
	size    int64
	refuses []block.Extent // by the medium, when read
	err     error          // what to fail with from errAt on
	errAt   int64
	delay   time.Duration // of a read
}

func (d *disk) Size() int64 { return d.size }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	p, eof := block.ClipRead(d.size, p, off)
	time.Sleep(d.delay)
	if d.err != nil && off+int64(len(p)) > d.errAt {
		return 0, d.err
	}
	for _, e := range d.refuses {
		if off < e.End() && off+int64(len(p)) > e.Off {
			return 0, &block.BadRangeError{Off: off, Len: int64(len(p)), Why: "medium error", Err: syscall.EIO, Coarse: true}
		}
	}
	content(p, off)
	return len(p), eof
}

func (d *disk) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		if lo, hi := block.Clip(d.size, off, n); lo < hi {
			yield(block.Extent{Off: lo, Len: hi - lo})
		}
	}
}

// content is what a disk has at off.
func content(p []byte, off int64) {
	for len(p) > 0 {
		n := min(len(p), int(64<<10-off%(64<<10)))
		part := p[:n]
		if off>>16&3 == 3 {
			clear(part)
		} else {
			words(part, off)
		}
		p, off = p[n:], off+int64(n)
	}
}

// words fills p with words that follow from their place.
func words(p []byte, off int64) {
	var word [8]byte
	for len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], uint64(off>>3+1)*0x9E3779B97F4A7C15)
		n := copy(p, word[off&7:])
		p, off = p[n:], off+int64(n)
	}
}

// marked lays marks over a device.
func marked(t testing.TB, dev block.Device, marks ...block.Extent) block.Device {
	t.Helper()
	dev, err := block.NewOverlay(dev, marks)
	require.NoError(t, err)
	return dev
}

// damaged is a device with everything that can be wrong with one: zeros that it tells of,
// bad ranges, doubtful ones, and sectors that the medium refuses.
func damaged(t testing.TB, size int64) (block.Device, []block.Extent) {
	marks := []block.Extent{
		{Off: 10, Len: 100, State: block.Bad, Why: "scratch"},
		{Off: mib + 512, Len: 512, State: block.Doubtful, Why: "old leg"},
		{Off: 2 * mib, Len: 3 * mib, State: block.Bad, Why: "disk missing"},
	}
	refused := block.Extent{Off: 5*mib + 1024, Len: 512, State: block.Bad, Why: "medium error"}
	return marked(t, &disk{size: size, refuses: []block.Extent{refused}}, marks...), append(marks, refused)
}

// want is the image of size bytes of a disk of which some ranges are lost.
func want(size int64, fill Fill, lost []block.Extent) []byte {
	p := make([]byte, size)
	content(p, 0)
	for _, e := range lost {
		if e.State != block.Bad {
			continue
		}
		clear(p[e.Off:e.End()])
		if fill == FillPattern {
			for i := e.Off; i < e.End(); i++ {
				p[i] = Pattern[i%int64(len(Pattern))]
			}
		}
	}
	return p
}

// output is a name for an image in a directory of its own.
func output(t testing.TB) string { return filepath.Join(t.TempDir(), "lv.img") }

// export runs an export that must work.
func export(t testing.TB, dev block.Device, out string, opts Options) *Summary {
	t.Helper()
	sum, err := Run(context.Background(), dev, out, opts)
	require.NoError(t, err)
	require.NoFileExists(t, out+".part")
	require.NoFileExists(t, out+".part.map")
	return sum
}

// requireImage holds an image against what it ought to be.
func requireImage(t testing.TB, want []byte, path string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	if bytes.Equal(got, want) {
		return
	}
	for i := range got {
		if got[i] != want[i] {
			require.Failf(t, "wrong image", "byte %d of %s is %#x, want %#x", i, path, got[i], want[i])
		}
	}
}

func sha(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// mapOf reads a mapfile's bad and doubtful blocks back as extents without reasons.
func mapOf(t testing.TB, path string, size int64) []block.Extent {
	t.Helper()
	m, err := block.ReadMapfile(path)
	require.NoError(t, err)
	require.Equal(t, size, m.End())
	var list []block.Extent
	for _, b := range m.Blocks {
		switch b.Status {
		case block.BadSector:
			list = append(list, block.Extent{Off: b.Off, Len: b.Len, State: block.Bad})
		case block.NonScraped:
			list = append(list, block.Extent{Off: b.Off, Len: b.Len, State: block.Doubtful})
		default:
			require.Equal(t, block.Finished, b.Status)
		}
	}
	return list
}

// withoutWhy drops the reasons, which a mapfile's blocks do not have.
func withoutWhy(list []block.Extent) []block.Extent {
	list = slices.Clone(list)
	for i := range list {
		list[i].Why = ""
	}
	return list
}

func ddrescuelog(t testing.TB, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("ddrescuelog")
	require.NoError(t, err, "this test needs ddrescuelog: apt-get install gddrescue")
	text, err := exec.Command(tool, args...).CombinedOutput()
	require.NoError(t, err, "ddrescuelog %v: %s", args, text)
	return string(text)
}
