// Package outfile has what files that lvrescue writes need of the system beyond package os:
// locks, holes, and data that is known to be on the disk. Where a system has no such thing,
// it says so or does without.
package outfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// NoFollow makes an open fail on a symbolic link.
const NoFollow = unix.O_NOFOLLOW

// ErrDiskFull is what a write fails with for want of room.
const ErrDiskFull = unix.ENOSPC

// Lock makes sure that no other lvrescue writes to f. The kernel unlocks when f is closed,
// in whatever way.
func Lock(f *os.File) error {
	err := control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: another lvrescue is writing it", f.Name())
	}
	return nil // also where the filesystem has no locks
}

// PunchHole makes n bytes at off a hole.
func PunchHole(f *os.File, off, n int64) error {
	return control(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// StartWriteback is a hint: what it misses, sync makes good.
func StartWriteback(f *os.File, off, n int64) {
	_ = control(f, func(fd int) error {
		return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// SyncData brings the bytes of f, and what is needed to find them, to the disk.
func SyncData(f *os.File) error {
	return control(f, func(fd int) error {
		for {
			if err := unix.Fdatasync(fd); err != unix.EINTR {
				return err
			}
		}
	})
}

// Space is how many bytes the filesystem of f has, and has left for us.
func Space(f *os.File) (size, free int64, err error) {
	var st unix.Statfs_t
	err = control(f, func(fd int) error { return unix.Fstatfs(fd, &st) })
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize), err
}

// Used is how many bytes f takes up on its disk, holes left out.
func Used(f *os.File) (int64, error) {
	var st unix.Stat_t
	err := control(f, func(fd int) error { return unix.Fstat(fd, &st) })
	return st.Blocks * 512, err
}

// control runs a system call on the descriptor of f.
func control(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := conn.Control(func(fd uintptr) { result = call(int(fd)) }); err != nil {
		return err
	}
	return result
}
