// Package nbd serves block.Devices to NBD clients: nbd-client, qemu, libnbd.
//
// A read that touches bad bytes fails with EIO; where the client takes structured replies
// it gets every readable byte around them, and the place and the reason of each bad range.
// Nothing is ever filled in. Two metadata contexts tell what is known before anything is
// read:
//
//	base:allocation    1 hole, 2 reads as zeros: set for proven zeros
//	lvrescue:damage    1 bad: a read fails, 2 doubtful: from evidence that conflicts
//
// The protocol is fixed newstyle, as described by doc/proto.md of the NBD project. A
// connection starts with a negotiation (negotiate.go) and then carries requests, which are
// served side by side (transmit.go):
//
//	S  NBDMAGIC | IHAVEOPT | flags u16                 C  flags u32
//	C  IHAVEOPT | option u32 | length u32 | data       S  magic | option u32 | type u32 | length u32 | data
//	C  magic u32 | flags u16 | type u16 | cookie u64 | offset u64 | length u32 | data
//	S  magic u32 | error u32 | cookie u64 | data                              simple
//	S  magic u32 | flags u16 | type u16 | cookie u64 | length u32 | data      structured, in chunks
//
// Clients are hostile: what one of them can make the server hold is bounded, and so is the
// time that it may keep others waiting.
package nbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"

	"github.com/lvrescue/lvrescue/scan/block"
)

// What clients may take up.
const (
	maxRequest  = 32 << 20  // bytes of one read or write
	maxMemory   = 256 << 20 // bytes of all reads and writes under way; of one connection maxRequest
	maxInFlight = 32        // requests of one connection
	maxClients  = 128       // connections
	maxOption   = 64 << 10  // bytes of an option's data
	maxName     = 4096      // bytes of a string, by the protocol

	// stall is how long a client may let the server wait in the middle of something.
	stall = time.Minute
	// grace is how long the requests under way may take when the server ends.
	grace = 5 * time.Second
)

// Export is a device that clients can ask for.
type Export struct {
	Name        string // UTF-8, as clients ask for it
	Description string // for people; may be empty
	Dev         block.Device
	Writer      Writer // takes what clients write; nil for a read-only export
}

// Writer takes what is written to an export, which its Dev then reads back. Offsets and
// lengths are bytes within the device. All methods may be called side by side.
type Writer interface {
	WriteAt(p []byte, off int64) (int, error)
	Zero(off, n int64) error    // the range reads as zeros from now on
	Discard(off, n int64) error // what the range reads as does not matter any more
	Sync() error                // whatever was written before is on stable storage after
}

// Server serves a fixed set of exports.
type Server struct {
	// Log is told of clients that come and go, and of those that break the rules. It may
	// be called side by side. Set it before Serve; nil drops the lines.
	Log func(line string)

	exports []Export
	byName  map[string]*Export
	memory  *semaphore.Weighted
	clients atomic.Int64
	stats   stats
	fault   atomic.Pointer[block.Fault] // a request that panicked
}

// stats counts while the server runs.
type stats struct{ clients, read, written, failed atomic.Int64 }

// Stats is what a server has done.
type Stats struct {
	Clients int64 // connections that have asked for an export
	Read    int64 // bytes delivered
	Written int64 // bytes taken
	Failed  int64 // reads that met bad bytes
}

// NewServer makes a server of at least one export.
func NewServer(exports []Export) (*Server, error) {
	s := &Server{exports: exports, byName: map[string]*Export{}, memory: semaphore.NewWeighted(maxMemory)}
	for i := range exports {
		e := &exports[i]
		switch {
		case e.Name == "" || len(e.Name) > maxName || !utf8.ValidString(e.Name) || strings.ContainsRune(e.Name, 0):
			return nil, fmt.Errorf("%q cannot be the name of an NBD export: want 1 to %d bytes of UTF-8", e.Name, maxName)
		case s.byName[e.Name] != nil:
			return nil, fmt.Errorf("two exports have the name %q", e.Name)
		}
		s.byName[e.Name] = e
	}
	if len(exports) == 0 {
		return nil, errors.New("there is nothing to serve")
	}
	return s, nil
}

// Stats tells what the server has done so far.
func (s *Server) Stats() Stats {
	return Stats{s.stats.clients.Load(), s.stats.read.Load(), s.stats.written.Load(), s.stats.failed.Load()}
}

// export finds what a client asks for. The empty name stands for the only export.
func (s *Server) export(name string) *Export {
	if name == "" && len(s.exports) == 1 {
		return &s.exports[0]
	}
	return s.byName[name]
}

// Serve accepts clients until ctx is done, and closes the listener. It returns when the
// last client has gone: those that are there are cut off once their requests have been
// answered. The error is nil when it was ctx that ended it, and a *block.Fault when a
// request has panicked meanwhile: its client got an error, and the others went on.
func (s *Server) Serve(ctx context.Context, l net.Listener) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer func() {
		cancel()
		clients.Wait()
		if f := s.fault.Load(); f != nil {
			err = f
		}
	}()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case isTemporary(err): // such as too many open files
			s.log("cannot accept a client: %v", err)
			time.Sleep(100 * time.Millisecond)
			continue
		case err != nil:
			return err
		}
		if s.clients.Add(1) > maxClients {
			s.clients.Add(-1)
			s.log("a client was turned away: %d are connected", maxClients)
			conn.Close()
			continue
		}
		clients.Go(func() {
			defer s.clients.Add(-1)
			if err := s.ServeConn(ctx, conn); err != nil {
				s.log("a client is gone: %v", err)
			}
		})
	}
}

// isTemporary says whether an accept may succeed when tried again.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (s *Server) log(format string, args ...any) {
	if s.Log != nil {
		s.Log(fmt.Sprintf(format, args...))
	}
}
