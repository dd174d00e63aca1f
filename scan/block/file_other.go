//go:build !linux

package block

import (
	"errors"
	"io"
	"os"
)

// errNoMoreData never comes up where holes cannot be asked for.
var errNoMoreData = errors.New("no more data")

func openReadOnly(path string) (*os.File, error) { return os.Open(path) }

// deviceSize is the size of a block device in bytes: where its end is.
func deviceSize(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }

func seekData(*os.File, int64) (int64, error) { return 0, errors.ErrUnsupported }

func seekHole(*os.File, int64) (int64, error) { return 0, errors.ErrUnsupported }

// openDirect has no equivalent everywhere.
func openDirect(*os.File) *os.File { return nil }

func readDirect(f *os.File, p []byte, off int64) (int, error) { return f.ReadAt(p, off) }
