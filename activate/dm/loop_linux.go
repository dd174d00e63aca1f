package dm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvrescue/lvrescue/scan/block"
)

// A loop device is made to go away by itself as soon as nobody has it open, so that nothing
// has to be taken down but the devices of device-mapper that stand on it, whenever lvrescue
// dies. Until they do, [loop] keeps it open.

// loop is a loop device that is kept open.
type loop struct {
	f   *os.File
	dev uint64 // its number
}

// Close lets the loop device go, once nothing stands on it.
func (l *loop) Close() error { return l.f.Close() }

// attach puts a file on a loop device, from byte off on.
func attach(fd uintptr, name string, off int64, writable bool) (*loop, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("loop devices, which image files are attached to: %w; perhaps \"modprobe loop\" helps", err)
	}
	defer ctl.Close()
	cfg := unix.LoopConfig{Fd: uint32(fd)}
	cfg.Info.Offset = uint64(off)
	cfg.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	if !writable {
		cfg.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	copy(cfg.Info.File_name[:len(cfg.Info.File_name)-1], name)
	const tries = 50 // others take loop devices too
	for range tries {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("a free loop device: %w", err)
		}
		l, err := openLoop(fmt.Sprintf("/dev/loop%d", n), writable)
		if err != nil {
			return nil, err
		}
		if err = unix.IoctlLoopConfigure(int(l.f.Fd()), &cfg); err == nil {
			return l, nil
		}
		l.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("attaching %s to %s: %w", name, l.f.Name(), err)
		}
	}
	return nil, errors.New("every free loop device was taken by somebody else at once")
}

// openLoop opens a loop device that may just have been made.
func openLoop(path string, writable bool) (*loop, error) {
	mode := os.O_RDONLY
	if writable {
		mode = os.O_RDWR
	}
	var f *os.File
	var err error
	for range 100 {
		f, err = os.OpenFile(path, mode|unix.O_CLOEXEC, 0)
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	dev, err := deviceNumber(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &loop{f, dev}, nil
}

// deviceNumber is the number of an open block device.
func deviceNumber(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, fmt.Errorf("%s is no block device", f.Name())
	}
	return st.Rdev, nil
}

// attachSource attaches a source read-only, or looks up the number of a block device that
// is used as it is.
func (m *machine) attachSource(s *Source) (dev uint64, hold io.Closer, err error) {
	file, err := block.Open(s.Path)
	if err != nil {
		return 0, nil, err
	}
	if !s.File {
		if dev, ok := file.Number(); ok {
			return dev, file, nil
		}
		file.Close()
		return 0, nil, fmt.Errorf("%s is no block device any more", s.Path)
	}
	defer file.Close()
	path, err := filepath.Abs(s.Path)
	if err != nil {
		return 0, nil, err
	}
	l, err := attach(file.Fd(), path, s.Off, false)
	if err != nil {
		return 0, nil, err
	}
	return l.dev, l, nil
}

// attachScratch makes a sparse file and attaches it for writing. One without a path is in
// the folder for what lvrescue keeps while it runs, and gone when its loop device is.
func (m *machine) attachScratch(s *Scratch) (dev uint64, hold io.Closer, err error) {
	mode, path := os.O_RDWR|unix.O_CLOEXEC, s.Path
	if path == "" {
		mode, path = mode|unix.O_TMPFILE, m.dir
	}
	f, err := os.OpenFile(path, mode, 0o600)
	if err != nil {
		return 0, nil, fmt.Errorf("scratch space for what the kernel writes: %w", err)
	}
	defer f.Close()
	if s.Path == "" {
		if err := f.Truncate(s.Size); err != nil {
			return 0, nil, fmt.Errorf("scratch space of %d bytes in %s: %w", s.Size, path, err)
		}
	}
	l, err := attach(f.Fd(), path, 0, true)
	if err != nil {
		return 0, nil, err
	}
	return l.dev, l, nil
}
