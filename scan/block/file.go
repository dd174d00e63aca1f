package block

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pageSize is the unit in bytes in which the page cache reads, at least.
const pageSize = 4096

// File is a source: a regular file or a block device, open for reading only.
type File struct {
	f     *os.File
	name  string
	size  int64
	id    Identity
	holes bool // regular file, so that the filesystem may tell of holes
	stamp string
	data  dataRuns
	hole  atomic.Pointer[hole] // the hole found last, see next

	refused atomic.Bool // the medium has refused a read
	direct  func() *os.File
}

// Open opens a source. Nothing else in lvrescue opens one, and nothing here can write:
// the descriptor is read-only.
//
// The size is the file's, or what the kernel says of the block device, at this moment.
func Open(path string) (*File, error) {
	// Before the open, since opening a tape or a pipe has effects of its own.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := checkKind(path, info.Mode()); err != nil {
		return nil, err
	}
	f, err := openReadOnly(path)
	if err != nil {
		return nil, err
	}
	src, err := newFile(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return src, nil
}

// newFile looks at what was really opened.
func newFile(f *os.File, path string) (*File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkKind(path, info.Mode()); err != nil {
		return nil, err
	}
	src := &File{f: f, name: path, size: info.Size(), holes: info.Mode().IsRegular()}
	if src.holes {
		src.stamp = fmt.Sprintf("%d bytes of %d.%09d", src.size, info.ModTime().Unix(), info.ModTime().Nanosecond())
	} else {
		if src.size, err = deviceSize(f); err != nil {
			return nil, fmt.Errorf("%s: size of the block device: %w", path, err)
		}
	}
	src.direct = sync.OnceValue(func() *os.File { return openDirect(f) })
	if src.id, err = identify(path, info); err != nil {
		return nil, err
	}
	return src, nil
}

// checkKind refuses what is neither a regular file nor a block device.
func checkKind(path string, mode fs.FileMode) error {
	kind := ""
	switch {
	case mode.IsRegular(), mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		return nil
	case mode.IsDir():
		kind = "a directory"
	case mode&fs.ModeCharDevice != 0:
		kind = "a character device"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	default:
		kind = mode.Type().String()
	}
	return fmt.Errorf("%s: is %s; want a regular file or a block device", path, kind)
}

// Name is the path as it was given to Open.
func (f *File) Name() string { return f.name }

// Size is the size in bytes when the source was opened.
func (f *File) Size() int64 { return f.size }

// IsBlockDevice says whether the source is a block device, not a regular file.
func (f *File) IsBlockDevice() bool { return !f.holes }

// Fd is the descriptor, which is read-only, for the kernel to read from.
func (f *File) Fd() uintptr { return f.f.Fd() }

// Identity tells which storage the source is, whatever its name.
func (f *File) Identity() Identity { return f.id }

// Stamp is size and time of the last change of a regular file, so that a file that is put
// in another's place can be told; "" for a block device, which has no such time.
func (f *File) Stamp() string { return f.stamp }

// Close closes the source. Reads fail afterwards. It must not run beside a read.
func (f *File) Close() error {
	if f.refused.Load() {
		if d := f.direct(); d != nil {
			d.Close()
		}
	}
	return f.f.Close()
}

// ReadAt reads from the source. Whatever the medium refuses is a *BadRangeError.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	p, eof := ClipRead(f.size, p, off)
	if len(p) == 0 {
		return 0, eof
	}
	n, err := f.read(p, off)
	if n == len(p) {
		return n, eof
	}
	return n, f.badRange(off+int64(n), int64(len(p)-n), err)
}

// read reads through the page cache. But the cache reads and refuses whole pages, so that
// small reads of a block device that has refused a read go past it, to single sectors.
func (f *File) read(p []byte, off int64) (int, error) {
	if !f.holes && len(p) < pageSize && f.refused.Load() {
		if d := f.direct(); d != nil {
			n, err := readDirect(d, p, off)
			if !errors.Is(err, syscall.EINVAL) { // which is said of sectors larger than ours
				return n, err
			}
		}
	}
	return f.f.ReadAt(p, off)
}

// badRange is the error for n bytes at off that a read did not get because of err.
func (f *File) badRange(off, n int64, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, io.EOF):
		return &BadRangeError{Off: off, Len: f.size - off, Err: io.ErrUnexpectedEOF,
			Why: fmt.Sprintf("%s: ends before its size of %d bytes: it has been cut while in use", f.name, f.size)}
	case errors.As(err, &errno):
		f.refused.Store(true)
		return &BadRangeError{Off: off, Len: n, Err: errno, Coarse: true,
			Why: fmt.Sprintf("%s: %v", f.name, errno)}
	}
	return err
}

// Extents tells the holes of a regular file, which are zeros, from its data.
func (f *File) Extents(off, n int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		lo, hi := Clip(f.size, off, n)
		for lo < hi {
			e := Extent{Off: lo, Len: hi - lo}
			if f.holes {
				e = f.next(lo, hi)
			}
			if !yield(e) {
				return
			}
			lo = e.End()
		}
	}
}

// next is the extent of [lo, hi) that starts at lo. When the filesystem does not tell,
// everything is data. A run of data is asked for once; holes are asked for every time, since
// they may have been filled.
func (f *File) next(lo, hi int64) Extent {
	if end, ok := f.data.at(lo); ok {
		return Extent{Off: lo, Len: min(end, hi) - lo}
	}
	if h := f.hole.Load(); h != nil && h.Off <= lo && lo < h.End() && time.Since(h.asked) < holeLasts {
		return Extent{Off: lo, Len: min(h.End(), hi) - lo, State: Zero}
	}
	data, err := seekData(f.f, lo)
	switch {
	case errors.Is(err, errNoMoreData) && f.uncut():
		data = f.size
	case err != nil || data < lo:
		return Extent{Off: lo, Len: hi - lo}
	}
	if data > lo {
		f.hole.Store(&hole{Extent{Off: lo, Len: data - lo}, time.Now()})
		return Extent{Off: lo, Len: min(data, hi) - lo, State: Zero}
	}
	hole, err := seekHole(f.f, lo)
	if err != nil || hole <= lo {
		hole = hi
	}
	f.data.add(lo, hole)
	return Extent{Off: lo, Len: min(hole, hi) - lo}
}

// hole is a hole that the filesystem has told of.
type hole struct {
	Extent
	asked time.Time
}

// holeLasts is how long a hole counts before it is asked for again: somebody may still be
// writing the image. Without it each of thousands of LVs in one hole would ask.
const holeLasts = 50 * time.Millisecond

// uncut says whether the file still has its size: a file that was cut has no data behind
// its new end, but no zeros either.
func (f *File) uncut() bool {
	end, err := seekEnd(f.f)
	return err == nil && end >= f.size
}
