package block

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNoMoreData is how lseek(SEEK_DATA) says that there is only a hole up to the end.
var errNoMoreData error = unix.ENXIO

// openReadOnly opens without waiting, so that neither a pipe nor a drive without a medium
// can hold us up.
func openReadOnly(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// deviceSize is the size of a block device in bytes.
func deviceSize(f *os.File) (int64, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var size uint64
	var errno unix.Errno
	err = conn.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, errno
	case int64(size) < 0:
		return 0, fmt.Errorf("BLKGETSIZE64 says %d bytes", size)
	}
	return int64(size), nil
}

// Number is the device number of a block device.
func (f *File) Number() (dev uint64, ok bool) { return f.id.self.dev, !f.holes }

// seekData and seekHole move the descriptor's offset, which nothing here uses: all reads
// name theirs. So they may run at any time, in parallel too.

// seekData is the first byte of data at or behind off.
func seekData(f *os.File, off int64) (int64, error) { return seek(f, off, unix.SEEK_DATA) }

// seekHole is the first byte of a hole at or behind off; the end of the file is one.
func seekHole(f *os.File, off int64) (int64, error) { return seek(f, off, unix.SEEK_HOLE) }

// seekEnd is the size of the file as it is now.
func seekEnd(f *os.File) (int64, error) { return seek(f, 0, unix.SEEK_END) }

func seek(f *os.File, off int64, whence int) (int64, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var pos int64
	var seekErr error
	err = conn.Control(func(fd uintptr) { pos, seekErr = unix.Seek(int(fd), off, whence) })
	if err == nil {
		err = seekErr
	}
	return pos, err
}

// openDirect opens a block device once more, for reads past the page cache. It returns nil
// when the kernel does not let us.
func openDirect(f *os.File) *os.File {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	var direct *os.File
	err = conn.Control(func(fd uintptr) {
		direct, _ = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT, 0)
	})
	if err != nil {
		return nil
	}
	return direct
}

// readDirect reads less than a page past the page cache: the sectors that p touches, which
// must lie in a buffer that is aligned as the sectors are.
func readDirect(f *os.File, p []byte, off int64) (int, error) {
	buf := make([]byte, 3*pageSize)
	buf = buf[-uintptr(unsafe.Pointer(&buf[0]))%pageSize:]
	skip := int(off % SectorSize)
	want := (skip + len(p) + SectorSize - 1) / SectorSize * SectorSize
	n, err := f.ReadAt(buf[:want], off-int64(skip))
	return copy(p, buf[min(skip, n):n]), err
}
