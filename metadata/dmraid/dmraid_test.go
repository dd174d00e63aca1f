package dmraid

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
)

// rmetas finds the metadata LVs on the disks of a corpus by their magic: 8 KiB of each.
func rmetas(t testing.TB, corpus string) (found [][]byte) {
	for _, disk := range fixtures.Open(t, corpus).Disks {
		b, err := os.ReadFile(disk.Path)
		require.NoError(t, err)
		for at := 0; at+8192 <= len(b); at += 4096 {
			if binary.LittleEndian.Uint32(b[at:]) == superblockMagic {
				found = append(found, b[at:at+8192])
			}
		}
	}
	require.NotEmpty(t, found)
	return found
}

func TestSuperblocksOfTheKernel(t *testing.T) {
	levels := map[string]int{}
	for _, b := range rmetas(t, "raid-levels") {
		s, problems, err := ReadSuperblock(b)
		require.NoError(t, err)
		require.Empty(t, problems)
		require.True(t, s.Failed.Empty())
		require.Equal(t, int64(Whole), s.RecoveryOffset)
		require.Nil(t, s.Reshape)
		require.Less(t, s.Position, s.Layout.Devices)
		require.Zero(t, s.DataOffset)
		levels[s.Layout.Name()]++
		if s.Layout.Level == 0 {
			continue
		}
		require.Equal(t, int64(Whole), s.ResyncOffset)
		bits, err := ReadBitmap(bytes.NewReader(b))
		require.NoError(t, err)
		require.False(t, bits.Stale)
		require.Equal(t, int64(64<<10), bits.Region)
		require.GreaterOrEqual(t, bits.Events, s.Events)
		for lo, hi := range bits.Dirty() {
			require.Fail(t, "dirty", "%d-%d of a clean array", lo, hi)
		}
	}
	for _, n := range names {
		if n.name != "raid0" && n.name != "raid5" && n.name != "raid6" && n.name != "raid0_meta" {
			require.Positive(t, levels[n.name], n.name)
		}
	}
	require.Positive(t, levels["raid10"])
}

// sample is a superblock of raid5 over 3 devices in which the test can change a field.
func sample(change func(b []byte)) []byte {
	b := make([]byte, SuperblockSize)
	le := binary.LittleEndian
	le.PutUint32(b, superblockMagic)
	le.PutUint32(b[offCompat:], extended)
	le.PutUint32(b[offDevices:], 3)
	le.PutUint32(b[offPosition:], 1)
	le.PutUint64(b[offEvents:], 7)
	le.PutUint64(b[offRecovery:], maxSector)
	le.PutUint64(b[offResync:], maxSector)
	le.PutUint32(b[offLevel:], 5)
	le.PutUint32(b[offLayout:], leftSymmetric)
	le.PutUint32(b[offChunk:], 32)
	change(b)
	return b
}

func put32(off int, v uint32) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint32(b[off:], v) }
}

func put64(off int, v uint64) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint64(b[off:], v) }
}

func TestSuperblockRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]byte)
		field  string
	}{
		{"compat", put32(offCompat, 2), "compat_features"},
		{"incompat", put32(offIncompat, 1), "incompat_features"},
		{"no devices", put32(offDevices, 0), "num_devices"},
		{"too many devices", put32(offDevices, math.MaxUint32), "num_devices"},
		{"position", put32(offPosition, maxDevices), "array_position"},
		{"level", put32(offLevel, 7), "level"},
		{"layout", put32(offLayout, 9), "layout"},
		{"chunk", put32(offChunk, 0), "stripe_sectors"},
		{"too few devices", put32(offDevices, 1), "num_devices"},
		{"more copies than devices", func(b []byte) {
			put32(offLevel, 10)(b)
			put32(offLayout, 0x203)(b)
			put32(offDevices, 4)(b)
		}, "layout"},
		{"a set of devices that is none", func(b []byte) {
			put32(offLevel, 10)(b)
			put32(offLayout, 3<<17|0x201)(b)
			put32(offDevices, 4)(b)
		}, "layout"},
		{"far copies on the move", func(b []byte) {
			put32(offLevel, 10)(b)
			put32(offLayout, 0x201)(b)
			put32(offDevices, 4)(b)
			put32(offFlags, flagReshapeActive)(b)
		}, "new_layout"},
		{"delta", func(b []byte) {
			put32(offFlags, flagReshapeActive)(b)
			put32(offDelta, 1000)(b)
		}, "delta_disks"},
		{"new chunk", put32(offFlags, flagReshapeActive), "stripe_sectors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := ReadSuperblock(sample(c.change))
			var damage *metadata.DamageError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, c.field, damage.Field)
		})
	}
	_, _, err := ReadSuperblock(make([]byte, SuperblockSize))
	require.ErrorIs(t, err, ErrNoSuperblock)
	_, _, err = ReadSuperblock(sample(put32(0, 0))[:10])
	require.ErrorIs(t, err, ErrNoSuperblock)
}

func TestSuperblockFields(t *testing.T) {
	s, problems, err := ReadSuperblock(sample(func(b []byte) {
		put32(offFlags, flagReshapeActive)(b)
		put32(offDelta, math.MaxUint32)(b) // -1
		put64(offReshapePosition, 100)(b)
		put64(offNewDataOffset, 2048)(b)
		put32(offNewLevel, 5)(b)
		put32(offNewLayout, rightSymmetric)(b)
		put32(offNewChunk, 64)(b)
		put64(offFailed, 1<<2)(b)
		put64(offFailedExtended, 1)(b)
		put64(offRecovery, 1<<60)(b)
	}))
	require.NoError(t, err)
	require.Equal(t, Layout{5, leftSymmetric, 4, 16384}, s.Layout)
	require.Equal(t, &Reshape{Layout{5, rightSymmetric, 3, 32768}, 1 << 20, 51200, true}, s.Reshape)
	require.True(t, s.Failed.Has(2) && s.Failed.Has(64) && !s.Failed.Has(3) && !s.Failed.Has(-1) && !s.Failed.Has(256))
	require.Zero(t, s.RecoveryOffset)
	require.Len(t, problems, 1)
	require.Equal(t, "disk_recovery_offset", problems[0].Field)

	s, _, err = ReadSuperblock(sample(func(b []byte) {
		put32(offCompat, 0)(b)
		put64(offDataOffset, 5)(b)
	}))
	require.NoError(t, err)
	require.Zero(t, s.DataOffset, "without the extension that field means nothing")
}

// bitmapOf is a metadata LV with a bitmap of 64 KiB regions over 20 of them.
func bitmapOf(bits ...byte) []byte {
	b := make([]byte, BitmapOffset+bitmapHeaderSize, 8192)
	h := b[BitmapOffset:]
	put32(0, bitmapMagic)(h)
	put32(offBitmapVersion, 4)(h)
	put64(offBitmapSyncSize, 20*128)(h)
	put32(offBitmapChunk, 64<<10)(h)
	return append(b, bits...)
}

func TestBitmap(t *testing.T) {
	b, err := ReadBitmap(bytes.NewReader(bitmapOf(0b1000_0110, 0xff, 0xf8)))
	require.NoError(t, err)
	var got []int64
	for lo, hi := range b.Dirty() {
		got = append(got, lo>>16, hi>>16)
	}
	require.Equal(t, []int64{1, 3, 7, 16, 19, 20}, got, "bits behind the last region do not count")

	for name, change := range map[string]func([]byte){
		"magic":     put32(0, 1),
		"version":   put32(offBitmapVersion, 9),
		"sync_size": put64(offBitmapSyncSize, 1<<60),
		"chunksize": put32(offBitmapChunk, 1000),
	} {
		m := bitmapOf(0, 0, 0)
		change(m[BitmapOffset:])
		_, err := ReadBitmap(bytes.NewReader(m))
		require.ErrorContains(t, err, "bitmap."+name)
	}
	m := bitmapOf(0, 0, 0)
	put64(offBitmapSyncSize, 1<<50)(m[BitmapOffset:])
	_, err = ReadBitmap(bytes.NewReader(m))
	require.ErrorContains(t, err, "chunksize")
	_, err = ReadBitmap(bytes.NewReader(bitmapOf(0)))
	require.Error(t, err, "cut off")
	_, err = ReadBitmap(bytes.NewReader(nil))
	require.Error(t, err)
}

// TestRowsArePermutations: in every row each device has exactly one job.
func TestRowsArePermutations(t *testing.T) {
	for _, n := range names {
		for devices := least[n.level]; devices < 9; devices++ {
			l, err := LayoutOf(n.name, devices, 0, 4096)
			require.NoError(t, err)
			if l.Level == 1 {
				continue
			}
			for row := range int64(20) {
				r := l.Row(row)
				jobs := map[int]bool{}
				exponents := map[int]bool{}
				for d := range l.Columns() {
					device := r.Device(d)
					jobs[device] = true
					exponents[r.Exponent(device)] = true
					require.Equal(t, d, r.DataOf(device))
				}
				require.Len(t, exponents, l.Columns(), "%s over %d, row %d", n.name, devices, row)
				for _, p := range []int{r.P, r.Q} {
					if p >= 0 {
						jobs[p] = true
						require.Negative(t, r.DataOf(p))
					}
				}
				require.Len(t, jobs, devices, "%s over %d, row %d", n.name, devices, row)
			}
		}
	}
}

func TestLiar(t *testing.T) {
	for _, name := range []string{"raid6_zr", "raid6_nc", "raid6_ls_6", "raid6_n_6"} {
		l, err := LayoutOf(name, 6, 0, 4096)
		require.NoError(t, err)
		for row := range int64(6) {
			r := l.Row(row)
			p, q := make([]byte, 16), make([]byte, 16)
			zero := make([][]byte, 6)
			for i := range zero {
				zero[i] = make([]byte, 16)
			}
			check := func() int {
				r.SyndromeP(p, zero)
				r.SyndromeQ(q, zero)
				return r.Liar(p, q)
			}
			require.Equal(t, -1, check(), "nothing is wrong")
			for d := range zero {
				zero[d][3], zero[d][9] = 0x55, 0x80
				require.Equal(t, d, check())
				zero[(d+1)%6][9] = 1
				require.Equal(t, -1, check(), "two are wrong")
				clear(zero[d])
				clear(zero[(d+1)%6])
			}
		}
	}
}

func FuzzSuperblock(f *testing.F) {
	for _, b := range rmetas(f, "raid-levels") {
		f.Add(b[:SuperblockSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, err := ReadSuperblock(b)
		if err != nil {
			return
		}
		require.NoError(t, s.Layout.Check())
		for _, l := range []Layout{s.Layout, s.Layout} {
			if s.Reshape != nil {
				l = s.Reshape.Layout
			}
			require.GreaterOrEqual(t, l.LegSize(1<<40), int64(0))
			require.Positive(t, l.Columns())
			if l.Copies() == 1 {
				require.GreaterOrEqual(t, l.Row(1<<40).Device(0), 0)
			}
		}
	})
}

func FuzzBitmap(f *testing.F) {
	for _, b := range rmetas(f, "raid-levels")[:4] {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadBitmap(bytes.NewReader(b))
		if err != nil {
			return
		}
		last := int64(-1)
		for lo, hi := range m.Dirty() {
			require.True(t, last < lo && lo < hi)
			last = hi
		}
	})
}
