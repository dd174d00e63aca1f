package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lvrescue/lvrescue/activate/mount"
	"github.com/lvrescue/lvrescue/scan/block"
)

// failing is a disk that fails for good after so many bytes were read, if after is set.
type failing struct {
	block.Device
	after int64
	read  atomic.Int64
}

func (d *failing) ReadAt(p []byte, off int64) (int, error) {
	if read := d.read.Add(int64(len(p))); d.after > 0 && read > d.after {
		return 0, errors.New("the disk does not answer any more")
	}
	return d.Device.ReadAt(p, off)
}

// showMedium DIR FILE [after=BYTES] [OFFSET:LENGTH...] shows a disk as a file in DIR, through
// FUSE: reads of the ranges fail with EIO, and all reads once so many bytes were read.
func showMedium(ts *testscript.TestScript, _ bool, args []string) {
	dir, path := ts.MkAbs(args[0]), ts.MkAbs(args[1])
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 0, 64)
		ts.Check(err)
		return n
	}
	d := &failing{}
	var marks []block.Extent
	for _, arg := range args[2:] {
		if n, ok := strings.CutPrefix(arg, "after="); ok {
			d.after = number(n)
			continue
		}
		off, n, _ := strings.Cut(arg, ":")
		marks = append(marks, block.Extent{Off: number(off), Len: number(n), State: block.Bad, Why: "refused"})
	}
	f, err := block.Open(path)
	ts.Check(err)
	ts.Defer(func() { f.Close() })
	d.Device, err = block.NewOverlay(f, marks)
	ts.Check(err)
	ts.Check(os.MkdirAll(dir, 0o777))
	m, err := mount.New(dir, []mount.File{{Name: filepath.Base(path), Dev: d}}, mount.Options{})
	ts.Check(err)
	ts.Defer(func() {
		_, err := m.Unmount()
		ts.Check(errors.Join(err, m.Wait()))
	})
}
