package metadata_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// oddities are what Check may find in a corpus.
var oddities = map[string][]string{
	"unknown": {"unknown-segment-type", "unknown-status"},
	"mda-two": {"pv-too-small"}, // see Check

	// An array that is made narrower keeps its long images until the reshape is over.
	"raid-reshape": {"image-size"},
}

// TestCorporaTexts holds the writer and the model against every text that lvm2 wrote in the
// lab: those in metadata areas and rings, and the backup and archive files.
func TestCorporaTexts(t *testing.T) {
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			found := 0
			for file, text := range c.Files {
				if strings.HasPrefix(file, "backup/") || strings.HasPrefix(file, "archive/") {
					requireWritten(t, file, []byte(text), oddities[name])
					found++
				}
			}
			onFiles := found
			require.Positive(t, onFiles, "no files")
			for _, path := range c.Paths() {
				found += requireDisk(t, path, oddities[name])
			}
			t.Log(onFiles, "files,", found-onFiles, "texts on disks")
			require.Greater(t, found, onFiles, "no texts on the disks")
		})
	}
}

// requireDisk checks every whole text on a disk and gives their number.
func requireDisk(t *testing.T, path string, expected []string) (found int) {
	f, err := block.Open(path)
	require.NoError(t, err)
	defer f.Close()
	seen := map[string]bool{}
	for e := range f.Extents(0, f.Size()) {
		if e.State != block.Data {
			continue
		}
		data := make([]byte, min(e.Len, 4<<20))
		n, err := f.ReadAt(data, e.Off)
		if err != io.EOF {
			require.NoError(t, err)
		}
		for at := 0; at < n; at += block.SectorSize {
			if _, ok := metadata.TextStart(data[at:n]); !ok {
				continue
			}
			text, _, ended := bytes.Cut(data[at:n], []byte{0})
			if ended && metadata.CheckWhole(text) == nil && !seen[string(text)] {
				seen[string(text)] = true
				requireWritten(t, path, text, expected)
				found++
			}
		}
	}
	return found
}

// requireWritten checks that a text of lvm2 comes back in the same bytes, and contradicts
// itself only in the expected ways.
func requireWritten(t *testing.T, where string, raw []byte, expected []string) {
	text, err := metadata.Parse(raw)
	require.NoError(t, err, where)
	require.Equal(t, string(raw), string(text.Bytes()), where)
	vg, err := metadata.ParseTolerant(raw)
	require.NoError(t, err, where)
	require.Equal(t, string(raw), string(metadata.Encode(vg, text.Style)), where)
	for _, i := range metadata.Check(vg) {
		require.Contains(t, expected, i.Code, "%s: %s", where, i)
	}
}
