// Package scan opens sources, walks their layers and finds physical volumes and metadata
// texts where LVM puts them. It collects; what the finds mean together is rebuild's work.
//
// All offsets and lengths are bytes.
package scan

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/signs"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Evidence is everything that was found on a set of sources. Close it when the devices of
// its sources and PVs are no longer read.
type Evidence struct {
	Sources  []*Source
	PVs      []*PV
	Copies   []*Copy // of metadata texts, in the order of sources and offsets
	Signs    []*Sign // of other formats; only a search of the whole surface finds them
	Findings []Finding
}

// Sign is a superblock or header of another format, which helps to tell what stands where.
type Sign struct {
	Source *Source
	Offset int64 // in the source
	*signs.Sign
}

// Begins is where in the source what the sign belongs to begins; ok only when it tells.
func (s *Sign) Begins() (at int64, ok bool) {
	return s.Offset - s.Start, s.Start != signs.Unknown
}

// Source is one disk, image file or block device, as given or found in a directory.
type Source struct {
	Name    string       // path, as shown to the user
	Kind    string       // "file", "block device"; "backup file" only as the source of a Copy
	Mapfile string       // ddrescue mapfile that was applied, or ""
	Dev     block.Device // nil when the source could not be opened
	Err     error        // why it could not be opened
	Foreign bool         // an image of another format, or an archive: it holds a disk's bytes in another order

	file *block.File // under Dev
}

// Is tells whether a name that the user gives means this source: its own, or another that
// leads to the same file or device.
func (s *Source) Is(name string) bool { return samePlace(s.Name, name) }

// IsBlockDevice tells a block device from an image file.
func (s *Source) IsBlockDevice() bool { return s.Kind == kindDevice }

// Stamp tells the source's content from what was there under its name before, as far as the
// filesystem knows: see [block.File.Stamp].
func (s *Source) Stamp() string {
	if s.file == nil {
		return ""
	}
	return s.file.Stamp()
}

// samePlace tells whether two paths lead to one file or device.
func samePlace(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// Close closes all sources.
func (ev *Evidence) Close() error {
	var errs []error
	for _, s := range ev.Sources {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	return errors.Join(errs...)
}

// PV is a physical volume at the place where it was found.
type PV struct {
	Source *Source
	Offset int64        // of the PV's first byte in the source; below 0 when the source lacks the PV's start
	Dev    block.Device // from the PV's first byte to the end of what holds it
	Where  string       // "partition 2 (GPT)", or "" for a whole source
	Doubt  string       // why what stands here may not be the PV's bytes; "" when nothing says so

	Mirror *Mirror // of md, of which a member holds the PV; nil for none

	Label *metadata.Label // nil when the label is lost and only metadata areas tell of the PV
	Areas []*Area

	unlisted bool // begins where no table has a PV: its label or a metadata area says so
}

// Mirror is what a member of a mirror of md knows of it: each holds all of its bytes.
type Mirror struct {
	Array    string // UUID
	Position int    // of the member
	Events   uint64 // the highest is the freshest
	Active   int    // members that this one took for active, itself among them
	Unsure   string // why its bytes may not be the array's; "" when nothing says so
}

// ID is the PV's UUID as its label has it, or "" when the label is lost.
func (p *PV) ID() metadata.ID {
	if p.Label == nil {
		return ""
	}
	return p.Label.PVID
}

// String names the PV's place: the source, and the offset if there is one.
func (p *PV) String() string {
	if p.Offset == 0 {
		return p.Source.Name
	}
	return fmt.Sprintf("%s@%d", p.Source.Name, p.Offset)
}

// Area is a metadata area of a PV.
type Area struct {
	PV     *PV
	Number int                 // 1 or 2
	Offset int64               // of the mda header from the start of the PV
	Size   int64               // header and ring
	Header *metadata.MDAHeader // nil when it cannot be read; its Problems tell what is wrong with it
}

// Copy is one place where a metadata text stands.
type Copy struct {
	Content  *Content
	Source   *Source
	Offset   int64 // of the text's first byte in the source
	Area     *Area // nil for texts of no PV's: backup files, and carved ones
	Slot     Slot
	How      string // "" unless it takes words: how a carved text was found
	Checksum metadata.Checksum
}

// Slot says what, on the disk, points at a text.
type Slot uint8

const (
	Committed    Slot = iota // the header's first raw_locn
	Precommitted             // the second: written by a command that never committed
	Ring                     // nothing: an older or unfinished version that is still in the ring
	Ignored                  // the first raw_locn of an ignored area: valid when it became ignored
	BackupFile               // a file of /etc/lvm/backup or archive
	Carved                   // nothing: it was found by searching the whole surface
)

func (s Slot) String() string {
	return [...]string{"committed", "precommitted", "ring", "ignored area", "backup file", "carved"}[s]
}

// Content is a metadata text. All copies with the same bytes share one Content, so that a
// text is parsed once however many PVs carry it.
type Content struct {
	Raw    []byte // without the terminating NUL
	SHA256 [sha256.Size]byte

	parse sync.Once
	vg    *metadata.VG
	err   error
}

// VG parses the text, once. A text that is only partly intact gives both a VG of what is
// intact and an error that tells what is not.
func (c *Content) VG() (*metadata.VG, error) { return c.VGWithin(metadata.MaxMemory) }

// VGWithin is VG with so many bytes of memory to parse the text in; see [metadata.ParseWithin].
func (c *Content) VGWithin(limit int) (*metadata.VG, error) {
	c.parse.Do(func() { c.vg, c.err = metadata.ParseWithin(c.Raw, limit) })
	return c.vg, c.err
}

// Severity ranks findings.
type Severity uint8

const (
	Info Severity = iota
	Warning
	Error
)

func (s Severity) String() string { return [...]string{"info", "warning", "error"}[s] }

// Finding is something worth telling the user about a place on a source.
type Finding struct {
	Severity Severity
	Code     string // stable, for scripts: "label-crc", "mda-header-missing"
	Source   string // its name; "" when the finding is about no single source
	Offset   int64  // in the source; -1 when it is about no single place
	Text     string
}

func (f Finding) String() string {
	switch {
	case f.Source == "":
		return f.Text
	case f.Offset < 0:
		return f.Source + ": " + f.Text
	}
	return fmt.Sprintf("%s @%d: %s", f.Source, f.Offset, f.Text)
}

// find adds a finding about no place, or a place, of a source.
func (ev *Evidence) find(sev Severity, code, source string, offset int64, format string, args ...any) {
	ev.Findings = append(ev.Findings, Finding{sev, code, source, offset, fmt.Sprintf(format, args...)})
}
