//go:build unix

package carve

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock makes sure that nobody else writes to a case. The kernel gives the lock back when the
// program ends, however it does.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.New("another lvrescue is writing to it; wait for it, or use another case and merge them later")
		}
		return nil, err
	}
	return f.Close, nil
}
