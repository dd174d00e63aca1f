package block

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
)

// WriteTo writes the mapfile as ddrescue does. A character of a comment that would end its
// line is written as a space.
func (m *Mapfile) WriteTo(w io.Writer) (int64, error) {
	out := &countingWriter{w: w}
	buf := bufio.NewWriterSize(out, 64<<10)
	for _, c := range m.Comments {
		fmt.Fprintf(buf, "# %s\n", strings.Map(printable, c))
	}
	status, pass := m.Status, m.Pass
	if status == 0 {
		status = byte(Finished)
	}
	fmt.Fprintf(buf, "# %s\n0x%08X     %c               %d\n# %s\n", statusHeading, m.Pos, status, max(pass, 1), blockHeading)
	for _, b := range m.Blocks {
		fmt.Fprintf(buf, "0x%08X  0x%08X  %c\n", b.Off, b.Len, b.Status)
	}
	err := buf.Flush()
	return out.n, err
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

// SaveMapfile writes the mapfile to path so that, whatever happens meanwhile, path is
// either as it was or complete. Neither path nor its TempName may be a source: see
// [Identity].
func SaveMapfile(path string, m *Mapfile) error {
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
