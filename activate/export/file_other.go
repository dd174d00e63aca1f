//go:build !linux

package export

import (
	"errors"
	"os"
)

// noFollow has no equivalent everywhere; Lstat has looked before.
const noFollow = 0

// errDiskFull never comes up: without holes, no room can be made.
var errDiskFull = errors.New("disk full")

// lock has no equivalent everywhere: exports to one file at a time are the user's care.
func lock(*os.File) error { return nil }

func punchHole(*os.File, int64, int64) error { return errors.ErrUnsupported }

func startWriteback(*os.File, int64, int64) {}

func syncData(f *os.File) error { return f.Sync() }
