package block

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
)

// WriteTo writes the mapfile as ddrescue does. A character of a comment that would end its
// line is written as a space.
func (m *Mapfile) WriteTo(w io.Writer) (int64, error) {
	s := MapStream{slices.Values(m.Comments), m.Pos, m.Status, m.Pass, slices.Values(m.Blocks)}
	return s.WriteTo(w)
}

// MapStream is a mapfile that is made while it is written: it may be larger than memory.
type MapStream struct {
	Comments iter.Seq[string]
	Pos      int64
	Status   byte
	Pass     int
	Blocks   iter.Seq[MapBlock] // ordered, gapless; neighbours of one status become one block
}

// WriteTo writes the mapfile as [Mapfile.WriteTo] does.
func (m *MapStream) WriteTo(w io.Writer) (int64, error) {
	out := &countingWriter{w: w}
	buf := bufio.NewWriterSize(out, 64<<10)
	for c := range m.Comments {
		fmt.Fprintf(buf, "# %s\n", strings.Map(printable, c))
	}
	status, pass := m.Status, m.Pass
	if status == 0 {
		status = byte(Finished)
	}
	fmt.Fprintf(buf, "# %s\n0x%08X     %c               %d\n# %s\n", statusHeading, m.Pos, status, max(pass, 1), blockHeading)
	var last MapBlock
	for b := range m.Blocks {
		if b.Len == 0 {
			continue
		}
		if last.Len > 0 && b.Status == last.Status && b.Off == last.End() {
			last.Len += b.Len
			continue
		}
		if writeBlock(buf, last) != nil {
			break
		}
		last = b
	}
	writeBlock(buf, last)
	err := buf.Flush()
	return out.n, err
}

func writeBlock(w io.Writer, b MapBlock) error {
	if b.Len == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "0x%08X  0x%08X  %c\n", b.Off, b.Len, b.Status)
	return err
}

func printable(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// SaveMapfile writes a [Mapfile] or [MapStream] to path so that, whatever happens meanwhile, path is
// either as it was or complete. Neither path nor its TempName may be a source: see
// [Identity].
func SaveMapfile(path string, m io.WriterTo) error {
	return saveAtomically(path, func(f *os.File) error {
		_, err := m.WriteTo(f)
		return err
	})
}

// TempName is the file that SaveMapfile writes, replacing one of that name, before it gives
// it the name path.
func TempName(path string) string { return path + ".tmp" }

// saveAtomically writes a file beside path and renames it to path once it is on the disk.
func saveAtomically(path string, write func(*os.File) error) error {
	tmp := TempName(path)
	// One left by a killed run. It is removed, not opened: it might be a link.
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("save %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir brings the names in a directory to the disk, as far as the filesystem can.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil // the filesystem has no such thing
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
