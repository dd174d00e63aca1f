package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
)

// The metadata contexts, each with its number in block status replies.
const (
	contextAllocation = 1
	contextDamage     = 2
)

var contextNames = []struct {
	id   uint32
	name string
}{{contextAllocation, "base:allocation"}, {contextDamage, "lvrescue:damage"}}

// errAbort ends a negotiation that the client has called off.
var errAbort = errors.New("the client gave up")

// ServeConn serves one client and closes the connection. The error tells how the client
// broke the rules; it is nil when it left.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	c := &session{srv: s, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), memory: semaphore.NewWeighted(maxRequest)}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err := c.negotiate(ctx)
	if err == nil {
		s.stats.clients.Add(1)
		s.log("a client reads %s", c.export.Name)
		err = c.transmit(ctx)
	}
	if ctx.Err() != nil || errors.Is(err, errAbort) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// await gives the client its time for what comes next. The server's end is not put off by
// it.
func (c *session) await(ctx context.Context, d time.Duration) {
	deadline := time.Time{}
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	c.conn.SetReadDeadline(deadline)
	if ctx.Err() != nil {
		c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// negotiate goes through the handshake until the client has chosen an export.
func (c *session) negotiate(ctx context.Context) error {
	hello := be.AppendUint64(nil, initMagic)
	hello = be.AppendUint64(hello, optionMagic)
	hello = be.AppendUint16(hello, flagFixedNewstyle|flagNoZeroes)
	if err := c.send(hello, nil); err != nil {
		return err
	}
	c.await(ctx, stall)
	var head [optionHeader]byte
	if _, err := io.ReadFull(c.in, head[:4]); err != nil {
		return err
	}
	flags := be.Uint32(head[:])
	if flags&^(flagFixedNewstyle|flagNoZeroes) != 0 {
		return fmt.Errorf("client flags %#x are not known", flags)
	}
	c.noZeroes = flags&flagNoZeroes != 0
	for c.export == nil {
		c.await(ctx, stall)
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return err
		}
		if magic := be.Uint64(head[:]); magic != optionMagic {
			return fmt.Errorf("an option begins with %#x, want %#x", magic, uint64(optionMagic))
		}
		option, n := be.Uint32(head[8:]), be.Uint32(head[12:])
		if n > maxOption {
			return fmt.Errorf("option %d has %d bytes of data, want %d at most", option, n, maxOption)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(c.in, data); err != nil {
			return err
		}
		if err := c.option(option, data); err != nil {
			return err
		}
	}
	return nil
}

// option answers one option.
func (c *session) option(option uint32, data []byte) error {
	switch option {
	case optExportName:
		return c.exportName(string(data))
	case optAbort:
		return errors.Join(errAbort, c.answer(option, repAck, nil))
	case optList:
		return c.list(option, data)
	case optInfo, optGo:
		return c.info(option, data)
	case optStructuredReply:
		if len(data) > 0 {
			return c.refuse(option, repErrInvalid, "this option has no data")
		}
		c.structured = true
		return c.answer(option, repAck, nil)
	case optListMetaContext, optSetMetaContext:
		return c.metaContexts(option, data)
	}
	return c.refuse(option, repErrUnsup, "this option is not supported")
}

// answer sends a reply to an option.
func (c *session) answer(option, kind uint32, data []byte) error {
	head := be.AppendUint64(make([]byte, 0, 20), optReplyMagic)
	head = be.AppendUint32(head, option)
	head = be.AppendUint32(head, kind)
	return c.send(be.AppendUint32(head, uint32(len(data))), data)
}

// refuse answers an option with an error.
func (c *session) refuse(option, kind uint32, why string) error {
	return c.answer(option, kind, []byte(message(why)))
}

// list names all exports.
func (c *session) list(option uint32, data []byte) error {
	if len(data) > 0 {
		return c.refuse(option, repErrInvalid, "this option has no data")
	}
	for i := range c.srv.exports {
		e := &c.srv.exports[i]
		b := be.AppendUint32(nil, uint32(len(e.Name)))
		b = append(b, e.Name...)
		if err := c.answer(option, repServer, append(b, message(e.Description)...)); err != nil {
			return err
		}
	}
	return c.answer(option, repAck, nil)
}

// exportName ends the negotiation in the old way, in which nothing can be refused.
func (c *session) exportName(name string) error {
	e := c.srv.export(name)
	if e == nil {
		return fmt.Errorf("no export is called %q", name)
	}
	c.choose(e)
	b := be.AppendUint64(nil, uint64(e.Dev.Size()))
	b = be.AppendUint16(b, e.flags())
	if !c.noZeroes {
		b = append(b, make([]byte, 124)...)
	}
	return c.send(b, nil)
}

// choose makes e the export that the client works with. Contexts count only for the export
// that they were chosen for.
func (c *session) choose(e *Export) {
	c.export = e
	if c.contextsOf != e {
		c.contexts = nil
	}
}

// flags are the transmission flags of an export.
func (e *Export) flags() uint16 {
	const all = flagHasFlags | flagCanMultiConn
	if e.Writer == nil {
		return all | flagReadOnly
	}
	return all | flagSendFlush | flagSendFUA | flagSendTrim | flagSendWriteZeros
}

// info describes an export, and with optGo chooses it.
func (c *session) info(option uint32, data []byte) error {
	f := fields{data, true}
	name := f.str()
	wanted := make([]uint16, 0, 4)
	for range f.u16() {
		if wanted = append(wanted, f.u16()); !f.ok {
			break
		}
	}
	if !f.ok || len(f.b) > 0 {
		return c.refuse(option, repErrInvalid, "the option's data does not have the length that its fields say")
	}
	e := c.srv.export(name)
	if e == nil {
		return c.refuse(option, repErrUnknown, "no export is called "+name)
	}
	b := be.AppendUint16(nil, infoExport)
	b = be.AppendUint64(b, uint64(e.Dev.Size()))
	infos := [][]byte{be.AppendUint16(b, e.flags())}
	for _, kind := range []uint16{infoName, infoDescription, infoBlockSize} {
		if slices.Contains(wanted, kind) {
			infos = append(infos, e.info(kind))
		}
	}
	for _, b := range infos {
		if err := c.answer(option, repInfo, b); err != nil {
			return err
		}
	}
	if option == optGo {
		c.choose(e)
	}
	return c.answer(option, repAck, nil)
}

// info is one piece of information about an export.
func (e *Export) info(kind uint16) []byte {
	b := be.AppendUint16(nil, kind)
	switch kind {
	case infoName:
		return append(b, e.Name...)
	case infoDescription:
		return append(b, message(e.Description)...)
	}
	b = be.AppendUint32(b, 1)    // least block
	b = be.AppendUint32(b, 4096) // preferred block
	return be.AppendUint32(b, maxRequest)
}

// metaContexts lists the metadata contexts that match the client's queries, or chooses
// them.
func (c *session) metaContexts(option uint32, data []byte) error {
	f := fields{data, true}
	name := f.str()
	n := f.u32()
	var queries []string
	for i := uint32(0); i < n && f.ok; i++ {
		queries = append(queries, f.str())
	}
	set := option == optSetMetaContext
	if set {
		c.contexts, c.contextsOf = nil, nil // also when it fails
	}
	switch {
	case !f.ok || len(f.b) > 0:
		return c.refuse(option, repErrInvalid, "the option's data does not have the length that its fields say")
	case !c.structured:
		return c.refuse(option, repErrInvalid, "structured replies must be negotiated first")
	}
	e := c.srv.export(name)
	if e == nil {
		return c.refuse(option, repErrUnknown, "no export is called "+name)
	}
	for _, context := range contextNames {
		if !matches(context.name, queries, set) {
			continue
		}
		id := uint32(0)
		if set {
			id = context.id
			c.contexts, c.contextsOf = append(c.contexts, id), e
		}
		if err := c.answer(option, repMetaContext, append(be.AppendUint32(nil, id), context.name...)); err != nil {
			return err
		}
	}
	return c.answer(option, repAck, nil)
}

// matches says whether one of the queries asks for a context. In a list, no query asks for
// all, and one that ends behind the namespace for all in it.
func matches(name string, queries []string, set bool) bool {
	namespace, _, _ := strings.Cut(name, ":")
	return !set && (len(queries) == 0 || slices.Contains(queries, namespace+":")) || slices.Contains(queries, name)
}
