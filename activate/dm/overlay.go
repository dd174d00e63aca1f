package dm

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// An overlay makes an LV writable: what is written goes to a file of its own, as the kernel
// keeps the chunks of a persistent snapshot. NAME.json beside it says what it lies over, since
// over anything else it is damage.

// overlayChunk is the unit of an overlay, in bytes. It is the block size of most filesystems:
// a block that is written in full needs no read of what was there, which may be lost.
const overlayChunk = 4096

// overlaySize is the size of a file that has room for every chunk of an LV: a header, and an
// exception of 16 bytes for each (see metadata/exstore).
func overlaySize(size int64) int64 {
	chunks := (size + overlayChunk - 1) / overlayChunk
	areas := chunks/(overlayChunk/16) + 2
	return (1 + areas + chunks) * overlayChunk
}

// overlayNote is what NAME.json holds.
type overlayNote struct {
	Device string `json:"device"`
	Over   string `json:"over"` // see identity
}

// Overlay is a file that takes what is written to an LV.
type Overlay struct {
	Path string
	New  bool // nothing was there before
	over string
	size int64
}

// AddOverlay puts an overlay in dir over a stack, whose LV is writable then. Nothing is made
// before the stack is.
func (s *Stack) AddOverlay(dir string) (*Overlay, error) {
	lv := s.Top()
	o := &Overlay{Path: filepath.Join(dir, lv.Name+".cow"), over: s.identity(), size: overlaySize(lv.Size)}
	if err := o.look(); err != nil {
		return nil, err
	}
	base := *lv
	base.Name, base.UUID = lv.Name+"-base0", lv.UUID+"-base0"
	top := &Device{Name: lv.Name, UUID: lv.UUID, Size: lv.Size, Writable: true, Table: []Target{{
		Len: sectors(lv.Size), Type: "snapshot",
		Args: []Arg{{On: &base}, {On: &Scratch{Path: o.Path, Size: o.size}}, word("P"), number(sectors(overlayChunk))},
	}}}
	s.Devices = append(s.Devices[:len(s.Devices)-1], &base, top)
	s.overlay = o
	return o, nil
}

// look tells whether the file is there, and refuses one that belongs to something else.
func (o *Overlay) look() error {
	info, err := os.Stat(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		o.New = true
		return nil
	}
	if err != nil {
		return err
	}
	b, err := os.ReadFile(o.note())
	if err != nil {
		return fmt.Errorf("%s is there, but what it lies over is not known: %w", o.Path, err)
	}
	var n overlayNote
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("%s: %w", o.note(), err)
	}
	if n.Over != o.over || info.Size() != o.size || !info.Mode().IsRegular() {
		return fmt.Errorf("%s was made over something else: the disks, their metadata or what is lost of them were not the same then", o.Path)
	}
	return nil
}

func (o *Overlay) note() string { return strings.TrimSuffix(o.Path, ".cow") + ".json" }

// prepare makes the files of a new overlay.
func (o *Overlay) prepare() error {
	if !o.New {
		return nil
	}
	b, err := json.Marshal(overlayNote{filepath.Base(strings.TrimSuffix(o.Path, ".cow")), o.over})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(o.Path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(o.size), f.Sync(), f.Close(), os.WriteFile(o.note(), append(b, '\n'), 0o600))
}

// undo takes the files of a new overlay away again, over which nothing was ever active.
func (o *Overlay) undo() error {
	if !o.New {
		return nil
	}
	var errs []error
	for _, path := range []string{o.Path, o.note()} {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// identity stands for what a stack reads: its tables, in which sources go by number, so that
// another name of a disk does not matter.
func (s *Stack) identity() string {
	h := sha256.New()
	numbers := map[Node]string{}
	name := func(n Node) string {
		if numbers[n] == "" {
			numbers[n] = fmt.Sprintf("#%d", len(numbers))
			if s, ok := n.(*Source); ok {
				numbers[n] += fmt.Sprintf("+%d", s.Off)
			}
		}
		return numbers[n]
	}
	for _, d := range s.Devices {
		fmt.Fprintf(h, "%s of %d\n", d.UUID, d.Size)
		for _, t := range d.Table {
			fmt.Fprintln(h, t.text(name))
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}
