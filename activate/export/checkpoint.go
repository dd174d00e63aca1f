package export

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"
	"unicode"

	"github.com/lvrescue/lvrescue/scan/block"
)

const mapTitle = "Mapfile. Created by lvrescue export"

// partComments are the comments of FILE.part.map: what the unfinished image is of. A
// resumed export must have the same.
func partComments(opts *Options, size int64) []string {
	return []string{
		mapTitle,
		fmt.Sprintf("Unfinished image of: %s", cleanLine(opts.Identity)),
		fmt.Sprintf("Size: %d", size),
		fmt.Sprintf("Fill: %s", opts.Fill),
	}
}

// cleanLine makes a text one that comes back out of a comment as it went in.
func cleanLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// before is what an earlier run left in FILE.part: stretches of a block.MapStatus. The zero value
// is nothing.
type before struct {
	stretches
}

// readBefore reads FILE.part.map and holds it against what is to be exported now.
func readBefore(path string, opts *Options, size int64) (before, error) {
	var b before
	first, end, room := int64(-1), int64(0), true
	b.limit = 4 * maxRuns
	m, err := block.ScanMapfile(path, func(one block.MapBlock) {
		if first < 0 {
			first = one.Off
		}
		end = one.End()
		room = b.add(stretch{off: one.Off, n: one.Len, kind: byte(one.Status)}) && room
	})
	if errors.Is(err, fs.ErrNotExist) {
		return before{}, fmt.Errorf("%s, which says how far the export came, is not there: --force starts over", path)
	}
	if err != nil {
		return before{}, err
	}
	want := partComments(opts, size)
	if len(m.Comments) != len(want) || m.Comments[0] != want[0] {
		return before{}, fmt.Errorf("%s: is not of an unfinished export", path)
	}
	if m.Comments[1] != want[1] {
		return before{}, fmt.Errorf("%s: cannot resume: it has %q, this export %q: another LV, or its sources, metadata or readable parts have changed since, and old and new bytes would be mixed; force a new export, or name another file", path, m.Comments[1], want[1])
	}
	for i := range want {
		if m.Comments[i] != want[i] {
			return before{}, fmt.Errorf("%s: cannot resume: it has %q, this export %q", path, m.Comments[i], want[i])
		}
	}
	if !room {
		return before{}, fmt.Errorf("%s: cannot resume: more bad ranges than can be kept apart", path)
	}
	if first > 0 || end != size {
		return before{}, fmt.Errorf("%s: cannot resume: it does not cover bytes 0 to %d", path, size)
	}
	return b, nil
}

// within gives the blocks of [lo, hi), cut to it; where nothing is known, they are
// non-tried.
func (b before) within(lo, hi int64) iter.Seq[block.MapBlock] {
	return func(yield func(block.MapBlock) bool) {
		if lo >= hi {
			return
		}
		for one := range b.from(lo) {
			end := min(one.end(), hi)
			if !yield(block.MapBlock{Off: lo, Len: end - lo, Status: block.MapStatus(one.kind)}) {
				return
			}
			if lo = end; lo == hi {
				return
			}
		}
		if lo < hi {
			yield(block.MapBlock{Off: lo, Len: hi - lo, Status: block.NonTried})
		}
	}
}

// any says whether something of [lo, hi) is finished.
func (b before) any(lo, hi int64) bool {
	for one := range b.within(lo, hi) {
		if one.Status == block.Finished {
			return true
		}
	}
	return false
}

// flushStep is how many bytes are done between two starts of write-back. The disk is kept
// busy from the start, so that there is little left to sync at a checkpoint and at the end.
const flushStep = 32 << 20

// keeper saves checkpoints and keeps the disk busy, one thing at a time, beside the
// copying.
type keeper struct {
	img     *image
	every   time.Duration
	last    time.Time  // when the last checkpoint was made
	flushed int64      // up to where write-back has been started
	busy    bool       // a task is running, or its result is waiting
	result  chan error // of the task
}

func newKeeper(img *image, every time.Duration) *keeper {
	return &keeper{img: img, every: every, last: time.Now(), result: make(chan error, 1)}
}

// keep is told that everything before pos is done. It starts what is due and returns the
// error of an earlier task.
func (k *keeper) keep(pos int64, partMap func(pos int64) io.WriterTo) error {
	if k.busy {
		select {
		case err := <-k.result:
			k.busy = false
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
	if time.Since(k.last) >= k.every {
		m := partMap(pos)
		k.start(func() error {
			defer func() { k.last = time.Now() }() // a map of many ranges takes its time
			return k.img.checkpoint(m, pos)
		})
	} else if from := k.flushed; pos-from >= flushStep {
		k.flushed = pos
		k.start(func() error { return k.img.startWriteback(from, pos-from) })
	}
	return nil
}

func (k *keeper) start(task func() error) {
	k.busy = true
	go func() { k.result <- block.Guarded(task)() }()
}

// stop waits for the task that is running. A failed sync is known to the image; any other
// failure no longer matters.
func (k *keeper) stop() {
	if k.busy {
		<-k.result
	}
}
