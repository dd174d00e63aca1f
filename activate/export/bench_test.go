package export

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

// halfHoles makes a cached image file of which every other 16 MiB are a hole.
func halfHoles(b *testing.B, size int64) *block.File {
	b.Helper()
	path := filepath.Join(b.TempDir(), "disk.img")
	f, err := os.Create(path)
	require.NoError(b, err)
	data := make([]byte, 16*mib)
	for off := int64(0); off < size; off += 32 * mib {
		words(data, off)
		_, err := f.WriteAt(data, off)
		require.NoError(b, err)
	}
	require.NoError(b, f.Truncate(size))
	require.NoError(b, f.Close())
	src, err := block.Open(path)
	require.NoError(b, err)
	b.Cleanup(func() { src.Close() })
	return src
}

func BenchmarkExport(b *testing.B) {
	const size = 256 * mib
	src := halfHoles(b, size)
	for _, hashes := range [][]string{nil, {"sha256"}, {"sha256", "md5"}} {
		b.Run(fmt.Sprint(hashes), func(b *testing.B) {
			b.SetBytes(size)
			out := output(b)
			for b.Loop() {
				export(b, src, out, Options{Hashes: hashes, Force: true})
			}
		})
	}
}

func BenchmarkSpan(b *testing.B) {
	zeros, data := make([]byte, mib), make([]byte, mib)
	words(data, 0)
	for name, p := range map[string][]byte{"zeros": zeros, "data": data} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(mib)
			for b.Loop() {
				span(p)
			}
		})
	}
}
