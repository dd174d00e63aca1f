package exstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata"
)

const testChunk = 512 // bytes: 32 exceptions to an area

// testStore makes a store of so many chunks with the given exceptions, old and new in turn.
func testStore(chunks int, exceptions ...uint64) []byte {
	b := make([]byte, chunks*testChunk)
	binary.LittleEndian.PutUint32(b[offMagic:], magic)
	binary.LittleEndian.PutUint32(b[offValid:], 1)
	binary.LittleEndian.PutUint32(b[offVersion:], version)
	binary.LittleEndian.PutUint32(b[offChunkSize:], testChunk/sectorSize)
	for i := 0; i < len(exceptions); i += 2 {
		area, n := i/2/32, i/2%32
		at := AreaOffset(int64(area), testChunk) + int64(n)*exceptionSize
		binary.LittleEndian.PutUint64(b[at:], exceptions[i])
		binary.LittleEndian.PutUint64(b[at+8:], exceptions[i+1])
	}
	return b
}

// fill gives n exceptions: chunk first+i has its copy in the i-th data chunk.
func fill(first uint64, n int) (list []uint64) {
	for next := uint64(2); n > 0; next++ {
		if next%33 != 1 {
			list = append(list, first, next)
			first++
			n--
		}
	}
	return list
}

func TestParseHeader(t *testing.T) {
	for _, c := range []struct {
		name  string
		patch func(b []byte)
		want  Header
		field string
	}{
		{name: "valid", patch: func([]byte) {}, want: Header{Valid: true, ChunkSize: 512}},
		{name: "invalidated", patch: func(b []byte) { b[offValid] = 0 }, want: Header{ChunkSize: 512}},
		{name: "never used", patch: func(b []byte) { clear(b) }, want: Header{New: true, Valid: true}},
		{name: "512 KiB", patch: func(b []byte) { binary.LittleEndian.PutUint32(b[offChunkSize:], 1024) }, want: Header{Valid: true, ChunkSize: 512 << 10}},
		{name: "other magic", patch: func(b []byte) { b[0]++ }, field: "disk_header.magic"},
		{name: "other version", patch: func(b []byte) { b[offVersion] = 2 }, field: "disk_header.version"},
		{name: "chunk size 0", patch: func(b []byte) { b[offChunkSize] = 0 }, field: "disk_header.chunk_size"},
		{name: "chunk size no power of two", patch: func(b []byte) { b[offChunkSize] = 12 }, field: "disk_header.chunk_size"},
		{name: "chunk size beyond the kernel's", patch: func(b []byte) { b[offChunkSize+3] = 0x80 }, field: "disk_header.chunk_size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := testStore(1)
			c.patch(b)
			h, err := ParseHeader(b)
			if c.field == "" {
				require.NoError(t, err)
				require.Equal(t, c.want, h)
				return
			}
			var damage *metadata.DamageError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, c.field, damage.Field)
		})
	}
	_, err := ParseHeader(make([]byte, HeaderSize-1))
	require.ErrorContains(t, err, "15 bytes")
}

func TestReadList(t *testing.T) {
	full := fill(100, 32)
	for _, c := range []struct {
		name       string
		chunks     int
		exceptions []uint64
		want       List
	}{
		{name: "empty", chunks: 40, want: List{Areas: 1}},
		{name: "no room for an area", chunks: 1, want: List{}},
		{
			name: "runs are joined, whatever their order", chunks: 40, exceptions: []uint64{7, 3, 5, 5, 6, 2, 8, 4},
			want: List{Runs: []Run{{5, 5, 1}, {6, 2, 3}}, Exceptions: 4, Areas: 1},
		}, {
			name: "chunks of the store left out", chunks: 40, exceptions: []uint64{7, 3, 5, 9, 6, 2, 8, 4},
			want: List{Runs: []Run{{5, 9, 1}, {6, 2, 3}}, Exceptions: 4, Areas: 1, Conflict: "4 exceptions have copies up to chunk 9 of the store: the kernel leaves no chunk out"},
		}, {
			name: "a full area is followed by another", chunks: 40, exceptions: append(full, 3, 35),
			want: List{Runs: []Run{{3, 35, 1}, {100, 2, 32}}, Exceptions: 33, Areas: 2},
		}, {
			name: "a full area at the end of the store", chunks: 34, exceptions: full,
			want: List{Runs: []Run{{100, 2, 32}}, Exceptions: 32, Areas: 1},
		}, {
			name: "an entry behind the end", chunks: 40, exceptions: []uint64{5, 2, 0, 0, 7, 3},
			want: List{Runs: []Run{{5, 2, 1}}, Exceptions: 1, Areas: 1, Missing: "something stands behind the end of the exception list, at byte 544"},
		}, {
			name: "a copy in an area", chunks: 40, exceptions: []uint64{1, 34, 2, 3},
			want: List{Runs: []Run{{2, 3, 1}}, Exceptions: 1, Areas: 1, Missing: "exception at byte 512: new chunk 34 is none of the 40 that the store has for data"},
		}, {
			name: "a copy beyond the store", chunks: 40, exceptions: []uint64{1, 2, 2, 40},
			want: List{Runs: []Run{{1, 2, 1}}, Exceptions: 1, Areas: 1, Missing: "exception at byte 528: new chunk 40 is none of the 40 that the store has for data"},
		}, {
			name: "a chunk beyond the origin", chunks: 40, exceptions: []uint64{1000, 2},
			want: List{Areas: 1, Missing: "exception at byte 512: old chunk 1000 is beyond the 1000 of the origin"},
		}, {
			name: "numbers beyond all bounds", chunks: 40, exceptions: []uint64{1 << 63, 2, 5, 1 << 63},
			want: List{Areas: 1, Missing: "exception at byte 512: old chunk 9223372036854775808 is beyond the 1000 of the origin"},
		}, {
			name: "two copies of a chunk", chunks: 40, exceptions: []uint64{1, 2, 1, 3},
			want: List{Runs: []Run{{1, 2, 1}}, Exceptions: 2, Areas: 1, Conflict: "chunk 1 of the origin has two copies, in chunks 2 and 3 of the store"},
		}, {
			name: "a copy of two chunks", chunks: 40, exceptions: []uint64{1, 2, 8, 2},
			want: List{Runs: []Run{{1, 2, 1}, {8, 2, 1}}, Exceptions: 2, Areas: 1, Conflict: "chunk 2 of the store is given as the copy of chunk 1 and of chunk 8"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := testStore(c.chunks, c.exceptions...)
			l := ReadList(bytes.NewReader(b), int64(len(b)), testChunk, 1000)
			require.ElementsMatch(t, c.want.Runs, l.Runs)
			require.True(t, slices.IsSortedFunc(l.Runs, func(a, b Run) int { return int(a.Old - b.Old) }))
			c.want.Runs, l.Runs = nil, nil
			require.Equal(t, c.want, *l)
		})
	}
}

// scratched is a store of which some sectors cannot be read.
type scratched struct {
	*bytes.Reader
	bad map[int64]bool
}

func (s scratched) ReadAt(p []byte, off int64) (int, error) {
	for at := off; at < off+int64(len(p)); at += sectorSize {
		if s.bad[at/sectorSize] {
			n, _ := s.Reader.ReadAt(p[:at-off], off)
			return n, errors.New("unreadable")
		}
	}
	return s.Reader.ReadAt(p, off)
}

func TestReadListSalvagesWhatItCan(t *testing.T) {
	const chunk = 4096 // 256 exceptions to an area, 32 to a sector
	read := func(n int, bad ...int64) *List {
		b := make([]byte, 600*chunk)
		for i := range n {
			area := i / 256
			at := AreaOffset(int64(area), chunk) + int64(i%256)*exceptionSize
			binary.LittleEndian.PutUint64(b[at:], uint64(i))
			binary.LittleEndian.PutUint64(b[at+8:], uint64(i+2+area))
		}
		s := scratched{bytes.NewReader(b), map[int64]bool{}}
		for _, at := range bad {
			s.bad[at] = true
		}
		return ReadList(s, int64(len(b)), chunk, 1000)
	}
	whole := read(300)
	require.Equal(t, []Run{{0, 2, 256}, {256, 259, 44}}, whole.Runs)
	require.Empty(t, whole.Missing)

	middle := read(300, 9) // the area begins at sector 8
	require.Equal(t, []Run{{0, 2, 32}, {64, 66, 192}, {256, 259, 44}}, middle.Runs)
	require.Equal(t, "bytes 4608-5119 of the exception list: unreadable", middle.Missing)

	last := read(300, 15) // whether it is full is not known
	require.Equal(t, []Run{{0, 2, 224}}, last.Runs)
	require.NotEmpty(t, last.Missing)

	behind := read(40, 15) // the list ended before
	require.Equal(t, []Run{{0, 2, 40}}, behind.Runs)
	require.Empty(t, behind.Missing)
}

// TestListIsBounded has more runs than are kept: what was read stays right, and what was not is
// told.
func TestListIsBounded(t *testing.T) {
	b := testStore(40, 9, 2, 8, 3, 7, 4, 6, 5, 5, 6)
	r := reader{store: bytes.NewReader(b), size: int64(len(b)), chunkSize: testChunk, chunks: 1000, perArea: 32, most: 3}
	l := r.read()
	require.Equal(t, []Run{{7, 4, 1}, {8, 3, 1}, {9, 2, 1}}, l.Runs)
	require.EqualValues(t, 3, l.Exceptions)
	require.Equal(t, "the exception list has more than 3 runs of chunks, of which the rest is not read: it goes on at byte 560", l.Missing)
	require.Empty(t, l.Conflict)

	b = testStore(40, 5, 2, 6, 3, 7, 4, 8, 5, 9, 6)
	r = reader{store: bytes.NewReader(b), size: int64(len(b)), chunkSize: testChunk, chunks: 1000, perArea: 32, most: 1}
	l = r.read()
	require.Equal(t, []Run{{5, 2, 5}}, l.Runs)
	require.Empty(t, l.Missing)

	r = reader{most: maxRuns, list: List{Runs: make([]Run, manyRuns)}}
	require.True(t, r.add(1, 2))
	require.Equal(t, maxRuns, cap(r.list.Runs))
	require.Less(t, maxRuns*int(unsafe.Sizeof(Run{})), 256<<20)
}

// TestRunsThatContradictEachOther has chunks of the origin in two runs.
func TestRunsThatContradictEachOther(t *testing.T) {
	b := testStore(40, 5, 2, 6, 3, 7, 4, 8, 5, 6, 6, 7, 7, 10, 8, 6, 9)
	l := ReadList(bytes.NewReader(b), int64(len(b)), testChunk, 1000)
	require.Equal(t, []Run{{5, 2, 4}, {10, 8, 1}}, l.Runs)
	require.NotEmpty(t, l.Conflict)
}

func FuzzStore(f *testing.F) {
	f.Add(testStore(40, fill(100, 32)...), int64(1000))
	f.Add(testStore(40, 7, 3, 5, 9, 6, 2, 8, 4), int64(1000))
	f.Add(testStore(4, 1, 1, 1, 2, 1<<63, 3), int64(10))
	f.Fuzz(func(t *testing.T, b []byte, chunks int64) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		size := h.ChunkSize
		if h.New {
			size = testChunk
		}
		chunks = max(chunks, 0)
		l := ReadList(bytes.NewReader(b), int64(len(b)), size, chunks)
		var n, end int64
		for _, r := range l.Runs {
			require.GreaterOrEqual(t, r.Old, end)
			require.Positive(t, r.Len)
			end = r.Old + r.Len
			require.LessOrEqual(t, end, chunks)
			require.LessOrEqual(t, (r.New+r.Len)*size, int64(len(b)))
			n += r.Len
		}
		if l.Conflict == "" {
			require.Equal(t, l.Exceptions, n)
		}
	})
}

func BenchmarkReadList(b *testing.B) {
	store := testStore(1<<20, fill(0, 1000000)...)
	b.SetBytes(1000000 * exceptionSize)
	for b.Loop() {
		if l := ReadList(bytes.NewReader(store), int64(len(store)), testChunk, 1<<20); l.Exceptions != 1000000 {
			b.Fatal(l.Missing)
		}
	}
}
