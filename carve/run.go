package carve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Options say what is searched, and how.
type Options struct {
	From, To int64 // bytes of each source; To 0 is its end
	Deep     bool  // texts at every byte, not only on sectors
	Retry    bool  // what the medium has refused before

	Workers    int           // 0: as many as there are CPUs, four at most
	Checkpoint time.Duration // how often the case is brought to the disk; 0: every five seconds
	Progress   func(Progress)
}

// Progress tells how far a search has come. It may be told by several goroutines at once.
type Progress struct {
	Done, Total int64 // bytes of all sources that this run has to search
	Finds       int64 // that are new
}

// Outcome is what a search of one source has come to.
type Outcome struct {
	Source *Source
	Name   string // of the source, as it was given
	Finds  []*Find
	New    int64 // finds that the case did not have

	Wanted   int64  // bytes of the source that were to be searched, in this run and before
	Searched int64  // bytes of them that are
	Refused  int64  // bytes that the medium refused
	Unread   int64  // bytes that the source's mapfile says were never read
	Left     string // what kinds of finds were left out because there were too many; or ""
	Changed  bool   // the source was written to since it was searched last, though it is the same
	Damaged  int    // lines of the case that could not be read
}

const (
	unitSize  = 8 << 20   // what the map tells apart
	pieceSize = 256 << 10 // what is read at once: it stays in the cache of the core that searches it

	maxWorkers    = 4
	checkpointing = 5 * time.Second
)

// Run searches sources that are open, one after the other, and adds what it finds to the
// case. A search that ends early, by ctx or by an error, leaves a case from which the next
// goes on; the outcomes tell how far it came.
func (c *Case) Run(ctx context.Context, sources []*scan.Source, opt Options) ([]*Outcome, error) {
	if opt.Workers <= 0 {
		opt.Workers = min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	if opt.Checkpoint <= 0 {
		opt.Checkpoint = checkpointing
	}
	var runs []*sourceRun
	var total int64
	taken := map[*Source]bool{}
	for _, src := range sources {
		r, err := c.start(src, opt, taken)
		if err != nil {
			return nil, err
		}
		taken[r.known] = true
		for p := range r.todo() {
			total += p.Length
		}
		runs = append(runs, r)
	}
	p := &progress{total: total, tell: opt.Progress}
	var outcomes []*Outcome
	for _, r := range runs {
		r.progress = p
		o, err := r.run(ctx)
		if o != nil {
			outcomes = append(outcomes, o)
		}
		if err != nil {
			return outcomes, err
		}
	}
	return outcomes, nil
}

// progress counts what is done.
type progress struct {
	done, finds atomic.Int64
	total       int64
	tell        func(Progress)
}

func (p *progress) add(bytes, finds int64) {
	done, found := p.done.Add(bytes), p.finds.Add(finds)
	if p.tell != nil {
		p.tell(Progress{done, p.total, found})
	}
}

// sourceRun is the search of one source.
type sourceRun struct {
	c        *Case
	src      *scan.Source
	known    *Source
	opt      Options
	from, to int64 // of the source
	changed  bool  // it was written to since it was searched last
	cover    *coverage
	mapPath  string
	ring     atomic.Int64
	progress *progress
	sink     *sink
}

// start makes a source known to the case, and finds out how far it has been searched.
// taken are the sources that others of this run are.
func (c *Case) start(src *scan.Source, opt Options, taken map[*Source]bool) (*sourceRun, error) {
	known, err := c.Find(src), error(nil)
	r := &sourceRun{c: c, src: src, opt: opt}
	switch {
	case known == nil || taken[known]:
		known, err = c.add(src)
	case known.Stamp != src.Stamp() && known.Stamp != "" && src.Stamp() != "":
		r.changed = true
		known.Stamp = src.Stamp()
		err = writeJSON(filepath.Join(known.dir, sourceFile), known)
	}
	if err != nil {
		return nil, err
	}
	r.known = known
	size := src.Dev.Size()
	r.from, r.to = block.Clip(size, opt.From&^(sector-1), size)
	if opt.To > 0 {
		r.to = max(min((opt.To+sector-1)&^(sector-1), size), r.from)
	}
	r.ring.Store(maxRings)
	r.mapPath = filepath.Join(known.dir, known.mapName(opt.Deep))
	r.cover, err = readCoverage(r.mapPath, size)
	return r, err
}

// mapName is the name of the map of ordinary or deep searches.
func (s *Source) mapName(deep bool) string {
	if deep {
		return deepFile
	}
	return surfaceFile
}

// readCoverage reads a map of a source of size bytes; without one nothing was searched.
func readCoverage(path string, size int64) (*coverage, error) {
	m, err := block.ReadMapfile(path)
	if errors.Is(err, fs.ErrNotExist) {
		m, err = &block.Mapfile{}, nil
	}
	if err == nil {
		err = m.Fits(size)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; remove the file to search again what it is about: no find is lost", err)
	}
	return newCoverage(size, m), nil
}

func (r *sourceRun) todo() func(yield func(Piece) bool) {
	return r.cover.todo(r.from, r.to, unitSize, r.opt.Retry)
}

// run searches what is left to search, and concludes.
func (r *sourceRun) run(ctx context.Context) (*Outcome, error) {
	sink, err := newSink(r)
	if err != nil {
		return nil, err
	}
	r.sink = sink
	err = r.searchAll(ctx)
	if closed := sink.close(); err == nil {
		err = closed
	}
	o, concluded := r.conclude()
	if err == nil {
		err = concluded
	}
	return o, err
}

// searchAll hands out units to workers.
func (r *sourceRun) searchAll(ctx context.Context) error {
	units := make(chan Piece)
	todo := r.todo()
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(units)
		for u := range todo {
			select {
			case units <- u:
			case <-running.Done():
				return running.Err()
			}
		}
		return nil
	})
	stop := make(chan struct{})
	saved := make(chan error, 1)
	go func() { saved <- r.sink.saveEvery(r.opt.Checkpoint, stop) }()
	for range r.opt.Workers {
		g.Go(func() error { return r.work(running, units) })
	}
	err := g.Wait()
	close(stop)
	if failed := <-saved; err == nil {
		err = failed
	}
	return err
}

// work searches units until there are no more.
func (r *sourceRun) work(ctx context.Context, units <-chan Piece) error {
	w := &worker{r: r, s: &searcher{dev: r.src.Dev, deep: r.opt.Deep, ring: &r.ring, full: &r.sink.full, emit: r.sink.add}, buf: make([]byte, pieceSize)}
	for u := range units {
		if err := w.unit(ctx, u); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// worker searches one unit at a time.
type worker struct {
	r     *sourceRun
	s     *searcher
	buf   []byte
	of    Piece            // the unit
	spans []block.MapBlock // outcome of the unit
}

// unit searches what of a unit there is to read.
func (w *worker) unit(ctx context.Context, u Piece) error {
	w.of, w.spans = u, w.spans[:0]
	for e := range w.r.src.Dev.Extents(u.Offset, u.Length) {
		switch e.State {
		case block.Zero:
			w.span(e.Off, e.Len, block.Finished)
		case block.Bad:
			w.span(e.Off, e.Len, block.NonTried)
		default:
			if err := w.extent(ctx, e); err != nil {
				return err
			}
			continue
		}
		w.r.progress.add(e.Len, 0)
	}
	return w.r.sink.done(w.spans)
}

// extent reads and searches a range that can be read as far as is known.
func (w *worker) extent(ctx context.Context, e block.Extent) error {
	size := w.r.src.Dev.Size()
	for off := e.Off &^ (sector - 1); off < e.End(); off += pieceSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(off+pieceSize, (e.End()+sector-1)&^(sector-1))
		have := min(end, size) - off
		buf := w.buf[:end-off]
		clear(buf[have:])
		if err := w.read(buf[:have], off); err != nil {
			return err
		}
		if err := w.s.search(buf, off); err != nil {
			return err
		}
		w.r.progress.add(min(off+pieceSize, e.End())-max(off, e.Off), 0)
	}
	return nil
}

// read fills buf from the source, and takes down what the medium refuses.
func (w *worker) read(buf []byte, off int64) error {
	n, err := w.r.src.Dev.ReadAt(buf, off)
	if n == len(buf) {
		w.span(off, int64(n), block.Finished)
		return nil
	}
	var bad *block.BadRangeError
	if !errors.As(err, &bad) {
		return fmt.Errorf("%s: read %d bytes at %d: %w", w.r.src.Name, len(buf), off, err)
	}
	return block.ReadRange(w.r.src.Dev, buf, off, func(e block.Extent) {
		if e.State == block.Bad {
			w.span(e.Off, e.Len, block.BadSector)
		} else {
			w.span(e.Off, e.Len, block.Finished)
		}
	})
}

// maxSpans is how many ranges of a unit are told apart; what is behind them counts as the
// last of them.
const maxSpans = 1 << 10

// span takes down the outcome of n bytes at off, of which the first may be known, or be of
// other units: sectors are searched as wholes.
func (w *worker) span(off, n int64, status block.MapStatus) {
	lo, hi := max(off, w.of.Offset), min(off+n, w.of.Offset+w.of.Length)
	off, n = lo, hi-lo
	last := len(w.spans) - 1
	if last >= 0 {
		if rest := w.spans[last].End() - off; rest > 0 {
			off, n = off+rest, n-rest
		}
	}
	switch {
	case n <= 0:
	case last >= 0 && w.spans[last].End() == off && (w.spans[last].Status == status || last+1 == maxSpans):
		w.spans[last].Len += n
	default:
		w.spans = append(w.spans, block.MapBlock{Off: off, Len: n, Status: status})
	}
}

// conclude puts the finds of the source in order, and counts.
func (r *sourceRun) conclude() (*Outcome, error) {
	o := &Outcome{Source: r.known, Name: r.src.Name, New: r.sink.added, Changed: r.changed, Left: r.sink.count.String()}
	finds, damaged, err := r.c.conclude(r.known)
	if err != nil {
		return nil, err
	}
	o.Finds, o.Damaged, o.Wanted = finds, damaged, r.to-r.from
	o.Searched = r.cover.sum(r.from, r.to, block.Finished)
	o.Refused = r.cover.sum(r.from, r.to, block.BadSector)
	for p := range r.cover.todo(r.from, r.to, unitSize, false) {
		for e := range r.src.Dev.Extents(p.Offset, p.Length) {
			if e.State == block.Bad {
				o.Unread += e.Len
			}
		}
	}
	return o, nil
}

// conclude joins texts that stand in pieces, and puts the finds of a source in order.
func (c *Case) conclude(s *Source) (finds []*Find, damaged int, err error) {
	path := filepath.Join(s.dir, findsFile)
	finds, damaged, err = readFinds(path)
	if err != nil {
		return nil, damaged, err
	}
	finds = tidy(slices.DeleteFunc(finds, func(f *Find) bool { return f.How == ByJoin }))
	joined, texts := join(finds, func(f *Find) ([]byte, error) { return c.Text(f.SHA256) })
	for i, f := range joined {
		if _, err := saveText(c.Dir, f.SHA256, texts[i]); err != nil {
			return nil, damaged, err
		}
	}
	finds = tidy(append(finds, joined...))
	return finds, damaged, writeFinds(path, finds)
}
