package nbd

import (
	"encoding/binary"
	"strings"
	"unicode"
)

// The numbers of the protocol, by their names there.
const (
	initMagic       = 0x4e42444d41474943 // NBDMAGIC
	optionMagic     = 0x49484156454f5054 // IHAVEOPT
	optReplyMagic   = 0x3e889045565a9
	requestMagic    = 0x25609513
	simpleMagic     = 0x67446698
	structuredMagic = 0x668e33ef
)

// Handshake flags; the client's have the same bits.
const (
	flagFixedNewstyle = 1 << iota
	flagNoZeroes
)

// Options, and the types of replies to them.
const (
	optExportName      = 1
	optAbort           = 2
	optList            = 3
	optInfo            = 6
	optGo              = 7
	optStructuredReply = 8
	optListMetaContext = 9
	optSetMetaContext  = 10

	repAck         = 1
	repServer      = 2
	repInfo        = 3
	repMetaContext = 4

	repErrUnsup   = 1<<31 + 1
	repErrInvalid = 1<<31 + 3
	repErrUnknown = 1<<31 + 6

	infoExport      = 0
	infoName        = 1
	infoDescription = 2
	infoBlockSize   = 3
)

// Transmission flags.
const (
	flagHasFlags       = 1 << 0
	flagReadOnly       = 1 << 1
	flagSendFlush      = 1 << 2
	flagSendFUA        = 1 << 3
	flagSendTrim       = 1 << 5
	flagSendWriteZeros = 1 << 6
	flagCanMultiConn   = 1 << 8
)

// Commands and their flags.
const (
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisc        = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
	cmdBlockStatus = 7

	cmdFlagFUA    = 1 << 0
	cmdFlagNoHole = 1 << 1
	cmdFlagReqOne = 1 << 3
)

// Types of structured chunks.
const (
	chunkDone = 1 << 0 // flag

	chunkNone        = 0
	chunkOffsetData  = 1
	chunkBlockStatus = 5
	chunkError       = 1<<15 + 1
	chunkErrorOffset = 1<<15 + 2
)

// Errors of requests.
const (
	errPerm     = 1
	errIO       = 5
	errInval    = 22
	errNoSpace  = 28
	errShutdown = 108
)

// Sizes of headers, in bytes.
const (
	optionHeader  = 16
	requestHeader = 28
)

var be = binary.BigEndian

// request is a client's request without its data.
type request struct {
	flags, kind uint16
	cookie      uint64
	off         uint64
	n           uint32
}

// parseRequest reads a header of requestHeader bytes.
func parseRequest(b []byte) (r request, ok bool) {
	return request{
		flags:  be.Uint16(b[4:]),
		kind:   be.Uint16(b[6:]),
		cookie: be.Uint64(b[8:]),
		off:    be.Uint64(b[16:]),
		n:      be.Uint32(b[24:]),
	}, be.Uint32(b) == requestMagic
}

// inside says whether the request's range is not empty and lies in a device of size bytes.
func (r *request) inside(size int64) bool {
	return r.n > 0 && r.off < uint64(size) && uint64(r.n) <= uint64(size)-r.off
}

// fields takes apart an option's data.
type fields struct {
	b  []byte
	ok bool // nothing was missing so far
}

func (f *fields) take(n uint32) []byte {
	if !f.ok || uint64(n) > uint64(len(f.b)) {
		f.ok = false
		return nil
	}
	p := f.b[:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u16() uint16 {
	if p := f.take(2); p != nil {
		return be.Uint16(p)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if p := f.take(4); p != nil {
		return be.Uint32(p)
	}
	return 0
}

// str is a string behind its length, u32.
func (f *fields) str() string { return string(f.take(f.u32())) }

// simpleReply is the head of a simple reply.
func simpleReply(cookie uint64, errno uint32) []byte {
	b := be.AppendUint32(make([]byte, 0, 16), simpleMagic)
	b = be.AppendUint32(b, errno)
	return be.AppendUint64(b, cookie)
}

// chunkHead is the head of a structured chunk with n bytes of payload.
func chunkHead(cookie uint64, kind, flags uint16, n int) []byte {
	b := be.AppendUint32(make([]byte, 0, 64), structuredMagic)
	b = be.AppendUint16(b, flags)
	b = be.AppendUint16(b, kind)
	b = be.AppendUint64(b, cookie)
	return be.AppendUint32(b, uint32(n))
}

// errorChunk tells of an error of a whole request.
func errorChunk(cookie uint64, errno uint32, why string) []byte {
	why = message(why)
	b := chunkHead(cookie, chunkError, chunkDone, 6+len(why))
	b = be.AppendUint32(b, errno)
	b = be.AppendUint16(b, uint16(len(why)))
	return append(b, why...)
}

// badChunk tells that the bytes from off on cannot be read.
func badChunk(cookie uint64, off int64, why string) []byte {
	why = message(why)
	b := chunkHead(cookie, chunkErrorOffset, 0, 14+len(why))
	b = be.AppendUint32(b, errIO)
	b = be.AppendUint16(b, uint16(len(why)))
	b = append(b, why...)
	return be.AppendUint64(b, uint64(off))
}

// message makes text that may come from a disk a string of the protocol, which clients
// print as it is.
func message(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), 1024)], "")
}
