package scan

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/lvrescue/lvrescue/scan/block"
)

// Kinds of sources.
const (
	kindFile   = "file"
	kindDevice = "block device"
	kindBackup = "backup file"
)

// open opens the source and lays its ddrescue mapfile over it. It reports whether there is
// anything to scan.
func (s *sourceScan) open() bool {
	file, err := block.Open(s.src.Name)
	if err != nil {
		s.refuse(err)
		return false
	}
	s.src.file, s.src.Dev, s.src.Kind = file, file, kindFile
	if file.IsBlockDevice() {
		s.src.Kind = kindDevice
	}
	if err := s.applyMap(file); err != nil {
		file.Close()
		s.src.file, s.src.Dev = nil, nil
		s.refuse(err)
		return false
	}
	if file.Size() < block.SectorSize {
		s.find(Warning, "source-empty", -1, "is %d bytes long, too short for anything", file.Size())
		return false
	}
	return true
}

// refuse notes that the source cannot be used.
func (s *sourceScan) refuse(err error) {
	s.src.Err = err
	s.find(Error, "source-unreadable", -1, "cannot be opened, and is left out: %v", err)
}

// applyMap finds the source's mapfile. One that the user named must be right; one that
// only lies beside the source is told of when it cannot be read.
func (s *sourceScan) applyMap(file *block.File) error {
	if path, ok := s.maps[filepath.Clean(s.src.Name)]; ok {
		m, err := block.ReadMapfile(path)
		if err != nil {
			return fmt.Errorf("mapfile of %s: %w", s.src.Name, err)
		}
		s.useMap(file, m, path)
		return nil
	}
	if file.IsBlockDevice() {
		return nil
	}
	for _, path := range mapsBeside(s.src.Name) {
		if !s.listed.mayHold(path) {
			continue
		}
		m, err := block.ReadMapfile(path)
		switch {
		case err == nil:
			s.useMap(file, m, path)
			return nil
		case !errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(path, ".log"):
			s.find(Warning, "map-unreadable", -1,
				"%s looks like the source's ddrescue mapfile, but cannot be used, so that everything is doubtful: %v; mend it, move it away, or name another with --map", path, err)
			s.src.Dev = block.NewDoubtful(file, fmt.Sprintf("%s: which areas were read is not known: its mapfile %s cannot be used", s.src.Name, path))
			return nil
		}
	}
	return nil
}

func (s *sourceScan) useMap(file *block.File, m *block.Mapfile, path string) {
	s.src.Mapfile = path
	s.src.Dev = block.WithMap(file, m, s.src.Name)
	if err := m.Fits(file.Size()); err != nil {
		s.find(Warning, "map-misfit", -1, "mapfile %s may belong to another image, so that everything is doubtful: %v", path, err)
		s.src.Dev = block.NewDoubtful(s.src.Dev, fmt.Sprintf("%s: its mapfile %s may belong to another image", s.src.Name, path))
	}
}

// mapsBeside are the places where a source's mapfile may lie.
func mapsBeside(source string) []string {
	stem := strings.TrimSuffix(source, filepath.Ext(source))
	var paths []string
	for _, suffix := range []string{".map", ".mapfile", ".log"} {
		paths = append(paths, source+suffix)
		if stem != source && stem+suffix != source {
			paths = append(paths, stem+suffix)
		}
	}
	return paths
}

// listings are the names in directories that have been listed, in lower case, as filesystems
// may not mind case. Thousands of images in one need not ask for six mapfiles each then.
type listings map[string]map[string]bool

func (l listings) add(dir string, entries []fs.DirEntry) {
	names := make(map[string]bool, len(entries))
	for _, e := range entries {
		names[strings.ToLower(e.Name())] = true
	}
	l[filepath.Clean(dir)] = names
}

// mayHold tells whether there may be a file of that path.
func (l listings) mayHold(path string) bool {
	names, ok := l[filepath.Dir(path)]
	return !ok || names[strings.ToLower(filepath.Base(path))]
}
