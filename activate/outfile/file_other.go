//go:build !linux

// Package outfile has what files that lvrescue writes need of the system beyond package os.
package outfile

import (
	"errors"
	"os"
)

// NoFollow has no equivalent everywhere; Lstat has looked before.
const NoFollow = 0

// ErrDiskFull never comes up: without holes, no room can be made.
var ErrDiskFull = errors.New("disk full")

// Lock has no equivalent everywhere: writing one file at a time are the user's care.
func Lock(*os.File) error { return nil }

// PunchHole has no equivalent everywhere.
func PunchHole(*os.File, int64, int64) error { return errors.ErrUnsupported }

// StartWriteback is a hint, and taken by nobody.
func StartWriteback(*os.File, int64, int64) {}

// SyncData brings f to the disk.
func SyncData(f *os.File) error { return f.Sync() }

// Space has no equivalent everywhere.
func Space(*os.File) (size, free int64, err error) { return 0, 0, errors.ErrUnsupported }

// Used is the length of f, since nothing is known of holes.
func Used(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
