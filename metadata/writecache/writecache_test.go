package writecache_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata/writecache"
)

const (
	realSize   = 2 << 20 // of the cache that testdata/head.bin is from
	realOrigin = 3 << 20
)

// realCache is a cache with blocks of 4096 bytes as a power cut left it: superblock and 509
// entries by the kernel, no content.
func realCache(t testing.TB) []byte {
	t.Helper()
	head, err := os.ReadFile("testdata/head.bin")
	require.NoError(t, err)
	return append(head, make([]byte, realSize-len(head))...)
}

func read(b []byte, origin int64) (*writecache.Map, error) {
	return writecache.Read(bytes.NewReader(b), int64(len(b)), origin)
}

func TestRealCache(t *testing.T) {
	m, err := read(realCache(t), realOrigin)
	require.NoError(t, err)
	require.NoError(t, m.Err)
	require.Equal(t, int64(4096), m.BlockSize)
	require.Equal(t, int64(509), m.Blocks)
	require.Equal(t, int64(12288), m.DataOffset())
	require.Zero(t, m.Uncommitted)
	require.Len(t, m.Entries, 156, "blocks 100-249 and 762-767 were written")
	for i, e := range m.Entries {
		want := int64(100 + i)
		if i >= 150 {
			want = int64(762 + i - 150)
		}
		require.Equal(t, want, e.Block)
		require.Less(t, e.Seq, m.Seq)
	}
}

type entry struct{ sector, seq uint64 }

// device makes a cache of 4 blocks of 1024 bytes at sequence 10.
func device(entries ...entry) []byte {
	b := make([]byte, 8192)
	le := binary.LittleEndian
	le.PutUint32(b, 0x23489321)
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[8:], 1024)
	le.PutUint64(b[16:], 4)
	le.PutUint64(b[24:], 10)
	for i := range 4 {
		e := entry{math.MaxUint64, math.MaxUint64}
		if i < len(entries) {
			e = entries[i]
		}
		le.PutUint64(b[64+16*i:], e.sector)
		le.PutUint64(b[72+16*i:], e.seq)
	}
	return b
}

func TestEntries(t *testing.T) {
	for _, c := range []struct {
		name        string
		entries     []entry
		want        []writecache.Entry
		uncommitted int64
		err         string
	}{
		{name: "none"},
		{name: "sorted by block", entries: []entry{{8, 1}, {2, 9}}, want: []writecache.Entry{{Block: 1, Index: 1, Seq: 9}, {Block: 4, Index: 0, Seq: 1}}},
		{name: "not committed", entries: []entry{{8, 10}, {2, 10}, {4, 9}}, want: []writecache.Entry{{Block: 2, Index: 2, Seq: 9}}, uncommitted: 2},
		{name: "from the future", entries: []entry{{8, 11}, {2, 9}}, want: []writecache.Entry{{Block: 1, Index: 1, Seq: 9}}, err: "entry 0 (byte 64).seq_count is 11, the cache is at 10"},
		{name: "the newest of one block", entries: []entry{{8, 3}, {8, 5}, {8, 4}}, want: []writecache.Entry{{Block: 4, Index: 1, Seq: 5}}},
		{name: "one not committed does not hide an older one", entries: []entry{{8, 3}, {8, 10}}, want: []writecache.Entry{{Block: 4, Index: 0, Seq: 3}}, uncommitted: 1},
		{name: "two of one number", entries: []entry{{8, 3}, {8, 5}, {8, 5}}, want: []writecache.Entry{{Block: 4, Index: writecache.Disputed, Seq: 5}}, err: "two entries are of block 4 with sequence number 5"},
		{name: "two old ones of one number", entries: []entry{{8, 3}, {8, 5}, {8, 3}}, want: []writecache.Entry{{Block: 4, Index: 1, Seq: 5}}, err: "sequence number 3"},
		{name: "the last block", entries: []entry{{18, 1}}, want: []writecache.Entry{{Block: 9, Index: 0, Seq: 1}}},
		{name: "behind the last block", entries: []entry{{20, 1}, {2, 1}}, want: []writecache.Entry{{Block: 1, Index: 1, Seq: 1}}, err: "entry 0 (byte 64).original_sector is 20, no block of an origin of 10240 bytes"},
		{name: "within a block", entries: []entry{{3, 1}}, err: "original_sector is 3"},
		{name: "far behind", entries: []entry{{math.MaxUint64 - 1, 1}}, err: "original_sector is 18446744073709551614"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := read(device(c.entries...), 10240)
			require.NoError(t, err)
			require.Equal(t, c.uncommitted, m.Uncommitted)
			require.Equal(t, c.want, append([]writecache.Entry(nil), m.Entries...))
			if c.err == "" {
				require.NoError(t, m.Err)
			} else {
				require.ErrorContains(t, m.Err, c.err)
			}
		})
	}
	m, err := read(device(entry{0, 1}), 512)
	require.NoError(t, err)
	require.ErrorContains(t, m.Err, "no block of an origin of 512 bytes")
}

func TestSuperblockDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte)
		err    string
	}{
		{"zeros", func(b []byte) { clear(b) }, writecache.ErrEmpty.Error()},
		{"magic", func(b []byte) { b[0]++ }, "wc_memory_superblock.magic at byte 0: magic is 0x23489322"},
		{"magic lost", func(b []byte) { clear(b[:4]) }, "magic is 0x00000000"},
		{"version", func(b []byte) { b[4] = 2 }, "version is 2, expected 1"},
		{"blocks of no size", func(b []byte) { clear(b[8:12]) }, "blocks have 0 bytes"},
		{"blocks of an odd size", func(b []byte) { b[8] = 1 }, "blocks have 1025 bytes"},
		{"more blocks than fit", func(b []byte) { b[16] = 8 }, "8 blocks of 1024 bytes and their entries are more"},
		{"many more blocks than fit", func(b []byte) { b[23] = 0xff }, "are more than the 8192 bytes of the cache"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := device()
			c.change(b)
			_, err := read(b, 10240)
			require.ErrorContains(t, err, c.err)
		})
	}
	_, err := read(nil, 10240)
	require.ErrorIs(t, err, io.EOF)
}

// failing cannot be read from a byte on.
type failing struct {
	*bytes.Reader
	from int64
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.Reader.ReadAt(p[:min(int64(len(p)), max(f.from-off, 0))], off)
	if n < len(p) {
		err = errors.New("scratched")
	}
	return n, err
}

func TestUnreadableEntriesAreTold(t *testing.T) {
	b := device(entry{2, 1}, entry{4, 1}, entry{6, 1})
	m, err := writecache.Read(failing{bytes.NewReader(b), 64 + 16 + 5}, int64(len(b)), 10240)
	require.NoError(t, err)
	require.Equal(t, []writecache.Entry{{Block: 1, Index: 0, Seq: 1}}, m.Entries)
	require.EqualError(t, m.Err, "entries from 1 on: scratched")
}

// TestManyEntriesOfThreeBlocks has so many that they are thinned out on the way. Two of a
// block have one number; only at the very end one may stand alone.
func TestManyEntriesOfThreeBlocks(t *testing.T) {
	for entries, want := range map[uint64][3]int64{
		200_001: {199_998, 199_999, 200_000},
		200_004: {writecache.Disputed, writecache.Disputed, writecache.Disputed},
	} {
		le := binary.LittleEndian
		b := append(device()[:64], make([]byte, entries*(16+512)+512)...)
		le.PutUint32(b[8:], 512)
		le.PutUint64(b[16:], entries)
		le.PutUint64(b[24:], entries)
		for i := range entries {
			le.PutUint64(b[64+16*i:], i%3)
			le.PutUint64(b[72+16*i:], i/6)
		}
		m, err := read(b, 10240)
		require.NoError(t, err)
		require.ErrorContains(t, m.Err, "two entries are of block 0")
		require.Len(t, m.Entries, 3)
		for block, e := range m.Entries {
			require.Equal(t, writecache.Entry{Block: int64(block), Index: want[block], Seq: (entries - 1) / 6}, e)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(realCache(f)[:12288], int64(realOrigin))
	f.Add(device(entry{8, 1}, entry{8, 1}), int64(10240))
	f.Fuzz(func(t *testing.T, b []byte, origin int64) {
		m, err := read(b, origin)
		if err != nil {
			return
		}
		last := int64(-1)
		for _, e := range m.Entries {
			require.Greater(t, e.Block, last)
			last = e.Block
			require.LessOrEqual(t, (e.Block+1)*m.BlockSize, origin)
			require.Less(t, e.Index, m.Blocks)
		}
		require.LessOrEqual(t, m.DataOffset()+m.Blocks*m.BlockSize, int64(len(b)))
	})
}
