package export

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/activate/outfile"
	"github.com/lvrescue/lvrescue/scan/block"
)

// openImage opens FILE.part for an image of size bytes at path, new or to be resumed. It
// touches nothing until it has seen that nothing will be lost.
func openImage(path string, size int64, opts *Options) (*image, error) {
	i := &image{path: path, force: opts.Force}
	if err := i.checkPath(size, opts); err != nil {
		return nil, err
	}
	if err := i.checkSources(opts); err != nil {
		return nil, err
	}
	for _, name := range []string{i.mapfile(), i.partMap()} {
		if err := i.checkMap(name); err != nil {
			return nil, err
		}
	}
	exists, err := isRegular(i.part())
	if err != nil {
		return nil, err
	}
	switch {
	case exists && opts.Resume:
		err = i.reopen(size, opts)
	case exists && !opts.Force:
		err = fmt.Errorf("%s is there, from an unfinished export: --resume goes on with it, --force starts over", i.part())
	default:
		err = i.create(size, opts)
	}
	if err != nil {
		if i.f != nil {
			i.f.Close()
		}
		return nil, err
	}
	return i, nil
}

// FinishedError says that there is nothing to resume: under the image's name stands a file as
// large as it would be.
type FinishedError struct {
	Path string // the image
	Map  string // of it; there is none when nothing is missing
}

func (e *FinishedError) Error() string {
	return e.Path + " is finished: there is nothing to go on with; --force exports it anew"
}

// checkPath refuses what cannot become an image.
func (i *image) checkPath(size int64, opts *Options) error {
	info, err := os.Stat(i.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(i.path); err == nil {
			return fmt.Errorf("%s is a link to nothing; want the name of a new file", i.path)
		}
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory; want the name of a file in it", i.path)
	case info.Mode()&fs.ModeDevice != 0:
		return fmt.Errorf("%s is a device; lvrescue writes image files only: export to a file, and copy that to the device once it is checked", i.path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", i.path)
	case opts.Resume && !i.force && info.Size() == size:
		return &FinishedError{Path: i.path, Map: i.mapfile()}
	case !i.force:
		return fmt.Errorf("%s exists; choose another name, or replace it with --force", i.path)
	}
	return nil
}

// checkSources refuses to write to a source, or into a filesystem that is stored on one.
func (i *image) checkSources(opts *Options) error {
	names := []string{i.path, i.part(), i.partMap(), i.mapfile(), block.TempName(i.partMap()), block.TempName(i.mapfile())}
	for _, name := range names {
		id, err := block.Identify(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, source := range opts.Sources {
			if id.Same(source) {
				return fmt.Errorf("%s is the source %s: refusing to write to it", name, source.Name)
			}
		}
	}
	dir, err := block.Identify(filepath.Dir(i.path))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no directory %s to write it to", i.path, filepath.Dir(i.path))
	}
	if err != nil {
		return err
	}
	for _, source := range opts.Sources {
		if !opts.OnSource && dir.LiesOn(source) {
			return fmt.Errorf("the filesystem of %s is stored on the source %s: writing there would change it; choose another disk", i.path, source.Name)
		}
	}
	return nil
}

// checkMap refuses to replace a mapfile that is not from an export, such as one of
// ddrescue.
func (i *image) checkMap(path string) error {
	exists, err := isRegular(path)
	if err != nil || !exists || i.force {
		return err
	}
	m, err := block.ScanMapfile(path, func(block.MapBlock) {})
	if err != nil || len(m.Comments) == 0 || m.Comments[0] != mapTitle {
		return fmt.Errorf("%s exists and is not from an export: refusing to replace it", path)
	}
	return nil
}

// isRegular says whether there is a file of that name. Anything else of that name is an
// error.
func isRegular(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is in the way: it is not a regular file", path)
	}
	return true, nil
}

// create starts a new image. The map comes first, so that there is never a FILE.part of
// which nothing is known.
func (i *image) create(size int64, opts *Options) error {
	if err := i.discard(); err != nil {
		return err
	}
	m := &block.Mapfile{Comments: partComments(opts, size), Status: byte(block.NonTried)}
	m.Add(size, block.NonTried)
	if err := block.SaveMapfile(i.partMap(), m); err != nil {
		return err
	}
	var err error
	if i.f, err = os.OpenFile(i.part(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		return err
	}
	if err := outfile.Lock(i.f); err != nil {
		return err
	}
	return i.f.Truncate(size)
}

// discard removes an unfinished image, unless somebody is working on it.
func (i *image) discard() error {
	old, err := os.OpenFile(i.part(), os.O_RDWR|outfile.NoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer old.Close()
	if err := outfile.Lock(old); err != nil {
		return err
	}
	return os.Remove(i.part())
}

// reopen takes up the image of an earlier run.
func (i *image) reopen(size int64, opts *Options) error {
	var err error
	if i.f, err = os.OpenFile(i.part(), os.O_RDWR|outfile.NoFollow, 0); err != nil {
		return err
	}
	if err := outfile.Lock(i.f); err != nil {
		return err
	}
	if i.before, err = readBefore(i.partMap(), opts, size); err != nil {
		return err
	}
	info, err := i.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != size && i.before.any(0, size) {
		return fmt.Errorf("%s: cannot resume: it has %d bytes, want %d", i.part(), info.Size(), size)
	}
	i.resumed = true
	return i.f.Truncate(size)
}
