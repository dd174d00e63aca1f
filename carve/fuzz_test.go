package carve

import (
	"bytes"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/scan/block"
)

// memory is a disk in memory.
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	p, eof := block.ClipRead(m.Size(), p, off)
	return copy(p, m[off:]), eof
}

func (m memory) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		if lo, hi := block.Clip(m.Size(), off, n); lo < hi {
			yield(block.Extent{Off: lo, Len: hi - lo})
		}
	}
}

// searchPieces searches a disk in pieces of so many sectors.
func searchPieces(t testing.TB, disk memory, deep bool, sectors int) (finds []*Find, read int) {
	t.Helper()
	s := &searcher{dev: disk, deep: deep, emit: func(f *Find, text []byte) error {
		read += len(text)
		require.True(t, f.possible())
		require.Equal(t, f.SHA256 == "", text == nil)
		if len(f.Pieces) == 0 {
			require.LessOrEqual(t, f.Offset+f.Length, disk.Size()+sector)
		}
		finds = append(finds, f)
		return nil
	}}
	s.ring = new(atomic.Int64)
	s.ring.Store(maxRings)
	padded := append(bytes.Clone(disk), make([]byte, -len(disk)&(sector-1))...)
	for at := 0; at < len(padded); at += sectors * sector {
		require.NoError(t, s.search(padded[at:min(at+sectors*sector, len(padded))], int64(at)))
	}
	return tidy(finds), read
}

// FuzzSearch searches disks of any content: what is found does not depend on where pieces
// end, and no text is read over and over.
func FuzzSearch(f *testing.F) {
	for _, name := range []string{"linear", "ring-wrapped", "mda-two"} {
		disk, err := os.Open(fixtures.Open(f, name).Paths()[0])
		require.NoError(f, err)
		b := make([]byte, 24<<10)
		_, err = io.ReadFull(disk, b)
		disk.Close()
		require.NoError(f, err)
		f.Add(b, uint8(3), false)
		f.Add(b[3000:9000], uint8(1), true)
	}
	backup := fixtures.Open(f, "linear").Files["backup/vg0"]
	f.Add([]byte(backup), uint8(2), false)
	f.Add([]byte("x"+backup+backup), uint8(2), true)
	f.Add(append(make([]byte, 512), backup[1024:]...), uint8(2), false)
	f.Add([]byte("# Created by lvs\nhints_version: 0.1\nscan:/dev/sda pvid:abc\n"), uint8(1), false)
	names, err := filepath.Glob("../metadata/signs/testdata/*.bin")
	require.NoError(f, err)
	for _, n := range names {
		b, err := os.ReadFile(n)
		require.NoError(f, err)
		f.Add(append(make([]byte, 1024), b...), uint8(5), false)
	}
	f.Fuzz(func(t *testing.T, disk []byte, sectors uint8, deep bool) {
		if len(disk) > 256<<10 {
			return
		}
		whole, read := searchPieces(t, disk, deep, 1024)
		parts, _ := searchPieces(t, disk, deep, int(sectors)+1)
		require.Equal(t, whole, parts)
		require.LessOrEqual(t, read, 64*len(disk)+4096)
		joined, texts := join(whole, func(f *Find) ([]byte, error) { return disk[f.Offset:min(f.End(), int64(len(disk)))], nil })
		for i, j := range joined {
			require.True(t, isVG(texts[i]))
			require.Equal(t, texts[i], gatherPieces(disk, j.Pieces))
		}
	})
}

// gatherPieces reads the places of a text.
func gatherPieces(disk []byte, pieces []Piece) (text []byte) {
	for _, p := range pieces {
		text = append(text, disk[p.Offset:p.Offset+p.Length]...)
	}
	return text
}

// FuzzFinds reads logs of finds of any content.
func FuzzFinds(f *testing.F) {
	dir := f.TempDir()
	search(f, dir, Options{}, fixtures.Open(f, "linear").Paths()[0])
	logs, err := filepath.Glob(filepath.Join(dir, sourcesDir, "*", findsFile))
	require.NoError(f, err)
	log, err := os.ReadFile(logs[0])
	require.NoError(f, err)
	f.Add(log)
	f.Add([]byte("{}\n{\"kind\":\"sign\",\"sign\":{}}\n\n{\"offset\":-1}\n"))
	path := filepath.Join(f.TempDir(), findsFile)
	f.Fuzz(func(t *testing.T, log []byte) {
		require.NoError(t, os.WriteFile(path, log, 0o666))
		finds, _, err := readFinds(path)
		require.NoError(t, err)
		finds = tidy(finds)
		require.NoError(t, writeFinds(path, finds))
		again, damaged, err := readFinds(path)
		require.NoError(t, err)
		require.Zero(t, damaged)
		require.Equal(t, finds, again)
		for _, f := range finds {
			if f.Sign != nil {
				f.sign()
			}
			f.words()
		}
	})
}

// BenchmarkSearch is the loop that everything waits for, on content of several kinds.
func BenchmarkSearch(b *testing.B) {
	source, err := os.ReadFile("surface.go")
	require.NoError(b, err)
	noise := make([]byte, pieceSize)
	for i := range noise {
		noise[i] = byte(i * i >> 7 * (i | 1))
	}
	for name, piece := range map[string][]byte{
		"zeros": make([]byte, pieceSize),
		"noise": noise,
		"text":  bytes.Repeat(source, pieceSize/len(source)+1)[:pieceSize],
		"deep":  noise,
	} {
		b.Run(name, func(b *testing.B) {
			s := &searcher{dev: memory(piece), deep: name == "deep", emit: func(*Find, []byte) error { return nil }}
			b.SetBytes(pieceSize)
			for b.Loop() {
				if err := s.search(piece, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzTextSectors looks at sectors of text: the search, which passes over most by few of
// their bytes, takes none for something else than all of their bytes say.
func FuzzTextSectors(f *testing.F) {
	backup := fixtures.Open(f, "linear").Files["backup/vg0"]
	section := backup[strings.Index(backup, "vg0 {\n"):]
	for _, text := range []string{backup, section} {
		for at := 0; at < len(text); at += 64 {
			f.Add([]byte(text[at:min(at+sector, len(text))]))
		}
	}
	for _, s := range []string{"\n}\t # x\n\n a = 1\n", "\nx = [\n\"a\", 1\n]\n", "\n]\npe_start = 1\ny {\n", "\n\n\npv = \x00", "\na b\n", "\nx =\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b := make([]byte, sector)
		copy(b, text)
		want := Kind("")
		switch {
		case beginsText(b):
			want = Text
		case fragmentStart(b):
			want = Fragment
		}
		require.Equal(t, want, kindOf(b))
	})
}
