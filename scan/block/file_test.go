package block

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// write makes a file of size bytes in which parts stand at the given offsets and the rest
// are holes.
func write(t *testing.T, size int64, parts map[int64][]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	require.NoError(t, err)
	for off, p := range parts {
		_, err := f.WriteAt(p, off)
		require.NoError(t, err)
	}
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
	return path
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOpenRegularFile(t *testing.T) {
	const mib = 1 << 20
	data := noise(mib)
	f := open(t, write(t, 4*mib+1, map[int64][]byte{mib: data, 3 * mib: data}))
	require.Equal(t, int64(4*mib+1), f.Size())
	require.False(t, f.IsBlockDevice())
	require.Equal(t, []Extent{
		{0, mib, Zero, ""}, {mib, mib, Data, ""}, {2 * mib, mib, Zero, ""}, {3 * mib, mib, Data, ""}, {4 * mib, 1, Zero, ""},
	}, extents(f, 0, 1<<40))
	require.Equal(t, []Extent{{mib + 1, mib - 1, Data, ""}, {2 * mib, 5, Zero, ""}}, extents(f, mib+1, mib+4))
	requireContract(t, f)

	p := make([]byte, mib)
	n, err := f.ReadAt(p, 3*mib)
	require.NoError(t, err)
	require.Equal(t, data, p[:n])
	n, err = f.ReadAt(p, 4*mib)
	require.Equal(t, io.EOF, err)
	require.Equal(t, 1, n)
}

func TestExtentsAndReadsInParallel(t *testing.T) {
	const mib = 1 << 20
	data := noise(mib)
	f := open(t, write(t, 3*mib, map[int64][]byte{mib: data}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if got := extents(f, 0, 3*mib); len(got) != 3 {
					t.Errorf("extents: %v", got)
				}
				p := make([]byte, 100)
				if n, err := f.ReadAt(p, mib); err != nil || string(p[:n]) != string(data[:100]) {
					t.Errorf("read %d bytes: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
}

// A file that is cut while in use has neither data nor zeros behind its new end.
func TestFileCutWhileInUse(t *testing.T) {
	path := write(t, 8192, map[int64][]byte{0: noise(8192)})
	f := open(t, path)
	require.NoError(t, os.Truncate(path, 1000))
	require.Equal(t, int64(8192), f.Size())

	p, got := readAll(t, f, 0, 8192)
	require.Equal(t, noise(8192)[:1000], p[:1000])
	require.Len(t, got, 2)
	require.Equal(t, Data, got[0].State)
	require.Equal(t, int64(1000), got[0].Len)
	require.Equal(t, Bad, got[1].State)
	require.Contains(t, got[1].Why, "ends before its size of 8192 bytes")

	_, err := f.ReadAt(make([]byte, 10), 2000)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for path, want := range map[string]string{
		dir:                          "is a directory; want a regular file or a block device",
		pipe:                         "is a pipe",
		"/dev/null":                  "is a character device",
		filepath.Join(dir, "no.img"): "no such file",
	} {
		_, err := Open(path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
	}
}

func TestOpenedFileCannotBeWritten(t *testing.T) {
	f := open(t, write(t, 10, nil))
	_, err := f.f.WriteAt([]byte{1}, 0)
	require.ErrorIs(t, err, syscall.EBADF)
}

func TestReadAfterCloseIsNoBadRange(t *testing.T) {
	f := open(t, write(t, 10, map[int64][]byte{0: noise(10)}))
	require.NoError(t, f.Close())
	_, err := f.ReadAt(make([]byte, 5), 0)
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestMediumErrors(t *testing.T) {
	f := &File{name: "sdb", size: 1 << 20}
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENODATA, syscall.EBADMSG, syscall.EILSEQ, syscall.ETIMEDOUT, syscall.ENXIO} {
		err := f.badRange(4096, 512, &os.PathError{Op: "read", Path: "/dev/sdb", Err: errno})
		require.Equal(t, &BadRangeError{Off: 4096, Len: 512, Why: "sdb: " + errno.Error(), Err: errno, Coarse: true}, err)
		require.ErrorIs(t, err, errno)
	}
}
