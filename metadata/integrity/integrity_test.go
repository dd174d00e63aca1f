package integrity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata"
)

// testSuperblock is that of 1 MiB of data in blocks of 512 bytes with tags of 4.
func testSuperblock(sections uint32) []byte {
	b := make([]byte, sectorSize)
	copy(b, magic)
	b[offVersion] = 2
	binary.LittleEndian.PutUint16(b[offTagSize:], 4)
	binary.LittleEndian.PutUint32(b[offSections:], sections)
	binary.LittleEndian.PutUint64(b[offDataSectors:], 2048)
	return b
}

func TestParseSuperblock(t *testing.T) {
	le := binary.LittleEndian
	plain := Superblock{TagSize: 4, BlockSize: 512, DataSize: 1 << 20, Sections: 3, BitSize: 512, Tagged: 1 << 20}
	for _, c := range []struct {
		name  string
		patch func(b []byte)
		want  func(s *Superblock)
		field string
	}{
		{name: "plain", patch: func([]byte) {}, want: func(*Superblock) {}},
		{name: "blocks of 4096", patch: func(b []byte) { b[offLog2Block] = 3 }, want: func(s *Superblock) { s.BlockSize, s.BitSize = 4096, 4096 }},
		{
			name:  "bitmap",
			patch: func(b []byte) { b[offVersion], b[offFlags], b[offLog2PerBit] = 3, flagDirtyBitmap, 5 },
			want:  func(s *Superblock) { s.DirtyBitmap, s.BitSize = true, 16384 },
		}, {
			name:  "tags being calculated",
			patch: func(b []byte) { b[offFlags] = flagRecalculating; le.PutUint64(b[offRecalculated:], 100) },
			want:  func(s *Superblock) { s.Tagged = 51200 },
		}, {
			name:  "tags calculated up to the end",
			patch: func(b []byte) { b[offFlags] = flagRecalculating; le.PutUint64(b[offRecalculated:], 1<<60) },
			want:  func(*Superblock) {},
		},
		{name: "other magic", patch: func(b []byte) { b[7] = 1 }, field: "superblock.magic"},
		{name: "version 0", patch: func(b []byte) { b[offVersion] = 0 }, field: "superblock.version"},
		{name: "inline tags", patch: func(b []byte) { b[offVersion] = 6 }, field: "superblock.version"},
		{name: "journal with a MAC", patch: func(b []byte) { b[offFlags] = flagJournalMAC }, field: "superblock.flags"},
		{name: "no tags", patch: func(b []byte) { b[offTagSize] = 0 }, field: "superblock.integrity_tag_size"},
		{name: "huge tags", patch: func(b []byte) { b[offTagSize] = 65 }, field: "superblock.integrity_tag_size"},
		{name: "huge blocks", patch: func(b []byte) { b[offLog2Block] = 4 }, field: "superblock.log2_sectors_per_block"},
		{name: "huge bits", patch: func(b []byte) { b[offLog2PerBit] = 33 }, field: "superblock.log2_blocks_per_bitmap_bit"},
		{name: "no data", patch: func(b []byte) { le.PutUint64(b[offDataSectors:], 0) }, field: "superblock.provided_data_sectors"},
		{name: "more data than there can be", patch: func(b []byte) { b[offDataSectors+7] = 1 }, field: "superblock.provided_data_sectors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := testSuperblock(3)
			c.patch(b)
			s, err := ParseSuperblock(b)
			if c.field == "" {
				want := plain
				c.want(&want)
				require.NoError(t, err)
				require.Equal(t, want, s)
				return
			}
			var damage *metadata.DamageError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, c.field, damage.Field)
		})
	}
	_, err := ParseSuperblock(make([]byte, SuperblockSize-1))
	require.ErrorContains(t, err, "63 bytes")
}

// TestLayout has the numbers that the kernel prints: journal_sectors of dmsetup table.
func TestLayout(t *testing.T) {
	for _, c := range []struct{ blockSize, sectionSectors int64 }{{512, 176}, {4096, 392}} {
		s := Superblock{TagSize: 4, BlockSize: c.blockSize, DataSize: 1 << 20, Sections: 1}
		require.Equal(t, c.sectionSectors*sectorSize, s.sectionSize())
		require.Equal(t, (8+c.sectionSectors)*sectorSize+4*3, s.TagOffset(3))
		require.Equal(t, s.TagOffset(1<<20/c.blockSize), s.MetadataSize())
	}
	s := Superblock{BitSize: 1 << 20}
	at, mask := s.BitOffset(10<<20 + 5)
	require.Equal(t, int64(journalOffset+1), at)
	require.Equal(t, byte(1<<2), mask)
}

func TestMatches(t *testing.T) {
	s := Superblock{TagSize: 4, BlockSize: 512}
	data := bytes.Repeat([]byte("lvm!"), 128)
	sum := crc32.Checksum(append(binary.LittleEndian.AppendUint64(nil, 7), data...), castagnoli)
	tag := binary.LittleEndian.AppendUint32(nil, sum)
	require.True(t, s.Matches(tag, data, 7*512))
	require.False(t, s.Matches(tag, data, 8*512), "another place")
	require.True(t, s.Matches([]byte{discarded, discarded, discarded, discarded}, data, 0))
	require.False(t, s.Matches(append([]byte{discarded}, tag[1:]...), data, 7*512), "only begins like a discarded one")
	require.True(t, s.Matches(append(tag, 0, 0), data, 7*512), "longer tags end in zeros")
	require.False(t, s.Matches([]byte{0x81, 0x88, 0xe8, 0x9c}, data, 7*512), "no valid UTF-8 either")
	data[511]++
	require.False(t, s.Matches(tag, data, 7*512))
}

// writer keeps a journal as the kernel does: it fills section after section, and begins a
// new round when it has come to the end.
type writer struct {
	Superblock
	device  []byte
	section int64
	round   int
	commits []commit
}

// commit is what one section holds.
type commit struct {
	section int64
	sectors []int64
	content byte
}

func newWriter(sections uint32) *writer {
	s, err := ParseSuperblock(testSuperblock(sections))
	if err != nil {
		panic(err)
	}
	w := &writer{Superblock: s, device: make([]byte, s.MetadataSize())}
	copy(w.device, testSuperblock(sections))
	w.round = 2 // a fresh journal is formatted with this one
	for w.section = range s.Sections {
		w.write(commit{section: w.section}, s.sectionSize()/sectorSize)
	}
	w.section, w.round = 0, 3
	return w
}

// write puts the first sectors of a section down.
func (w *writer) write(c commit, sectors int64) {
	b := make([]byte, w.sectionSize())
	for n := range w.sectionEntries() {
		at := n%entrySectors*sectorSize + n/entrySectors*w.entrySize()
		binary.LittleEndian.PutUint64(b[at:], 1<<64-1)
		if n < int64(len(c.sectors)) {
			data := bytes.Repeat([]byte{c.content}, sectorSize)
			binary.LittleEndian.PutUint64(b[at:], uint64(c.sectors[n]))
			copy(b[at+8:at+16], data)
			b[at+16] = c.content // for a tag
			copy(b[entrySectors*sectorSize+n*sectorSize:], data)
		}
	}
	for i := range int64(len(b)) / sectorSize {
		id := uint64(0x1111111111111111)*uint64(w.round+1) ^ (uint64(c.section)<<32 ^ uint64(i))
		binary.LittleEndian.PutUint64(b[(i+1)*sectorSize-8:], id)
	}
	copy(w.device[journalOffset+c.section*w.sectionSize():], b[:sectors*sectorSize])
}

// commit writes a section with the given data sectors, all of one content; of a torn one
// only the first sectors reach the disk.
func (w *writer) commit(content byte, torn bool, sectors ...int64) {
	c := commit{w.section, sectors, content}
	if torn {
		w.write(c, w.sectionSize()/sectorSize/2)
	} else {
		w.write(c, w.sectionSize()/sectorSize)
		w.commits = append(w.commits, c)
	}
	if w.section++; w.section == w.Sections {
		w.section, w.round = 0, (w.round+1)%rounds
	}
}

// want is what must be replayed: of all sections that are whole, the newest content of each
// data sector. A torn section has lost what was there before.
func (w *writer) want(torn bool) map[int64]byte {
	keep := int(w.Sections)
	if torn {
		keep--
	}
	want := map[int64]byte{}
	for _, c := range w.commits[max(0, len(w.commits)-keep):] {
		for _, s := range c.sectors {
			want[s*sectorSize] = c.content
		}
	}
	return want
}

func TestReadJournal(t *testing.T) {
	for _, sections := range []uint32{1, 2, 3, 5} {
		for commits := range 5*sections + 1 {
			for _, torn := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d sections, %d commits, torn %v", sections, commits, torn), func(t *testing.T) {
					w := newWriter(sections)
					for i := range commits {
						w.commit(byte(i+1), false, 7, 100+int64(i), 100+int64(i)/2, 2047)
					}
					if torn {
						w.commit(99, true, 7, 8, 9)
					}
					entries, err := w.ReadJournal(bytes.NewReader(w.device))
					require.NoError(t, err)
					got := map[int64]byte{}
					last := int64(-1)
					for _, e := range entries {
						require.Greater(t, e.Off, last)
						last = e.Off
						block := bytes.Clone(w.device[e.At : e.At+w.BlockSize])
						e.Restore(block)
						require.Equal(t, bytes.Repeat(block[:1], 512), block)
						require.Equal(t, []byte{block[0], 0, 0, 0}, e.Tag)
						got[e.Off] = block[0]
					}
					require.Equal(t, w.want(torn), got)
				})
			}
		}
	}
}

func TestReadJournalDamaged(t *testing.T) {
	made := func() *writer {
		w := newWriter(3)
		w.commit(1, false, 5)
		w.commit(2, false, 5, 1<<40, 2048, 6)
		return w
	}
	w := made()
	entries, err := w.ReadJournal(bytes.NewReader(w.device))
	require.NoError(t, err)
	require.Len(t, entries, 2, "sectors beyond the data do not count")

	w.device[journalOffset+w.sectionSize()-1]++
	_, err = w.ReadJournal(bytes.NewReader(w.device))
	var damage *metadata.DamageError
	require.ErrorAs(t, err, &damage)
	require.Equal(t, journalOffset+w.sectionSize()-8, damage.Offset)

	w = made()
	_, err = w.ReadJournal(bytes.NewReader(w.device[:journalOffset+2*w.sectionSize()]))
	require.ErrorContains(t, err, "section 2 of the journal")

	w.Sections = maxJournal
	_, err = w.ReadJournal(failing{})
	require.ErrorContains(t, err, "a journal of 268435456 sections")
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("must not be read") }

func FuzzMetadata(f *testing.F) {
	for _, sections := range []uint32{1, 3} {
		w := newWriter(sections)
		f.Add(w.device)
		among := bytes.Clone(w.device)
		among[offInterleave] = 3
		binary.LittleEndian.PutUint64(among[offDataSectors:], 1<<53)
		f.Add(among)
		for i := range 4 * int64(sections) {
			w.commit(byte(i), false, i, 7)
		}
		f.Add(w.device)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSuperblock(b)
		if err != nil {
			return
		}
		require.Positive(t, s.MetadataSize())
		require.LessOrEqual(t, s.Tagged, s.DataSize)
		if s.Interleave > 0 {
			first, n := s.DataOffset(0)
			last, _ := s.DataOffset(s.DataSize - 1)
			require.Positive(t, n)
			require.GreaterOrEqual(t, last-first, s.DataSize-1)
			require.Less(t, s.TagOffset((s.DataSize-1)/s.BlockSize), last)
		}
		entries, err := s.ReadJournal(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, e := range entries {
			require.Zero(t, e.Off%s.BlockSize)
			require.Less(t, e.Off, s.DataSize)
			require.LessOrEqual(t, e.At+s.BlockSize, int64(len(b)))
			e.Restore(make([]byte, s.BlockSize))
			require.Len(t, e.Tag, s.TagSize)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	s := Superblock{TagSize: 4, BlockSize: 4096}
	data, tag := make([]byte, 4096), make([]byte, 4)
	b.SetBytes(4096)
	for b.Loop() {
		s.Matches(tag, data, 0)
	}
}
