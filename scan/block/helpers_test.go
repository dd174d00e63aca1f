package block

import (
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// noise returns n bytes that no two places share.
func noise(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(b) // cannot fail
	return b
}

// medium is a device that finds out about its bad sectors only when it is read.
type medium struct {
	data  []byte
	bad   map[int64]bool // by sector number
	reads int            // how many were refused
	err   error          // to fail with, when it is no BadRangeError
}

func (m *medium) Size() int64 { return int64(len(m.data)) }

func (m *medium) ReadAt(p []byte, off int64) (int, error) {
	p, eof := ClipRead(m.Size(), p, off)
	if len(p) == 0 {
		return 0, eof
	}
	if m.err != nil {
		return 0, m.err
	}
	for s := off / SectorSize; s*SectorSize < off+int64(len(p)); s++ {
		if m.bad[s] { // as a disk does: nothing of the request
			m.reads++
			return 0, &BadRangeError{Off: off, Len: int64(len(p)), Why: "medium: " + syscall.EIO.Error(), Err: syscall.EIO, Coarse: true}
		}
	}
	return copy(p, m.data[off:]), eof
}

func (m *medium) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		if lo, hi := Clip(m.Size(), off, n); lo < hi {
			yield(Extent{Off: lo, Len: hi - lo})
		}
	}
}

// extents lists what dev says of a range.
func extents(dev Device, off, n int64) []Extent { return slices.Collect(dev.Extents(off, n)) }

// requireContract holds a device against the rules of Device: its extents cover it, and
// reads agree with them.
func requireContract(t *testing.T, dev Device) {
	t.Helper()
	size := dev.Size()
	for _, r := range [][2]int64{{0, size}, {1, size}, {-5, 9}, {size - 1, 1 << 62}, {size, 1}, {size / 3, size / 3}, {size / 2, 1}} {
		lo, hi := Clip(size, r[0], r[1])
		for e := range dev.Extents(r[0], r[1]) {
			require.Equal(t, lo, e.Off, "extents of %v are ordered and gapless", r)
			require.Positive(t, e.Len)
			lo = e.End()
			requireRead(t, dev, e)
		}
		require.Equal(t, hi, lo, "extents of %v end where the range does", r)
	}
	p := make([]byte, 8)
	n, err := dev.ReadAt(p, size)
	require.Zero(t, n)
	require.Equal(t, io.EOF, err)
	_, err = dev.ReadAt(p, -1)
	require.Error(t, err)
}

func requireRead(t *testing.T, dev Device, e Extent) {
	t.Helper()
	p := make([]byte, e.Len)
	n, err := dev.ReadAt(p, e.Off)
	if e.State == Bad {
		var bad *BadRangeError
		require.ErrorAs(t, err, &bad, "a bad range is not read")
		require.Zero(t, n)
		require.Equal(t, e.Off, bad.Off)
		require.Equal(t, e.Why, bad.Why)
		require.NotEmpty(t, e.Why)
		return
	}
	if !errors.Is(err, io.EOF) {
		require.NoError(t, err)
	}
	require.Len(t, p, n)
	if e.State == Zero {
		require.Equal(t, make([]byte, n), p)
	}
}
