package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/lvrescue/lvrescue/scan/block"
)

// session is one client's connection. What the negotiation has found does not change any
// more once requests are served.
type session struct {
	srv  *Server
	conn net.Conn
	in   *bufio.Reader
	out  sync.Mutex // held while a reply is written

	memory *semaphore.Weighted // of this connection's share

	noZeroes   bool
	structured bool
	export     *Export
	contexts   []uint32 // chosen metadata contexts, by number
	contextsOf *Export  // what they were chosen for
}

// send writes one reply. A client that does not take it for too long is cut off: it holds
// memory that others wait for.
func (c *session) send(head, data []byte) error {
	c.out.Lock()
	defer c.out.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return err
	}
	if len(data) == 0 {
		_, err := c.conn.Write(head)
		return err
	}
	parts := net.Buffers{head, data}
	_, err := parts.WriteTo(c.conn)
	return err
}

// transmit serves requests until the client leaves, or ctx is done. Those under way are
// always finished first.
func (c *session) transmit(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(grace, func() { c.conn.Close() })
	})
	defer stop()
	free := make(chan struct{}, maxInFlight)
	var head [requestHeader]byte
	for {
		c.await(ctx, 0)
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return err
		}
		r, ok := parseRequest(head[:])
		switch {
		case !ok:
			return fmt.Errorf("a request begins with %#x, want %#x", be.Uint32(head[:]), requestMagic)
		case r.kind == cmdDisc:
			return nil
		}
		data, errno, err := c.payload(ctx, &r)
		if err != nil {
			return err
		}
		free <- struct{}{}
		working.Go(func() {
			defer func() { <-free }()
			defer c.release(int64(len(data)))
			if errno == 0 {
				errno = c.check(&r)
			}
			err := block.Guarded(func() error { return c.serve(ctx, &r, data, errno) })()
			var fault *block.Fault
			if errors.As(err, &fault) {
				c.srv.fault.CompareAndSwap(nil, fault)
				c.srv.log("%v", fault)
				err = c.fail(&r, errIO, fault.Error())
			}
			if err != nil {
				c.conn.Close() // nothing sensible can follow half a reply
			}
		})
	}
}

// payload reads the data that a request brings along. The data is nil, and errno says why,
// when it is not wanted.
func (c *session) payload(ctx context.Context, r *request) (data []byte, errno uint32, err error) {
	if r.kind != cmdWrite {
		return nil, 0, nil
	}
	if r.n > maxRequest {
		return nil, 0, fmt.Errorf("a write of %d bytes, want %d at most", r.n, maxRequest)
	}
	if errno := c.check(r); errno != 0 {
		c.await(ctx, stall)
		_, err := io.CopyN(io.Discard, c.in, int64(r.n))
		return nil, errno, err
	}
	if err := c.acquire(ctx, int64(r.n)); err != nil {
		return nil, 0, err
	}
	data = make([]byte, r.n)
	c.await(ctx, stall)
	if _, err := io.ReadFull(c.in, data); err != nil {
		c.release(int64(r.n))
		return nil, 0, err
	}
	return data, 0, nil
}

// acquire waits until n bytes may be held, of this connection's share and of all. A client
// that leaves its replies lying holds up others only once many do.
func (c *session) acquire(ctx context.Context, n int64) error {
	if err := c.memory.Acquire(ctx, n); err != nil {
		return err
	}
	if err := c.srv.memory.Acquire(ctx, n); err != nil {
		c.memory.Release(n)
		return err
	}
	return nil
}

func (c *session) release(n int64) {
	c.srv.memory.Release(n)
	c.memory.Release(n)
}

// check says what is wrong with a request before anything is done, 0 if nothing is.
func (c *session) check(r *request) uint32 {
	size, allowed := c.export.Dev.Size(), uint16(0)
	if c.export.Writer != nil {
		allowed |= cmdFlagFUA
	}
	switch r.kind {
	case cmdWriteZeroes:
		allowed |= cmdFlagNoHole
	case cmdBlockStatus:
		allowed |= cmdFlagReqOne
	}
	if r.flags&^allowed != 0 {
		return errInval
	}
	switch r.kind {
	case cmdRead:
		if !r.inside(size) || r.n > maxRequest {
			return errInval
		}
	case cmdBlockStatus:
		if !r.inside(size) || len(c.contexts) == 0 {
			return errInval
		}
	case cmdWrite, cmdWriteZeroes, cmdTrim:
		switch {
		case c.export.Writer == nil:
			return errPerm
		case r.inside(size):
		case r.kind == cmdTrim || r.n == 0:
			return errInval
		default:
			return errNoSpace
		}
	case cmdFlush:
		if c.export.Writer == nil {
			return errInval
		}
	default:
		return errInval
	}
	return 0
}

// serve carries out a request and answers it.
func (c *session) serve(ctx context.Context, r *request, data []byte, errno uint32) error {
	if errno != 0 {
		return c.fail(r, errno, "")
	}
	switch r.kind {
	case cmdRead:
		return c.read(ctx, r)
	case cmdBlockStatus:
		return c.blockStatus(r)
	}
	if err := c.write(r, data); err != nil {
		errno := uint32(errIO)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
			errno = errNoSpace
		}
		c.srv.log("%s: write: %v", c.export.Name, err)
		return c.fail(r, errno, err.Error())
	}
	c.srv.stats.written.Add(int64(len(data)))
	return c.send(simpleReply(r.cookie, 0), nil)
}

// fail answers a request with an error.
func (c *session) fail(r *request, errno uint32, why string) error {
	if c.structured {
		return c.send(errorChunk(r.cookie, errno, why), nil)
	}
	return c.send(simpleReply(r.cookie, errno), nil)
}

// write carries out a request that changes the export, or a flush.
func (c *session) write(r *request, data []byte) (err error) {
	w, off := c.export.Writer, int64(r.off)
	switch r.kind {
	case cmdWrite:
		_, err = w.WriteAt(data, off)
	case cmdWriteZeroes:
		err = w.Zero(off, int64(r.n))
	case cmdTrim:
		err = w.Discard(off, int64(r.n))
	}
	if err == nil && (r.kind == cmdFlush || r.flags&cmdFlagFUA != 0) {
		err = w.Sync()
	}
	return err
}
