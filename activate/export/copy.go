package export

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lvrescue/lvrescue/scan/block"
)

// task is one export at work. A planner cuts the device into units; workers read and write
// chunks, in any order; a collector takes the finished units in their order, hashes them
// and keeps the ledger. Each chunk holds one of a fixed number of buffers from the planner
// to the collector, which bounds the memory.
type task struct {
	dev    block.Device
	img    *image
	opts   *Options
	hashes *hashes
	start  time.Time

	ledger  ledger
	written int64
	resumed int64
	told    time.Time // when Progress was last called
}

// job is a unit on its way.
type job struct {
	unit
	buf     []byte // of a chunk; nil for a run
	extents []block.Extent
	written int64         // bytes written to the image
	resumed int64         // bytes that were in the image already
	done    chan struct{} // closed when a worker is through with it; nil for a run
}

// copy brings the device into FILE.part.
func (r *task) copy(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	buffers := make(chan []byte, 2*r.opts.Workers+2)
	for range cap(buffers) {
		buffers <- nil // made when first used
	}
	work := make(chan *job, cap(buffers))
	order := make(chan *job, cap(buffers))

	group.Go(block.Guarded(func() error {
		defer close(work)
		defer close(order)
		return r.plan(ctx, buffers, work, order)
	}))
	for range r.opts.Workers {
		group.Go(block.Guarded(func() error {
			for j := range work {
				if err := r.chunk(j); err != nil {
					return err
				}
				close(j.done)
			}
			return nil
		}))
	}
	group.Go(block.Guarded(func() error { return r.collect(ctx, order, buffers) }))
	return group.Wait()
}

// plan makes a job of each unit and sends it on its two ways.
func (r *task) plan(ctx context.Context, buffers <-chan []byte, work, order chan<- *job) error {
	for u := range units(r.dev, int64(r.opts.ChunkSize), r.isHole) {
		j := &job{unit: u}
		if u.run == nil {
			select {
			case j.buf = <-buffers:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if j.buf == nil {
				j.buf = make([]byte, r.opts.ChunkSize)
			}
			j.buf, j.done = j.buf[:u.n], make(chan struct{})
			work <- j // never blocks: it has room for every buffer
		}
		select {
		case order <- j:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// isHole says whether an extent is a hole of the image. What is bad only now, but in the
// image since an earlier run, is not.
func (r *task) isHole(e block.Extent) bool {
	return e.State == block.Zero ||
		e.State == block.Bad && r.opts.Fill == FillZero && !r.img.before.any(e.Off, e.End())
}

// chunk brings a chunk into the image. What an earlier run has finished there is kept, all
// else is read from the device: what was bad or doubtful may have become better. So the
// bytes that FILE.part.map calls finished are never written again.
func (r *task) chunk(j *job) error {
	for b := range r.img.before.within(j.off, j.end()) {
		part := j.buf[b.Off-j.off : b.End()-j.off]
		step := r.fetch
		if b.Status == block.Finished {
			step = r.keep
		}
		if err := step(j, part, b.Off); err != nil {
			return err
		}
	}
	return nil
}

// fetch brings a part of a chunk, at off, from the device into the image.
func (r *task) fetch(j *job, p []byte, off int64) error {
	err := block.ReadRange(r.dev, p, off, func(e block.Extent) {
		j.extents = append(j.extents, e)
		if e.State == block.Bad && r.opts.Fill == FillPattern {
			fillPattern(p[e.Off-off:e.End()-off], e.Off)
		}
	})
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	n, err := r.img.write(p, off)
	j.written += n
	return err
}

// keep gets a part of a chunk, at off, from the image, if the hashes need it.
func (r *task) keep(j *job, p []byte, off int64) error {
	for e := range r.dev.Extents(off, int64(len(p))) {
		if e.State == block.Bad { // it was not when it was read
			e.State, e.Why = block.Data, ""
		}
		j.extents = append(j.extents, e)
	}
	j.resumed += int64(len(p))
	if r.hashes.none() {
		return nil
	}
	return r.img.read(p, off)
}

// fillPattern writes Pattern to p, which stands at off in the image.
func fillPattern(p []byte, off int64) {
	for i := range p {
		p[i] = Pattern[(off+int64(i))%int64(len(Pattern))]
	}
}

// collect takes the jobs in order as they become ready.
func (r *task) collect(ctx context.Context, order <-chan *job, buffers chan<- []byte) error {
	keeper := newKeeper(r.img, r.opts.CheckpointEvery)
	defer keeper.stop()
	for j := range order {
		if !j.ready(ctx) {
			return context.Cause(ctx)
		}
		if err := r.take(ctx, j); err != nil {
			return err
		}
		if j.buf != nil {
			buffers <- j.buf[:cap(j.buf)]
		}
		if err := keeper.keep(r.ledger.pos, r.partMap); err != nil {
			return err
		}
		r.tell(false)
	}
	if r.ledger.pos < r.dev.Size() {
		return context.Cause(ctx) // the planner was stopped
	}
	r.tell(true)
	return nil
}

// ready waits until a job can be taken. It is false when the work has ended before: but a
// chunk that has been read is taken even then, since the disk may not give it again.
func (j *job) ready(ctx context.Context) bool {
	if j.done == nil {
		return true
	}
	select {
	case <-j.done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// take hashes a job and enters it in the ledger.
func (r *task) take(ctx context.Context, j *job) error {
	if j.run != nil {
		if err := r.img.clear(j.off, j.n); err != nil {
			return err
		}
		if r.hashes.zeros(ctx, j.n); !r.hashes.none() && ctx.Err() != nil {
			return context.Cause(ctx) // the run may be hashed in part
		}
		r.ledger.add(*j.run)
	} else {
		r.hashes.write(j.buf)
	}
	for _, e := range j.extents {
		r.ledger.add(e)
	}
	r.written += j.written
	r.resumed += j.resumed
	return nil
}

// partMap is the state of FILE.part: what this run has done before pos, and behind that
// what an earlier one had.
func (r *task) partMap(pos int64) io.WriterTo {
	size, lost, before := r.dev.Size(), r.ledger.lost.clone(), r.img.before
	return &block.MapStream{Comments: slices.Values(partComments(r.opts, size)), Pos: pos, Status: byte(block.NonTried),
		Blocks: func(yield func(block.MapBlock) bool) {
			for b := range lost.blocks(pos) {
				if !yield(b) {
					return
				}
			}
			before.within(pos, size)(yield)
		}}
}

// tell calls Progress, unless it has only just been called.
func (r *task) tell(always bool) {
	now := time.Now()
	if r.opts.Progress == nil || !always && now.Sub(r.told) < 100*time.Millisecond {
		return
	}
	r.told = now
	r.opts.Progress(Progress{
		Done: r.ledger.pos, Size: r.dev.Size(),
		Bad: r.ledger.totals.Bad, Doubtful: r.ledger.totals.Doubtful,
		Elapsed: now.Sub(r.start),
	})
}
