package nbd

import (
	"context"
	"sync"

	"github.com/lvrescue/lvrescue/scan/block"
)

// piece is how many bytes of a structured read are read and sent at once.
const piece = 256 << 10

var pieces = sync.Pool{New: func() any { return new([piece]byte) }}

// read answers a read. What is longer than a piece is sent in chunks where the client
// takes them; in a simple reply it must all have been read before the first byte is sent.
func (c *session) read(ctx context.Context, r *request) error {
	n := int64(r.n)
	hold := n
	if c.structured {
		hold = min(n, piece)
	}
	if err := c.acquire(ctx, hold); err != nil {
		return c.fail(r, errShutdown, "")
	}
	defer c.release(hold)
	var buf []byte
	if hold <= piece {
		p := pieces.Get().(*[piece]byte)
		defer pieces.Put(p)
		buf = p[:hold]
	} else {
		buf = make([]byte, hold)
	}
	if c.structured {
		return c.readChunks(r, buf)
	}
	if got, err := c.export.Dev.ReadAt(buf, int64(r.off)); got < len(buf) {
		c.failed(int64(r.off), err)
		return c.fail(r, errIO, "")
	}
	c.srv.stats.read.Add(n)
	return c.send(simpleReply(r.cookie, 0), buf)
}

// failed takes down a read that met bad bytes.
func (c *session) failed(off int64, err error) {
	c.srv.stats.failed.Add(1)
	c.srv.log("%s: read at %d: %v", c.export.Name, off, err)
}

// readChunks answers a read with chunks: of all that can be read, and of the places of what
// cannot.
func (c *session) readChunks(r *request, buf []byte) error {
	clean := true
	for off, end := int64(r.off), int64(r.off)+int64(r.n); off < end; {
		p := buf[:min(int64(len(buf)), end-off)]
		got, err := c.export.Dev.ReadAt(p, off)
		whole := got == len(p)
		last := whole && clean && off+int64(len(p)) == end
		if whole {
			err = c.sendData(r.cookie, p, off, last)
		} else {
			if clean {
				c.failed(off, err)
			}
			clean = false
			err = c.readAround(r.cookie, p, off)
		}
		if err != nil || last {
			return err
		}
		off += int64(len(p))
	}
	return c.send(chunkHead(r.cookie, chunkNone, chunkDone, 0), nil)
}

// sendData sends bytes of the export.
func (c *session) sendData(cookie uint64, p []byte, off int64, last bool) error {
	flags := uint16(0)
	if last {
		flags = chunkDone
	}
	c.srv.stats.read.Add(int64(len(p)))
	return c.send(be.AppendUint64(chunkHead(cookie, chunkOffsetData, flags, 8+len(p)), uint64(off)), p)
}

// readAround sends what can be read of a range that cannot be read in one go, and tells
// where it cannot.
func (c *session) readAround(cookie uint64, p []byte, off int64) error {
	var found []block.Extent
	if err := block.ReadRange(c.export.Dev, p, off, func(e block.Extent) { found = append(found, e) }); err != nil {
		return c.send(badChunk(cookie, off, err.Error()), nil)
	}
	for _, e := range found {
		var err error
		if e.State == block.Bad || e.State == block.Doubtful && c.calledSure(e) {
			err = c.send(badChunk(cookie, e.Off, e.Why), nil)
		} else {
			err = c.sendData(cookie, p[e.Off-off:e.End()-off], e.Off, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// calledSure tells whether a client may have been told that some of an extent is sure.
func (c *session) calledSure(e block.Extent) bool {
	for before := range c.export.Dev.Extents(e.Off, e.Len) {
		if before.State.Sure() {
			return true
		}
	}
	return false
}

// Flags of block status descriptors.
const (
	statusHole     = 1 << 0 // base:allocation
	statusZero     = 1 << 1
	statusBad      = 1 << 0 // lvrescue:damage
	statusDoubtful = 1 << 1
)

const (
	maxDescriptors = 32 << 10 // of one context in one reply
	maxWalk        = 64 << 10 // extents that one request may make a device tell of
)

// status is what an extent is in a metadata context.
func status(context uint32, s block.State) uint32 {
	switch {
	case context == contextAllocation && s == block.Zero:
		return statusHole | statusZero
	case context == contextDamage && s == block.Bad:
		return statusBad
	case context == contextDamage && s == block.Doubtful:
		return statusDoubtful
	}
	return 0
}

// descriptors is the reply in one context, while it grows.
type descriptors struct {
	context uint32
	list    []descriptor
	full    bool // one more would have been too many
}

type descriptor struct{ n, flags uint32 }

// add appends an extent. Its length fits: no request is longer than 32 bits can say.
func (d *descriptors) add(e block.Extent, most int) {
	flags, last := status(d.context, e.State), len(d.list)-1
	switch {
	case d.full:
	case last >= 0 && d.list[last].flags == flags:
		d.list[last].n += uint32(e.Len)
	case len(d.list) >= most:
		d.full = true
	default:
		d.list = append(d.list, descriptor{uint32(e.Len), flags})
	}
}

// blockStatus tells what is known of a range before it is read. It may tell of less than
// was asked for, and then the client asks again.
func (c *session) blockStatus(r *request) error {
	most := maxDescriptors
	if r.flags&cmdFlagReqOne != 0 {
		most = 1
	}
	replies := make([]descriptors, len(c.contexts))
	for i, id := range c.contexts {
		replies[i].context = id
	}
	walked := 0
	for e := range c.export.Dev.Extents(int64(r.off), int64(r.n)) {
		full := true
		for i := range replies {
			replies[i].add(e, most)
			full = full && replies[i].full
		}
		if walked++; full || walked == maxWalk {
			break
		}
	}
	if walked == 0 {
		return c.fail(r, errIO, "nothing is known of this range")
	}
	for i, d := range replies {
		flags := uint16(0)
		if i == len(replies)-1 {
			flags = chunkDone
		}
		b := chunkHead(r.cookie, chunkBlockStatus, flags, 4+8*len(d.list))
		b = be.AppendUint32(b, d.context)
		for _, x := range d.list {
			b = be.AppendUint32(be.AppendUint32(b, x.n), x.flags)
		}
		if err := c.send(b, nil); err != nil {
			return err
		}
	}
	return nil
}
