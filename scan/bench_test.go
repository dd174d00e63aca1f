package scan

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
)

// BenchmarkScan1000 scans a directory of 1,000 images of PVs that are in the page cache.
func BenchmarkScan1000(b *testing.B) {
	disk := fixtures.Open(b, "linear").Disks[0]
	file, err := os.Open(disk.Path)
	require.NoError(b, err)
	defer file.Close()
	info, err := file.Stat()
	require.NoError(b, err)
	start := make([]byte, 64<<10)
	_, err = io.ReadFull(file, start)
	require.NoError(b, err)
	dir := b.TempDir()
	for i := range 1000 {
		path := fmt.Sprintf("%s/%04d.img", dir, i)
		require.NoError(b, os.WriteFile(path, start, 0o600))
		require.NoError(b, os.Truncate(path, info.Size()))
	}
	for _, history := range []bool{false, true} {
		b.Run(fmt.Sprintf("history=%t", history), func(b *testing.B) {
			for b.Loop() {
				ev, err := Run(context.Background(), []string{dir}, Options{History: history})
				require.NoError(b, err)
				require.Len(b, ev.PVs, 1000)
				require.NoError(b, ev.Close())
			}
		})
	}
}
