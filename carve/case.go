package carve

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Case is a directory of finds.
type Case struct {
	Dir     string
	Sources []*Source // by their IDs

	unlock func() error
}

// Source is a disk or image that a case knows. It is known by its content: names change.
type Source struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"` // when it was searched first
	Kind    string   `json:"kind"`
	Size    int64    `json:"size"`
	Stamp   string   `json:"stamp,omitempty"` // see [scan.Source.Stamp], when it was searched last
	Samples []Sample `json:"samples"`

	dir string
}

// Sample is a piece of a source by which it is known again.
type Sample struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"` // "" when it could not be read
}

// How many samples of which size are taken, evenly over the source, first and last bytes
// among them.
const (
	sampleCount = 32
	sampleSize  = 4096
)

// Open opens a case that exists, to look at it.
func Open(dir string) (*Case, error) {
	var f format
	if err := readJSON(filepath.Join(dir, caseFile), &f); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is no case: it has no %s; lvrescue carve SOURCE... --case %s makes one", dir, caseFile, dir)
		}
		return nil, err
	}
	if f != thisFormat {
		return nil, fmt.Errorf("%s: is %q, version %d; expected %q, version %d", filepath.Join(dir, caseFile), f.Format, f.Version, thisFormat.Format, thisFormat.Version)
	}
	c := &Case{Dir: dir}
	entries, err := os.ReadDir(filepath.Join(dir, sourcesDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries[:min(len(entries), maxSources)] {
		s := &Source{dir: filepath.Join(dir, sourcesDir, e.Name())}
		err := readJSON(filepath.Join(s.dir, sourceFile), s)
		switch {
		case errors.Is(err, fs.ErrNotExist): // nothing was found before the power went
		case err != nil:
			return nil, err
		case s.ID != e.Name() || s.Size < 0:
			return nil, fmt.Errorf("%s: its ID is %q, of %d bytes; expected that of its directory", filepath.Join(s.dir, sourceFile), s.ID, s.Size)
		default:
			c.Sources = append(c.Sources, s)
		}
	}
	return c, nil
}

// OpenToWrite opens a case to add to it, or makes one in a directory that is new or empty.
// It is locked until it is closed.
func OpenToWrite(dir string) (*Case, error) {
	if err := prepare(dir); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", dir, err)
	}
	c, err := Open(dir)
	if err != nil {
		unlock()
		return nil, err
	}
	c.unlock = unlock
	return c, nil
}

// prepare makes the directories of a case.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, caseFile)); err != nil {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			return !slices.Contains([]string{sourcesDir, textsDir, lockFile, block.TempName(caseFile)}, e.Name())
		}) {
			return fmt.Errorf("%s holds other things: a case needs a directory of its own, new or empty", dir)
		}
	}
	for _, d := range []string{sourcesDir, textsDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, caseFile)); err == nil {
		return nil
	}
	return writeJSON(filepath.Join(dir, caseFile), thisFormat)
}

// Close lets others write to the case.
func (c *Case) Close() error {
	if c.unlock == nil {
		return nil
	}
	return c.unlock()
}

// samples takes samples of a device.
func samples(dev block.Device) []Sample {
	size := dev.Size()
	var list []Sample
	last := int64(-1)
	for i := range int64(sampleCount) {
		at := (size - sampleSize) / (sampleCount - 1) * i
		if i == sampleCount-1 {
			at = size - sampleSize
		}
		at = max(at, 0) &^ (sector - 1)
		if at == last {
			continue
		}
		last = at
		s := Sample{Offset: at, Length: min(sampleSize, size-at)}
		b, whole := make([]byte, s.Length), true
		err := block.ReadRange(dev, b, at, func(e block.Extent) { whole = whole && e.State != block.Bad })
		if err == nil && whole {
			sum := sha256.Sum256(b)
			s.SHA256 = hex.EncodeToString(sum[:])
		}
		list = append(list, s)
	}
	return list
}

// matches tells whether samples of a source of that size are those of s: all that could be
// read both times are the same, and there are some.
func (s *Source) matches(size int64, list []Sample) bool {
	if s.Size != size || len(s.Samples) != len(list) {
		return false
	}
	same := 0
	for i, a := range s.Samples {
		b := list[i]
		switch {
		case a.Offset != b.Offset || a.Length != b.Length:
			return false
		case a.SHA256 == "" || b.SHA256 == "":
		case a.SHA256 != b.SHA256:
			return false
		default:
			same++
		}
	}
	return same > 0
}

// identify is the ID of a source with such samples. Of several that have the same, all but
// the first have their name in it.
func identify(size int64, list []Sample, name string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n", size, name)
	for _, s := range list {
		fmt.Fprintf(h, "%d %d %s\n", s.Offset, s.Length, s.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Find gives what the case knows of a source that is open: nil when it does not know it. One
// that has moved is known by its content; but a copy of one that is still in its place is
// another source, since it may differ where no sample was taken.
func (c *Case) Find(src *scan.Source) *Source {
	if src.Dev == nil {
		return nil
	}
	var list []Sample
	var moved *Source
	for _, s := range c.Sources {
		if s.Size != src.Dev.Size() {
			continue
		}
		if list == nil {
			list = samples(src.Dev)
		}
		switch {
		case !s.matches(s.Size, list):
		case src.Is(s.Name):
			return s
		case moved == nil && !s.inPlace():
			moved = s
		}
	}
	return moved
}

// inPlace tells whether the source is where it was.
func (s *Source) inPlace() bool {
	f, err := block.Open(s.Name)
	if err != nil {
		return false
	}
	defer f.Close()
	return s.matches(f.Size(), samples(f))
}

// twin gives the source that is the same as one of another case: by its samples, and of
// several with such, by its ID.
func (c *Case) twin(o *Source) *Source {
	var best *Source
	for _, s := range c.Sources {
		if s.matches(o.Size, o.Samples) && (best == nil || s.ID == o.ID) {
			best = s
		}
	}
	return best
}

// Replaced gives the source that the case knows by the name of src, though it has another
// content now: nil when there is none.
func (c *Case) Replaced(src *scan.Source) *Source {
	if i := slices.IndexFunc(c.Sources, func(s *Source) bool { return src.Is(s.Name) }); i >= 0 {
		return c.Sources[i]
	}
	return nil
}

// Present lists the sources of the case that are where they were.
func (c *Case) Present() []string {
	var names []string
	for _, s := range c.Sources {
		if _, err := os.Stat(s.Name); err == nil && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Knowable refuses a source that no case could know again.
func Knowable(src *scan.Source) error {
	_, err := knowable(src)
	return err
}

func knowable(src *scan.Source) ([]Sample, error) {
	list := samples(src.Dev)
	if !slices.ContainsFunc(list, func(s Sample) bool { return s.SHA256 != "" }) {
		return nil, fmt.Errorf("nothing of it can be read at %d places, so that it could not be known again", len(list))
	}
	return list, nil
}

// add makes a source known to the case.
func (c *Case) add(src *scan.Source) (*Source, error) {
	list, err := knowable(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src.Name, err)
	}
	name := src.Name
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	id := identify(src.Dev.Size(), list, "")
	if slices.ContainsFunc(c.Sources, func(s *Source) bool { return s.ID == id }) {
		id = identify(src.Dev.Size(), list, name)
	}
	s := &Source{ID: id, Name: name, Kind: src.Kind, Size: src.Dev.Size(), Stamp: src.Stamp(), Samples: list}
	return s, c.insert(s)
}

// insert puts a new source into the case.
func (c *Case) insert(s *Source) error {
	s.dir = filepath.Join(c.Dir, sourcesDir, s.ID)
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(s.dir, sourceFile), s); err != nil {
		return err
	}
	c.Sources = append(c.Sources, s)
	slices.SortFunc(c.Sources, func(a, b *Source) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// Finds reads what was found on a source, in order. damaged counts lines of the case that
// cannot be read.
func (s *Source) Finds() (finds []*Find, damaged int, err error) {
	finds, damaged, err = readFinds(filepath.Join(s.dir, findsFile))
	return tidy(finds), damaged, err
}

// Searched is how many bytes of the source have been searched, in the ordinary way.
func (s *Source) Searched() (int64, error) {
	c, err := readCoverage(filepath.Join(s.dir, surfaceFile), s.Size)
	if err != nil {
		return 0, err
	}
	return c.sum(0, s.Size, block.Finished), nil
}

// Text reads a text of the case.
func (c *Case) Text(sum string) ([]byte, error) { return readText(c.Dir, sum) }
