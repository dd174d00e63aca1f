package guess_test

import (
	"bytes"
	"io"
	"iter"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/guess"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// disk is one whose start is in memory, and the rest zeros.
type disk struct {
	start []byte
	size  int64
}

func (d disk) Size() int64 { return d.size }

func (d disk) ReadAt(p []byte, off int64) (int, error) {
	p, eof := block.ClipRead(d.size, p, off)
	clear(p)
	if off < int64(len(d.start)) {
		copy(p, d.start[off:])
	}
	return len(p), eof
}

func (d disk) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		if lo, hi := block.Clip(d.size, off, n); lo < hi {
			yield(block.Extent{Off: lo, Len: hi - lo})
		}
	}
}

// FuzzGuess guesses what stands on disks of any content: the text can be read, whatever it says.
func FuzzGuess(f *testing.F) {
	for _, name := range []string{"raid-levels", "filesystems"} {
		var starts [][]byte
		for _, d := range fixtures.Open(f, name).Disks {
			file, err := os.Open(d.Path)
			require.NoError(f, err)
			b := make([]byte, 192<<10)
			_, err = io.ReadFull(io.NewSectionReader(file, 1<<20, int64(len(b))), b)
			require.NoError(f, err)
			require.NoError(f, file.Close())
			starts = append(starts, b)
		}
		f.Add(starts[0], starts[1], int64(8<<20))
		f.Add(starts[len(starts)-1], starts[0], int64(1<<40))
	}
	f.Fuzz(func(t *testing.T, a, b []byte, size int64) {
		if len(a) > 1<<20 || len(b) > 1<<20 {
			return
		}
		size = min(max(size, 1<<20), 4<<20)
		l := guess.Guess(search(t, disk{a, size}, disk{b, size}))
		var text bytes.Buffer
		require.NoError(t, l.Write(&text))
		parsed, err := metadata.Parse(text.Bytes())
		require.NoError(t, err, "%s", text.Bytes())
		vg, err := metadata.Decode(parsed)
		require.NoError(t, err, "%s", text.Bytes())
		for _, issue := range metadata.Check(vg) {
			require.Equal(t, "overlap", issue.Code, "%s\n%s", issue.Text, text.Bytes())
		}
	})
}

func search(t *testing.T, disks ...block.Device) (found []*scan.Sign) {
	t.Helper()
	for i, d := range disks {
		list, err := guess.Search(t.Context(), &scan.Source{Name: string('a' + rune(i)), Dev: d}, nil)
		require.NoError(t, err)
		found = append(found, list...)
	}
	return found
}
