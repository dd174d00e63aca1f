package scan

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lvrescue/lvrescue/scan/block"
)

// Options say what a scan does beyond the ordinary.
type Options struct {
	Maps     map[string]string // ddrescue mapfiles by source, as both are named
	Backups  []string          // lvm2 backup or archive files
	History  bool              // search all rings, not only those whose newest text is lost
	Progress func(done, total int)

	// Places tells, once a source is open, where PVs may begin on it besides its start and
	// its partitions: a search of the whole surface has found labels or metadata areas.
	Places func(*Source) []Place
}

// Place is a span of a source that may hold a PV.
type Place struct {
	Offset int64   // bytes; below 0 when the source lacks the PV's start
	Size   int64   // bytes; 0 when it is not known, so that the PV may reach to the end of the source
	Areas  []int64 // bytes of the source where headers of metadata areas stand that say so
}

// Run scans sources and lvm2 backup files. An argument is a regular file, a block device,
// or a directory, of which every regular file is scanned. Without arguments all block
// devices of the machine are.
//
// A source that cannot be opened or read is part of the evidence, not an error. Errors are
// a mapfile that belongs to no source, and the end of ctx. The evidence holds the sources
// open until it is closed.
//
// Progress is told of each source that is done, by one goroutine at a time.
func Run(ctx context.Context, args []string, opts Options) (*Evidence, error) {
	ev := &Evidence{}
	listed := listings{}
	paths, err := ev.expand(args, listed)
	if err != nil {
		return nil, err
	}
	if opts.Maps, err = cleanMaps(opts.Maps, paths); err != nil {
		return nil, err
	}
	texts := &interner{}
	scans := make([]*sourceScan, len(paths))
	for i, path := range paths {
		scans[i] = newSourceScan(path, listed, texts, opts)
		ev.Sources = append(ev.Sources, scans[i].src)
	}
	if err := runAll(ctx, scans, opts.Progress); err != nil {
		ev.Close()
		return nil, err
	}
	for _, s := range scans {
		ev.PVs = append(ev.PVs, s.pvs...)
		ev.Copies = append(ev.Copies, s.copies...)
		ev.Findings = append(ev.Findings, s.findings...)
	}
	for _, path := range opts.Backups {
		ev.addBackup(path, texts)
	}
	return ev, nil
}

// cleanMaps gives the mapfiles by clean path, and makes sure that none is forgotten:
// without it unread areas would be taken for data.
func cleanMaps(maps map[string]string, paths []string) (map[string]string, error) {
	clean := make(map[string]string, len(maps))
	for source, mapfile := range maps {
		i := slices.IndexFunc(paths, func(p string) bool { return samePlace(p, source) })
		if i < 0 {
			return nil, fmt.Errorf("mapfile %s is for %s, which is not among the sources", mapfile, source)
		}
		clean[filepath.Clean(paths[i])] = mapfile
	}
	return clean, nil
}

// runAll runs the scans side by side, several to a core: disks wait more than they compute.
func runAll(ctx context.Context, scans []*sourceScan, progress func(done, total int)) error {
	var mu sync.Mutex
	done := 0
	tell := func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		progress(done, len(scans))
	}
	next := make(chan *sourceScan, len(scans))
	for _, s := range scans {
		next <- s
	}
	close(next)
	g, running := errgroup.WithContext(ctx)
	for range min(max(runtime.GOMAXPROCS(0), 4), len(scans)) {
		g.Go(block.Guarded(func() error {
			for s := range next {
				if err := s.run(running); err != nil {
					return err
				}
				if progress != nil {
					tell()
				}
			}
			return nil
		}))
	}
	return g.Wait()
}
