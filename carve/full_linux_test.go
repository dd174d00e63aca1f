package carve

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/scan"
)

// TestFullDisk searches into a case whose disk is full ever again. What the map calls searched
// has its finds, and when there is room the case is that of a search that never wanted for any.
func TestFullDisk(t *testing.T) {
	path, fresh := manyDisks(t), t.TempDir()
	want := search(t, fresh, Options{}, path)[0]
	dir, grow := fixtures.SmallDisk(t, 40<<10)
	full := 0
	for size := int64(40 << 10); ; size += 60 << 10 {
		grow(size)
		err := searchFull(t, dir, path)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		full++
		requireFindsOfMap(t, dir, want.Finds)
	}
	require.Greater(t, full, 3)
	search(t, dir, Options{}, path)
	requireSameCase(t, fresh, dir)
}

// searchFull searches into a case that may have no room.
func searchFull(t *testing.T, dir, path string) error {
	ev, err := scan.Run(t.Context(), []string{path}, scan.Options{})
	require.NoError(t, err)
	defer ev.Close()
	c, err := OpenToWrite(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Run(t.Context(), ev.Sources, Options{Workers: 2, Checkpoint: time.Millisecond})
	return err
}
