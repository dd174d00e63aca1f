package export

import (
	"fmt"
	"time"

	"github.com/lvrescue/lvrescue/scan/block"
)

// maxLost bounds the bad and doubtful ranges that are kept apart, and with that the memory
// and the mapfile.
const maxLost = 1 << 18

// tooMany is the reason of the range in which everything from the last range that can be
// kept apart to the last bad byte is called bad, the good bytes between as well.
const tooMany = "in or between more bad ranges than a map can list"

// ledger is the account of an export: what its bytes are worth, in order from 0 to pos.
type ledger struct {
	pos    int64
	totals block.Totals
	lost   []block.Extent // bad and doubtful
	limit  int            // of len(lost); 0 is maxLost
}

// add enters the extent that follows.
func (l *ledger) add(e block.Extent) {
	l.pos = e.End()
	l.totals.Add(e)
	if e.State != block.Bad && e.State != block.Doubtful {
		return
	}
	n := len(l.lost)
	if n > 0 {
		last := &l.lost[n-1]
		if last.End() == e.Off && last.State == e.State && last.Why == e.Why {
			last.Len += e.Len
			return
		}
		if n >= l.max() {
			last.Len, last.State, last.Why = e.End()-last.Off, block.Bad, tooMany
			return
		}
	}
	l.lost = append(l.lost, e)
}

func (l *ledger) max() int {
	if l.limit > 0 {
		return l.limit
	}
	return maxLost
}

// toMap is the ledger of the bytes before pos as the blocks of a mapfile.
func (l *ledger) toMap(pos int64) *block.Mapfile {
	m := new(block.Mapfile)
	for _, e := range l.lost {
		if e.Off >= pos {
			break
		}
		m.Add(e.Off-m.End(), block.Finished)
		status := block.BadSector
		if e.State == block.Doubtful {
			status = block.NonScraped
		}
		m.Add(min(e.End(), pos)-e.Off, status)
	}
	m.Add(pos-m.End(), block.Finished)
	return m
}

// finalMap is FILE.map, or nil when there is nothing to tell. Comments above the blocks
// give the reason for each range.
func (l *ledger) finalMap(opts *Options) *block.Mapfile {
	return l.mapOf(opts.Identity, fmt.Sprintf("- is bad, filled (%s) in the image; / is delivered, but doubtful; + is good", opts.Fill))
}

// MapOf is the map that an export of dev ends with unless the medium refuses a read, or nil
// when there is nothing to tell. identity is as in [Options].
func MapOf(dev block.Device, identity string) *block.Mapfile {
	var l ledger
	for e := range dev.Extents(0, dev.Size()) {
		l.add(e)
	}
	return l.mapOf(identity, "- is bad and cannot be read; / is doubtful; + is good")
}

func (l *ledger) mapOf(identity, legend string) *block.Mapfile {
	if l.totals.Whole() {
		return nil
	}
	m := l.toMap(l.pos)
	m.Pos, m.Status = l.pos, byte(block.Finished)
	m.Comments = []string{
		mapTitle,
		"Of: " + identity,
		"Time: " + time.Now().UTC().Format(time.RFC3339),
		legend,
		"Position, size, reason:",
	}
	for _, e := range l.lost {
		m.Comments = append(m.Comments, fmt.Sprintf("0x%08X  0x%08X  %v: %s", e.Off, e.Len, e.State, e.Why))
	}
	return m
}
