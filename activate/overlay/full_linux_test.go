package overlay

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
)

// TestFullDisk writes until the disk with the overlay's files is full: what was taken before is
// kept, what was refused reads as before or as written, sector by sector, and when there is room
// again the overlay goes on.
func TestFullDisk(t *testing.T) {
	const size = 4 << 20
	dev, now := base(t, size)
	dir, grow := fixtures.SmallDisk(t, 1<<20)
	rnd := rand.New(rand.NewPCG(4, 2))
	o := open(t, dir, dev)
	may := map[int64][]byte{} // what a write that failed would have left, by sector
	failed := 0
	for range 400 {
		n := (1 + rnd.Int64N(64)) * sector
		off := rnd.Int64N((size-n)/sector) * sector
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		_, err := o.WriteAt(p, off)
		for s := int64(0); s < n; s += sector {
			switch {
			case err == nil:
				delete(may, off+s)
				copy(now[off+s:], p[s:s+sector])
			default:
				may[off+s] = append(may[off+s], p[s:s+sector]...)
			}
		}
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			failed++
		}
	}
	require.Greater(t, failed, 50)
	check := func() {
		t.Helper()
		got := make([]byte, size)
		_, err := o.ReadAt(got, 0)
		require.NoError(t, err)
		for s := int64(0); s < size; s += sector {
			at := got[s : s+sector]
			ok := bytes.Equal(at, now[s:s+sector])
			for may := may[s]; len(may) > 0 && !ok; may = may[sector:] {
				ok = bytes.Equal(at, may[:sector])
			}
			require.True(t, ok, "the sector at %d", s)
		}
	}
	check()
	require.ErrorIs(t, o.Sync(), syscall.ENOSPC, "there is no room for the bits")
	check()
	grow(16 << 20)
	require.NoError(t, o.Sync())
	crash(o)
	o = open(t, dir, dev)
	check()
	_, err := o.ReadAt(now, 0)
	require.NoError(t, err)
	clear(now[:sector])
	_, err = o.WriteAt(now, 0)
	require.NoError(t, err)
	require.NoError(t, o.Close())
	o = open(t, dir, dev)
	requireAll(t, o, now)
	require.NoError(t, o.Close())
}
