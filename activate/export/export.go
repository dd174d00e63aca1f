// Package export writes a block.Device to an image file: sparse, in parallel, resumable,
// with an exact account of what is missing.
//
// While an export runs, the image grows as FILE.part, and FILE.part.map, a ddrescue
// mapfile, says which of its bytes are on the disk. Only a finished image gets the name
// FILE. Where anything is bad or doubtful, FILE.map tells where and why; it comes before
// FILE does, so that FILE never stands there looking whole:
//
//	FILE.part.map   FILE.part   while it runs, and after a failure
//	FILE.map        FILE        when finished; FILE.map only if there is something to tell
//
// All offsets and lengths are bytes.
package export

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"time"

	"github.com/lvrescue/lvrescue/activate/outfile"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Fill says what stands in the image where the device is bad.
type Fill string

const (
	FillZero    Fill = "zero"
	FillPattern Fill = "pattern" // Pattern, over and over
)

// Pattern is what FillPattern repeats; the byte at offset o of the image is
// Pattern[o % len(Pattern)].
const Pattern = "LVRESCUE:NODATA:"

const (
	defaultChunk = 256 << 10 // what was read is still in the cache of the core that writes it
	maxChunk     = 64 << 20
	maxWorkers   = 16
	maxIdentity  = 4096
)

// Options says how to export. The zero value exports with zeros for bad ranges and without
// hashes, and overwrites nothing.
type Options struct {
	Fill   Fill     // "" is FillZero
	Hashes []string // of the image as delivered, fill included: "sha256", "md5"

	Resume bool // go on with an unfinished export of the same Identity, if there is one
	Force  bool // replace FILE, and start over instead of minding FILE.part

	// Identity tells what is exported, for Resume: the same string, the same bytes.
	Identity string

	// Sources must not change: an output that is one of them is refused, under whatever
	// name, and so is a filesystem that is stored on one, unless OnSource allows that.
	Sources  []block.Identity
	OnSource bool

	Workers   int // parallel reads; 0 is one per CPU
	ChunkSize int // bytes that are read at once, a multiple of 4096; 0 is 256 KiB

	// CheckpointEvery is how often FILE.part.map is brought up to date; 0 is 30 s.
	CheckpointEvery time.Duration

	// Progress is called about ten times a second and at the end, never in parallel.
	Progress func(Progress)
}

// Progress is how far an export has come. All but Elapsed are bytes.
type Progress struct {
	Done, Size    int64
	Bad, Doubtful int64 // so far
	Elapsed       time.Duration
}

// Hash is a checksum of the image.
type Hash struct {
	Name string // as in Options.Hashes
	Sum  []byte
}

// Summary is what became of an export.
type Summary struct {
	Path    string // of the image
	Map     string // of the ddrescue mapfile, or "" when everything is good
	Size    int64  // of the image, in bytes
	Totals  block.Totals
	Lost    iter.Seq[block.Extent] // bad and doubtful ranges of the image
	Hashes  []Hash
	Written int64 // bytes written to the image, as against holes
	Resumed int64 // bytes that an earlier run had finished
	Elapsed time.Duration
}

// Run exports the whole of dev to the file out. When it fails, or ctx is cancelled, what
// has been done stays in FILE.part and FILE.part.map for Options.Resume; nothing else is
// touched. The Summary is nil then.
func Run(ctx context.Context, dev block.Device, out string, opts Options) (*Summary, error) {
	start := time.Now()
	if err := opts.complete(); err != nil {
		return nil, err
	}
	hashes, err := newHashes(opts.Hashes)
	if err != nil {
		return nil, err
	}
	img, err := openImage(out, dev.Size(), &opts)
	if err != nil {
		return nil, err
	}
	defer img.close()

	t := &task{dev: dev, img: img, opts: &opts, hashes: hashes, start: start, ledger: newLedger()}
	err = t.copy(ctx)
	if err == nil {
		err = img.finish(t.ledger.finalMap(&opts))
	}
	if err != nil {
		return nil, t.fail(err)
	}
	return t.summary(), nil
}

// complete checks the options and puts in the defaults.
func (o *Options) complete() error {
	if o.Fill == "" {
		o.Fill = FillZero
	}
	if o.Fill != FillZero && o.Fill != FillPattern {
		return fmt.Errorf("unknown fill %q; want %q or %q", o.Fill, FillZero, FillPattern)
	}
	if len(o.Identity) > maxIdentity {
		return fmt.Errorf("identity of %d bytes; want %d at most", len(o.Identity), maxIdentity)
	}
	if o.ChunkSize == 0 {
		o.ChunkSize = defaultChunk
	}
	if o.ChunkSize < pageSize || o.ChunkSize > maxChunk || o.ChunkSize%pageSize != 0 {
		return fmt.Errorf("chunk size of %d bytes; want a multiple of %d up to %d", o.ChunkSize, pageSize, maxChunk)
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Workers = min(o.Workers, maxWorkers)
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 30 * time.Second
	}
	return nil
}

// fail saves what has been done and tells what that is worth.
func (r *task) fail(cause error) error {
	if r.img.named {
		return fmt.Errorf("%s is written, but: %w", r.img.path, cause)
	}
	err := r.save()
	cause = fmt.Errorf("%w (%d of %d bytes are in %s; a resumed export goes on from there)",
		cause, r.img.saved, r.dev.Size(), r.img.part())
	return errors.Join(cause, err)
}

// save makes the last checkpoint of a run that has failed. If it was for a full disk, there
// is no room for the map either: then chunks that no map knows of yet are given up for it.
func (r *task) save() error {
	pos, size, chunk := r.ledger.pos, r.dev.Size(), int64(r.opts.ChunkSize)
	err := r.img.checkpoint(r.partMap(pos), pos)
	for back := int64(0); errors.Is(err, outfile.ErrDiskFull) && pos-back > r.img.saved; back = max(2*back, chunk) {
		if r.img.drop(pos-back, size) != nil {
			break
		}
		err = r.img.checkpoint(r.partMap(pos-back), pos-back)
	}
	return err
}

func (r *task) summary() *Summary {
	s := &Summary{
		Path: r.img.path, Size: r.dev.Size(),
		Totals: r.ledger.totals, Lost: r.ledger.lost.extents(),
		Hashes: r.hashes.sums(), Written: r.written, Resumed: r.resumed,
		Elapsed: time.Since(r.start),
	}
	if !s.Totals.Whole() {
		s.Map = r.img.mapfile()
	}
	return s
}
