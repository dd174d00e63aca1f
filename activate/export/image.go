package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/activate/outfile"
	"github.com/lvrescue/lvrescue/scan/block"
)

// pageSize is the unit in bytes in which zeros are looked for, and minHole the least that
// is left out of the image: smaller holes cost more than they save.
const (
	pageSize = 4096
	minHole  = 8 * pageSize
)

var zeroPage [pageSize]byte

// image is FILE in the making.
type image struct {
	path    string
	force   bool
	f       *os.File // FILE.part
	before  before   // what an earlier run left in it
	resumed bool     // f may have bytes where holes are wanted
	saved   int64    // before this, FILE.part.map tells what this run has done
	named   bool     // the image has its name: there is no FILE.part any more
	syncErr error    // the first failure to bring bytes to the disk: it is told only once
}

func (i *image) part() string    { return i.path + ".part" }
func (i *image) partMap() string { return i.path + ".part.map" }
func (i *image) mapfile() string { return i.path + ".map" }

func (i *image) close() { i.f.Close() }

// write puts p at off, leaving out what is zeros, and returns how many bytes it wrote.
func (i *image) write(p []byte, off int64) (int64, error) {
	written := int64(0)
	for len(p) > 0 {
		n, zero := span(p)
		if zero {
			if err := i.clear(off, int64(n)); err != nil {
				return written, err
			}
		} else {
			if _, err := i.f.WriteAt(p[:n], off); err != nil {
				return written, fmt.Errorf("at byte %d of the image: %w", off, err)
			}
			written += int64(n)
		}
		p, off = p[n:], off+int64(n)
	}
	return written, nil
}

// span returns how many of the first bytes of p are to be treated alike, as a hole or as
// data. All of p counts as a hole when it is zeros, however short it is.
func span(p []byte) (n int, zero bool) {
	if n = zeros(p); n >= minHole || n == len(p) {
		return n, true
	}
	for n < len(p) {
		n += min(pageSize, len(p)-n)
		if z := zeros(p[n:min(n+minHole, len(p))]); z == minHole {
			return n, false
		} else {
			n += z
		}
	}
	return n, false
}

// zeros counts the bytes of the whole pages of zeros that p starts with; what is left of p
// at its end counts as a page.
func zeros(p []byte) int {
	n := 0
	for n < len(p) {
		page := p[n:min(n+pageSize, len(p))]
		if !bytes.Equal(page, zeroPage[:len(page)]) {
			break
		}
		n += len(page)
	}
	return n
}

// clear makes n bytes at off zeros. A new file has them already.
func (i *image) clear(off, n int64) error {
	if !i.resumed || n == 0 {
		return nil
	}
	err := outfile.PunchHole(i.f, off, n)
	for err != nil && n > 0 { // not on this filesystem
		part := min(n, int64(len(zeroChunk)))
		if _, err := i.f.WriteAt(zeroChunk[:part], off); err != nil {
			return fmt.Errorf("at byte %d of the image: %w", off, err)
		}
		off, n = off+part, n-part
	}
	return nil
}

// read gets back what an earlier run wrote.
func (i *image) read(p []byte, off int64) error {
	if _, err := i.f.ReadAt(p, off); err != nil {
		return fmt.Errorf("read back byte %d of the image: %w", off, err)
	}
	return nil
}

// startWriteback asks the kernel to start writing n bytes at off to the disk.
func (i *image) startWriteback(off, n int64) error {
	outfile.StartWriteback(i.f, off, n)
	return nil
}

// sync brings the image to the disk.
func (i *image) sync() error {
	if i.syncErr == nil {
		if err := outfile.SyncData(i.f); err != nil {
			i.syncErr = fmt.Errorf("sync %s: %w", i.part(), err)
		}
	}
	return i.syncErr
}

// checkpoint saves m, which tells of what this run has done before pos, as FILE.part.map,
// once what it says is true of the disk.
func (i *image) checkpoint(m io.WriterTo, pos int64) error {
	if err := i.sync(); err != nil {
		return err
	}
	if err := block.SaveMapfile(i.partMap(), m); err != nil {
		return err
	}
	i.saved = pos
	return nil
}

// drop frees the room that the image takes up in [lo, hi), which must not be called
// finished by FILE.part.map, except for what an earlier run has finished there.
func (i *image) drop(lo, hi int64) error {
	for b := range i.before.within(lo, hi) {
		if b.Status == block.Finished {
			continue
		}
		if err := outfile.PunchHole(i.f, b.Off, b.Len); err != nil {
			return err
		}
	}
	return nil
}

// finish gives the image its name. m is FILE.map, or nil if there is to be none. At each
// moment FILE is absent, or has the map that belongs to it.
func (i *image) finish(m *block.MapStream) error {
	if err := i.sync(); err != nil {
		return err
	}
	if err := i.makeRoom(); err != nil {
		return err
	}
	if m != nil {
		if err := block.SaveMapfile(i.mapfile(), m); err != nil {
			return err
		}
	} else if err := remove(i.mapfile()); err != nil {
		return err
	}
	if err := os.Rename(i.part(), i.path); err != nil {
		return err
	}
	i.named = true
	if err := block.SyncDir(filepath.Dir(i.path)); err != nil {
		return err
	}
	return remove(i.partMap())
}

// makeRoom removes an older FILE, if that is wanted.
func (i *image) makeRoom() error {
	if i.force {
		return remove(i.path)
	}
	if _, err := os.Lstat(i.path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has come to exist during the export", i.path)
	}
	return nil
}

// remove removes a file that may be missing.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
