package export

import (
	"fmt"
	"iter"
	"time"

	"github.com/lvrescue/lvrescue/scan/block"
)

// maxRuns bounds the runs of bad and doubtful ranges that are kept apart, and with that the
// memory: ranges that come again and again at one distance are one run.
const maxRuns = 1 << 18

// tooMany is the reason of the range in which everything from the first range that cannot be
// kept apart to the last bad byte is called bad, the good bytes between as well.
const tooMany = "in or between more bad ranges than a map can list"

// ledger is the account of an export: what its bytes are worth, in order from 0 to pos.
type ledger struct {
	pos    int64
	totals block.Totals
	lost   stretches // bad and doubtful
	full   bool      // what follows becomes part of the last of them
}

func newLedger() ledger { return ledger{lost: stretches{limit: maxRuns}} }

// add enters the extent that follows.
func (l *ledger) add(e block.Extent) {
	l.pos = e.End()
	l.totals.Add(e)
	if e.State != block.Bad && e.State != block.Doubtful {
		return
	}
	if l.full || !l.lost.add(stretch{e.Off, e.Len, byte(e.State), e.Why}) {
		last := &l.lost.last
		last.n, last.kind, last.why = e.End()-last.off, byte(block.Bad), tooMany
		l.full = true
	}
}

// extents lists what is bad and doubtful.
func (l *stretches) extents() iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		for s := range l.from(0) {
			if !yield(block.Extent{Off: s.off, Len: s.n, State: block.State(s.kind), Why: s.why}) {
				return
			}
		}
	}
}

// blocks is what is bad and doubtful of the bytes before pos, as the blocks of a mapfile.
func (l *stretches) blocks(pos int64) iter.Seq[block.MapBlock] {
	return func(yield func(block.MapBlock) bool) {
		end := int64(0)
		for e := range l.extents() {
			if e.Off >= pos {
				break
			}
			status := block.BadSector
			if e.State == block.Doubtful {
				status = block.NonScraped
			}
			good := block.MapBlock{Off: end, Len: e.Off - end, Status: block.Finished}
			end = min(e.End(), pos)
			if !yield(good) || !yield(block.MapBlock{Off: e.Off, Len: end - e.Off, Status: status}) {
				return
			}
		}
		yield(block.MapBlock{Off: end, Len: pos - end, Status: block.Finished})
	}
}

// finalMap is FILE.map, or nil when there is nothing to tell. Comments above the blocks
// give the reason for each range.
func (l *ledger) finalMap(opts *Options) *block.MapStream {
	return l.mapOf(opts.Identity, fmt.Sprintf("- is bad, filled (%s) in the image; / is delivered, but doubtful; + is good", opts.Fill))
}

// MapOf is the map that an export of dev ends with unless the medium refuses a read, or nil
// when there is nothing to tell. identity is as in [Options].
func MapOf(dev block.Device, identity string) *block.MapStream {
	l := newLedger()
	for e := range dev.Extents(0, dev.Size()) {
		l.add(e)
	}
	return l.mapOf(identity, "- is bad and cannot be read; / is doubtful; + is good")
}

func (l *ledger) mapOf(identity, legend string) *block.MapStream {
	if l.totals.Whole() {
		return nil
	}
	return &block.MapStream{Pos: l.pos, Status: byte(block.Finished), Blocks: l.lost.blocks(l.pos),
		Comments: func(yield func(string) bool) {
			head := []string{
				mapTitle,
				"Of: " + identity,
				"Time: " + time.Now().UTC().Format(time.RFC3339),
				legend,
				"Position, size, reason:",
			}
			for _, c := range head {
				if !yield(c) {
					return
				}
			}
			for _, r := range l.lost.all() {
				if !yield(r.comment()) {
					return
				}
			}
		}}
}

// comment tells of a run in a line.
func (r *run) comment() string {
	more := ""
	if r.count > 1 {
		more = fmt.Sprintf("%d times, every 0x%X bytes, ", r.count, r.step)
	}
	return fmt.Sprintf("0x%08X  0x%08X  %s%v: %s", r.off, r.n, more, block.State(r.kind), r.why)
}
