package guess_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/guess"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

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
		requireReadable(t, guess.Guess(search(t, fixtures.Disk{Start: a, Bytes: size}, fixtures.Disk{Start: b, Bytes: size})))
	})
}

// requireReadable holds what is written of a layout against lvm2's grammar and fields: nothing is
// wrong with it but that LVs may overlap.
func requireReadable(t *testing.T, l *guess.Layout) {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, l.Write(&text))
	parsed, err := metadata.Parse(text.Bytes())
	require.NoError(t, err, "%s", text.Bytes())
	vg, err := metadata.Decode(parsed)
	require.NoError(t, err, "%s", text.Bytes())
	for _, issue := range metadata.Check(vg) {
		require.Equal(t, "overlap", issue.Code, "%s\n%s", issue.Text, text.Bytes())
	}
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
