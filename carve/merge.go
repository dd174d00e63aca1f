package carve

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/scan/block"
)

// Merge adds everything that another case knows. Merging in any order, and again, comes to
// the same finds. damaged counts lines and texts of the other case that cannot be used.
func (c *Case) Merge(from *Case) (damaged int, err error) {
	if a, err := os.Stat(c.Dir); err == nil {
		if b, err := os.Stat(from.Dir); err == nil && os.SameFile(a, b) {
			return 0, errors.New("a case cannot be merged into itself")
		}
	}
	for _, s := range from.Sources {
		n, err := c.mergeSource(from, s)
		damaged += n
		if err != nil {
			return damaged, fmt.Errorf("case %s: source %s: %w", from.Dir, s.Name, err)
		}
	}
	return damaged, nil
}

// mergeSource adds what another case knows of one source.
func (c *Case) mergeSource(from *Case, s *Source) (damaged int, err error) {
	known := c.twin(s)
	if known == nil {
		own := *s
		known = &own
		if err := c.insert(known); err != nil {
			return 0, err
		}
	}
	added, damaged, err := readFinds(filepath.Join(s.dir, findsFile))
	if err != nil {
		return damaged, err
	}
	log, err := openLog(filepath.Join(known.dir, findsFile))
	if err != nil {
		return damaged, err
	}
	for _, f := range added {
		if err = c.takeText(from, f); errors.Is(err, errNoText) {
			damaged, err = damaged+1, nil
			continue
		}
		if err == nil {
			err = log.add(f)
		}
		if err != nil {
			break
		}
	}
	if closed := log.close(); err == nil {
		err = closed
	}
	if err == nil {
		_, _, err = c.conclude(known)
	}
	if err == nil {
		err = known.mergeMaps(s)
	}
	return damaged, err
}

// errNoText says that a case lacks a text that it has found.
var errNoText = errors.New("text is lost")

// takeText copies the text of a find from another case.
func (c *Case) takeText(from *Case, f *Find) error {
	if f.SHA256 == "" {
		return nil
	}
	text, err := from.Text(f.SHA256)
	if err != nil {
		return errNoText
	}
	written, err := saveText(c.Dir, f.SHA256, text)
	if err == nil && written {
		err = syncFile(textPath(c.Dir, f.SHA256))
	}
	return err
}

// mergeMaps takes over what another case has searched of the source.
func (s *Source) mergeMaps(o *Source) error {
	for _, deep := range []bool{false, true} {
		path, other := filepath.Join(s.dir, s.mapName(deep)), filepath.Join(o.dir, o.mapName(deep))
		if _, err := os.Stat(other); err != nil {
			continue
		}
		add, err := readCoverage(other, s.Size)
		if err != nil {
			return err
		}
		all, err := readCoverage(path, s.Size)
		if err != nil {
			return err
		}
		all.merge(add)
		if err := block.SaveMapfile(path, all.mapfile(s.Name)); err != nil {
			return err
		}
	}
	return nil
}
