package dm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	runDir    = "/run/lvrescue"
	mapperDir = "/dev/mapper"
)

// machine is the kernel that we run on.
type machine struct {
	*control
	dir string // for scratch files
}

// Open takes the lock of this machine for a Host, and waits for it if need be.
func Open() (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("device-mapper takes root: %w", fs.ErrPermission)
	}
	ctl, err := openControl()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return nil, err
	}
	lock, err := takeLock(filepath.Join(runDir, "lock"))
	if err != nil {
		return nil, err
	}
	h, err := newHost(&machine{ctl, runDir}, runDir, lock)
	if err != nil {
		lock.Close()
	}
	return h, err
}

// openControl opens the control device, and makes its node if only that is missing.
func openControl() (*control, error) {
	path := filepath.Join(mapperDir, unix.DM_CONTROL_NODE)
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if number, ok := miscNumber("device-mapper"); ok {
			_ = os.MkdirAll(mapperDir, 0o755)
			_ = unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(10, number)))
			f, err = os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
		}
	}
	if err != nil {
		return nil, &ControlError{err}
	}
	c := &control{f}
	if _, err := c.do(request{cmd: unix.DM_VERSION}); err != nil {
		f.Close()
		return nil, &ControlError{err}
	}
	return c, nil
}

// miscNumber finds the minor number of a device of major 10.
func miscNumber(name string) (uint32, bool) {
	b, err := os.ReadFile("/proc/misc")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == name {
			n, err := strconv.ParseUint(f[0], 10, 20)
			return uint32(n), err == nil
		}
	}
	return 0, false
}

// takeLock waits half a minute for others.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	const wait, step = 30 * time.Second, 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || waited >= wait {
			f.Close()
			return nil, fmt.Errorf("another lvrescue is making or removing devices (%s is locked): %w", path, err)
		}
		time.Sleep(step)
	}
}

// link makes the node of a device, as udev would, unless udev has. One that is left of a
// device that is gone is replaced.
func (m *machine) link(name string, dev uint64) error {
	path, target := filepath.Join(mapperDir, name), fmt.Sprintf("../dm-%d", minor(dev))
	node := func() error { return unix.Symlink(target, path) }
	if !isNode(filepath.Join(mapperDir, target), dev) { // no devtmpfs
		node = func() error { return unix.Mknod(path, unix.S_IFBLK|0o600, int(dev)) }
	}
	var err error
	for range 5 { // udev may come in between
		if err = node(); !errors.Is(err, fs.ErrExist) {
			return err
		}
		if isNode(path, dev) {
			return nil
		}
		if err := m.unlink(name); err != nil {
			return err
		}
	}
	return err
}

// isNode tells whether a path leads to a block device of a number.
func isNode(path string, dev uint64) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && st.Rdev == dev
}

// unlink takes the node of a device away, if udev has not.
func (m *machine) unlink(name string) error {
	if err := os.Remove(filepath.Join(mapperDir, name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// settle waits until udev, if it runs, has seen what was removed. Else it may take a node away
// that has been made anew, and bring it back when it comes to that.
func (m *machine) settle() {
	if _, err := os.Stat("/run/udev/control"); err == nil {
		_ = exec.Command("udevadm", "settle", "--timeout=10").Run() // at worst the node is late
	}
}

// left is what the filesystem of a folder has left for root. One that is still to be made
// is where the folder above is.
func (m *machine) left(dir string) int64 {
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil {
		if up := filepath.Dir(dir); up != dir {
			dir = up
			continue
		}
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}
