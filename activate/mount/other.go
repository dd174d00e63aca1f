//go:build !linux || 386 || arm

package mount

import "errors"

// Mount is a directory of devices. There is none on this system.
type Mount struct{}

// New fails: FUSE is served on Linux only, and on 64-bit machines.
func New(string, []File, Options) (*Mount, error) {
	return nil, errors.New("mount works on 64-bit Linux only; serve works everywhere")
}

// Wait has nothing to wait for.
func (*Mount) Wait() error { return nil }

// Unmount has nothing to unmount.
func (*Mount) Unmount() (inUse bool, err error) { return false, nil }
