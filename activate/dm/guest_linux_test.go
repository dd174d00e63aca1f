//go:build guest

package dm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/scan/block"
)

// These tests run as root in the lab's VM, which fixtures/vmtest boots.

// inGuest lists corpora of every kind that the kernel has a target for, and some of those that
// come to linear lines, which TestCorporaComeToTheBytesOfUserSpace compares without a kernel:
// the machine is slow.
var inGuest = []string{
	"linear", "partitions", "sizes", "zero-error", "thin", "stacked",
	"raid-levels", "raid-stale", "integrity", "integrity-journal", "integrity-tags",
}

// maxHashed is how many bytes of an LV are hashed, which is slow under emulation. Larger ones
// are compared with what user space reads, which other tests hold against the same hash.
const maxHashed = 8 << 20

// TestGuestCorpora activates every LV of corpora and compares what the kernel reads
// with user space, and with the hash from when LVM itself had it active.
func TestGuestCorpora(t *testing.T) {
	for _, name := range inGuest {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			before := sums(t, c.Paths())
			h := opened(t)
			for _, p := range plans(t, c.Paths(), nil) {
				golden, ok := c.Golden[shownName(p.plan)]
				if !ok {
					golden = c.Golden[p.plan.VG.Meta.ID.String()+"/"+p.plan.LV.Name]
				}
				t.Run(p.plan.LV.Name, func(t *testing.T) {
					s, _ := compiled(t, p.plan)
					if s == nil { // TestCorporaComeToTheBytesOfUserSpace says why
						return
					}
					hash := check(t, h, s, p.dev)
					if totals := block.Summarise(p.dev); totals.Whole() && hash != "" && golden.Note == "" && golden.Size > 0 {
						require.Equal(t, hex.EncodeToString(golden.SHA256[:]), hash)
					}
				})
			}
			require.NoError(t, h.Close())
			require.Equal(t, before, sums(t, c.Paths()), "sources must not change")
		})
	}
	nothingLeft(t)
}

// opened is a Host that the test closes.
func opened(t *testing.T) *Host {
	t.Helper()
	h, err := Open()
	require.NoError(t, err)
	return h
}

// check activates an LV, compares it, and takes it down.
func check(t *testing.T, h *Host, s *Stack, dev block.Device) (hash string) {
	t.Helper()
	require.NoError(t, h.Activate(s, Record{}))
	hash = compare(t, "/dev/mapper/"+s.Top().Name, dev)
	active, err := h.Active()
	require.NoError(t, err)
	require.Len(t, active, 1)
	require.True(t, active[0].Complete)
	require.NoError(t, h.Deactivate(active[0]))
	return hash
}

// aligned is a buffer for direct reads.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % 4096)
	return b[skip : skip+n]
}

// compare reads a device in full. Where user space has bytes it must have the same, where
// user space has none each sector must be an error. It gives the hash of a small device.
func compare(t *testing.T, path string, want block.Device) string {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	require.NoError(t, err)
	require.Equal(t, want.Size(), size)
	h := sha256.New()
	buf, wanted := aligned(1<<20), make([]byte, 1<<20)
	for e := range states(want) {
		lo, hi := boundary(e.Off, e.State == block.Bad), boundary(e.End(), e.State != block.Bad)
		if e.State == block.Bad {
			for off := lo; off < hi; off += block.SectorSize {
				if off == lo+16*block.SectorSize && hi-off > 32*block.SectorSize { // not each of many
					off = hi - 16*block.SectorSize
				}
				_, err := f.ReadAt(buf[:block.SectorSize], off)
				require.ErrorIs(t, err, unix.EIO, "byte %d is lost: %s", off, e.Why)
			}
			continue
		}
		for off := lo; off < hi; {
			n := int(min(int64(len(buf)), hi-off))
			_, err := f.ReadAt(buf[:n], off)
			require.NoError(t, err, "%d bytes at %d of %s", n, off, path)
			_, err = want.ReadAt(wanted[:n], off)
			require.NoError(t, err)
			require.True(t, bytes.Equal(wanted[:n], buf[:n]), "%d bytes at %d of %s differ", n, off, path)
			if size <= maxHashed {
				h.Write(buf[:n])
			}
			off += int64(n)
		}
	}
	if size > maxHashed {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sums hashes what is not a hole in each file.
func sums(t testing.TB, paths []string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, path := range paths {
		f, err := block.Open(path)
		require.NoError(t, err)
		h := sha256.New()
		for e := range f.Extents(0, f.Size()) {
			fmt.Fprintln(h, e)
			if e.State == block.Data {
				_, err := io.Copy(h, io.NewSectionReader(f, e.Off, e.Len))
				require.NoError(t, err)
			}
		}
		info, err := os.Stat(path)
		require.NoError(t, err)
		list[path] = fmt.Sprintf("%x %v %d", h.Sum(nil), info.ModTime(), f.Size())
		require.NoError(t, f.Close())
	}
	return list
}

// nothingLeft makes sure that no device, node, loop device or file of ours is there.
func nothingLeft(t *testing.T) {
	t.Helper()
	h := opened(t)
	defer h.Close()
	for _, i := range h.known {
		require.False(t, strings.HasPrefix(i.uuid, UUIDPrefix), "device %s is left", i.name)
	}
	for pattern, but := range map[string]string{
		"/dev/mapper/" + NamePrefix + "*":    "",
		runDir + "/*":                        runDir + "/lock",
		"/sys/block/loop*/loop/backing_file": "",
	} {
		left, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range left {
			require.Equal(t, but, path, "left behind")
		}
	}
}
