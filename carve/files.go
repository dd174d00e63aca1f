package carve

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Names in a case.
const (
	caseFile    = "case.json"
	lockFile    = "lock"
	sourcesDir  = "sources"
	textsDir    = "texts"
	sourceFile  = "source.json"
	findsFile   = "finds.jsonl"
	surfaceFile = "surface.map"
	deepFile    = "deep.map"
	textSuffix  = ".vg"
)

// Limits of what is read of a case, which may come from anywhere.
const (
	maxSourceFile = 1 << 20
	maxFindLine   = 1 << 20 // bytes
	maxSources    = 1 << 16
	maxLines      = 2 * maxFinds // of a log: a find may be written again when it is known better
)

// format is the content of case.json.
type format struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

var thisFormat = format{"lvrescue case", 1}

// replaceFile writes a file so that it is complete or as it was before.
func replaceFile(path string, write func(w io.Writer) error) error {
	tmp := block.TempName(path)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = errors.Join(write(w), w.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return block.SyncDir(filepath.Dir(path))
}

// readFile reads a file of a case that has at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, err
}

func writeJSON(path string, v any) error {
	return replaceFile(path, func(w io.Writer) error {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(v)
	})
}

func readJSON(path string, v any) error {
	b, err := readFile(path, maxSourceFile)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readFinds reads a log of finds. A last line that was being written when the power went is
// no find; the place that it was of counts as not searched. damaged counts all other lines
// that cannot be read.
func readFinds(path string) (finds []*Find, damaged int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := readLine(r)
		if err != nil || len(line) == 0 && err == io.EOF {
			if err == io.EOF {
				err = nil
			}
			return finds, damaged, err
		}
		find := &Find{}
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case json.Unmarshal(line, find) != nil || !find.possible():
			damaged++
		case len(finds) < maxLines:
			find.share()
			finds = append(finds, find)
		}
	}
}

// readLine is a line with its end. io.EOF comes with no line: one without an end is none.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line) <= maxFindLine {
			line = append(line, part...)
		}
		switch {
		case err == nil && len(line) > maxFindLine:
			return []byte("\n"), nil
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// share lets finds have one string of what few values there are for.
func (f *Find) share() {
	f.Checksum = f.checksum().String()
	if i := slices.Index(kinds, f.Kind); i >= 0 {
		f.Kind = kinds[i]
	}
	for _, h := range []How{BySector, ByByte, BySlot, ByRing, ByJoin} {
		if f.How == h {
			f.How = h
		}
	}
}

// possible tells whether a find that was read may be one.
func (f *Find) possible() bool {
	if f.Offset < 0 || f.Length < 0 || f.Length > metadata.MaxTextSize+sector || f.Offset > 1<<62 || f.Kind == Signed && f.Sign == nil {
		return false
	}
	for _, p := range f.Pieces {
		if p.Offset < 0 || p.Length <= 0 || p.Offset > 1<<62 || p.Length > metadata.MaxTextSize {
			return false
		}
	}
	if f.SHA256 == "" {
		return true
	}
	sum, err := hex.DecodeString(f.SHA256)
	return err == nil && len(sum) == sha256.Size
}

// writeFinds replaces a log of finds.
func writeFinds(path string, finds []*Find) error {
	return replaceFile(path, func(w io.Writer) error {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		for _, f := range finds {
			if err := out.Encode(f); err != nil {
				return err
			}
		}
		return nil
	})
}

// findLog appends to a log of finds.
type findLog struct {
	f *os.File
	w *bufio.Writer
	e *json.Encoder
}

// openLog opens a log to append to. Half a line at its end becomes a line of its own.
func openLog(path string) (*findLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	l := &findLog{f: f, w: bufio.NewWriterSize(f, 64<<10)}
	l.e = json.NewEncoder(l.w)
	l.e.SetEscapeHTML(false)
	last := make([]byte, 1)
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			l.w.WriteByte('\n')
		}
	}
	return l, nil
}

func (l *findLog) add(f *Find) error { return l.e.Encode(f) }

// sync brings everything to the disk.
func (l *findLog) sync() error {
	if err := l.w.Flush(); err != nil {
		return err
	}
	return l.f.Sync()
}

func (l *findLog) close() error {
	err := l.sync()
	if closed := l.f.Close(); err == nil {
		err = closed
	}
	return err
}

// textPath is where a case keeps a text.
func textPath(dir, sum string) string { return filepath.Join(dir, textsDir, sum+textSuffix) }

// saveText keeps a text that is not there yet, whole. It tells whether it was written, and
// so has to be brought to the disk.
func saveText(dir, sum string, text []byte) (written bool, err error) {
	path := textPath(dir, sum)
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(text)) {
		if _, err := readText(dir, sum); err == nil {
			return false, nil
		}
	}
	f, err := os.CreateTemp(filepath.Join(dir, textsDir), "new-*")
	if err != nil {
		return false, err
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return true, err
}

// readText reads a text of a case and holds it against its name.
func readText(dir, sum string) ([]byte, error) {
	b, err := readFile(textPath(dir, sum), metadata.MaxTextSize+windowSize)
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("%s: has been changed: its SHA-256 is not its name any more", textPath(dir, sum))
	}
	return b, nil
}

// syncFile brings a file that was written before to the disk.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
