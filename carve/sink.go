package carve

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lvrescue/lvrescue/scan/block"
)

// sink takes what the workers of one source find.
type sink struct {
	r   *sourceRun
	log *findLog

	mu     sync.Mutex
	seen   map[place]seen
	count  count
	added  int64
	dirty  []string    // texts that are not on the disk yet
	marked bool        // the map has changed since it was saved
	full   atomic.Bool // no more fragments are wanted
	err    error       // of the log or the map: what follows is not kept
}

// place keeps finds apart: of several in one place one is kept.
type place struct {
	offset int64
	kind   Kind
}

// seen is as much of a find as tells whether another one in its place is better.
type seen struct {
	vouched int8
	how     How
	length  int64
	sum     [8]byte // the first of the text's SHA-256
}

func seenOf(f *Find) seen {
	s := seen{int8(vouched(f)), f.How, f.Length, [8]byte{}}
	hex.Decode(s.sum[:], []byte(f.SHA256[:min(len(f.SHA256), 2*len(s.sum))]))
	return s
}

// better ranks finds of one place and kind as compare does.
func (s seen) better(o seen) bool {
	return cmp.Or(-cmp.Compare(s.vouched, o.vouched), cmp.Compare(s.length, o.length),
		bytes.Compare(s.sum[:], o.sum[:]), cmp.Compare(s.how, o.how)) < 0
}

// newSink goes on with the log of a source.
func newSink(r *sourceRun) (*sink, error) {
	path := filepath.Join(r.known.dir, findsFile)
	finds, _, err := readFinds(path)
	if err != nil {
		return nil, err
	}
	s := &sink{r: r, seen: map[place]seen{}}
	for _, f := range tidy(finds) {
		s.seen[place{f.Offset, f.Kind}] = seenOf(f)
		s.count.take(f)
	}
	s.log, err = openLog(path)
	return s, err
}

// add keeps a find and its text, unless its place is known, or there are too many.
func (s *sink) add(f *Find, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	p := place{f.Offset, f.Kind}
	known, again := s.seen[p]
	if again && !seenOf(f).better(known) {
		return nil
	}
	if !again && !s.count.take(f) {
		if f.Kind == Fragment {
			s.full.Store(true)
		}
		return nil
	}
	s.seen[p] = seenOf(f)
	if f.SHA256 != "" {
		written, err := saveText(s.r.c.Dir, f.SHA256, text)
		if err != nil {
			s.err = err
			return err
		}
		if written {
			s.dirty = append(s.dirty, textPath(s.r.c.Dir, f.SHA256))
		}
	}
	if !again {
		s.added++
		s.r.progress.add(0, 1)
	}
	s.err = s.log.add(f)
	return s.err
}

// done takes down the outcome of a unit, all finds of which were added.
func (s *sink) done(spans []block.MapBlock) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range spans {
		s.r.cover.set(b.Off, b.Len, b.Status)
	}
	s.marked = true
	return s.err
}

// saveEvery brings the case to the disk again and again, until stop is closed.
func (s *sink) saveEvery(every time.Duration, stop <-chan struct{}) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			err := s.save()
			s.mu.Unlock()
			if err != nil {
				return err
			}
		case <-stop:
			return nil
		}
	}
}

// save brings finds, texts and then the map to the disk: a place counts as searched only
// when what was found there is safe.
func (s *sink) save() error {
	if s.err != nil || !s.marked {
		return s.err
	}
	s.err = s.saveFinds()
	if s.err == nil {
		s.err = block.SaveMapfile(s.r.mapPath, s.r.cover.mapfile(s.r.known.Name))
	}
	s.marked = s.err != nil
	return s.err
}

func (s *sink) saveFinds() error {
	for _, path := range s.dirty {
		if err := syncFile(path); err != nil {
			return err
		}
	}
	if len(s.dirty) > 0 {
		if err := block.SyncDir(filepath.Join(s.r.c.Dir, textsDir)); err != nil {
			return err
		}
	}
	s.dirty = s.dirty[:0]
	return s.log.sync()
}

// close saves for the last time.
func (s *sink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.save()
	s.seen = nil // what comes now takes memory of its own
	if closed := s.log.close(); err == nil {
		err = closed
	}
	return err
}
