package nbd

import (
	"bytes"
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

const mib = 1 << 20

// disk is a device of noise in memory. What refused lists fails when it is read, though
// Extents does not tell of it.
type disk struct {
	data    []byte
	refused []block.Extent
}

func newDisk(n int) *disk {
	d := &disk{data: make([]byte, n)}
	rand.NewChaCha8([32]byte{7}).Read(d.data)
	return d
}

func (d *disk) Size() int64 { return int64(len(d.data)) }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	p, eof := block.ClipRead(d.Size(), p, off)
	for _, e := range d.refused {
		if off < e.End() && off+int64(len(p)) > e.Off {
			return 0, &block.BadRangeError{Off: off, Len: int64(len(p)), Why: "medium error", Coarse: true}
		}
	}
	return copy(p, d.data[off:]), eof
}

func (d *disk) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		if lo, hi := block.Clip(d.Size(), off, n); lo < hi {
			yield(block.Extent{Off: lo, Len: hi - lo})
		}
	}
}

// parts joins devices.
type parts []block.Device

func (p parts) Size() (n int64) {
	for _, d := range p {
		n += d.Size()
	}
	return n
}

func (p parts) ReadAt(b []byte, off int64) (n int, err error) {
	at := int64(0)
	for _, d := range p {
		if here := off + int64(n) - at; n < len(b) && here < d.Size() {
			m, err := d.ReadAt(b[n:min(int64(len(b)), int64(n)+d.Size()-here)], here)
			if n += m; err != nil && err != io.EOF {
				return n, block.Shift(err, at)
			}
		}
		at += d.Size()
	}
	return n, nil
}

func (p parts) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		at := int64(0)
		for _, d := range p {
			for e := range d.Extents(off-at, n) {
				e.Off += at
				if !yield(e) {
					return
				}
			}
			at += d.Size()
		}
	}
}

// damaged is 1 MiB of data, 64 KiB that are bad, 64 KiB doubtful, 1 MiB of zeros, and 1 MiB
// of which the medium refuses one sector.
func damaged() (parts, *disk, *disk) {
	first, last := newDisk(mib), newDisk(mib)
	last.refused = []block.Extent{{Off: 5 * 512, Len: 512}}
	return parts{first, block.NewBad(64<<10, "PV pv1 is\nmissing"), block.NewDoubtful(newDisk(64<<10), "two claim it"), block.NewZero(mib), last}, first, last
}

// start serves exports on a unix socket until the test ends, and checks that the server
// ends cleanly then.
func start(t testing.TB, exports ...Export) (*Server, string) {
	t.Helper()
	s, path, end := serve(t, exports...)
	t.Cleanup(func() {
		require.NoError(t, end())
		require.NoFileExists(t, path)
	})
	return s, path
}

// serve runs a server on a socket until end is called, which gives its error.
func serve(t testing.TB, exports ...Export) (s *Server, path string, end func() error) {
	t.Helper()
	s, err := NewServer(exports)
	require.NoError(t, err)
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, l) }()
	return s, path, func() error {
		cancel()
		return <-ended
	}
}

// client speaks the protocol word by word.
type client struct {
	t testing.TB
	net.Conn
}

// dial connects and goes through the first exchange.
func dial(t testing.TB, path string, flags uint32) *client {
	t.Helper()
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	c := &client{t, conn}
	require.Equal(t, "NBDMAGICIHAVEOPT\x00\x03", string(c.recv(18)))
	c.put(be.AppendUint32(nil, flags))
	return c
}

func (c *client) put(b ...[]byte) {
	c.t.Helper()
	_, err := c.Write(bytes.Join(b, nil))
	require.NoError(c.t, err)
}

func (c *client) recv(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	require.NoError(c.t, err)
	return b
}

// closed wants the server to have hung up.
func (c *client) closed() {
	c.t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.Error(c.t, err)
}

func optionOf(kind uint32, data []byte) []byte {
	b := be.AppendUint64(nil, optionMagic)
	b = be.AppendUint32(b, kind)
	return append(be.AppendUint32(b, uint32(len(data))), data...)
}

// reply is one reply to an option.
type reply struct {
	kind uint32
	data []byte
}

// option sends an option and collects the replies up to the last.
func (c *client) option(kind uint32, data []byte) (all []reply) {
	c.t.Helper()
	c.put(optionOf(kind, data))
	for {
		h := c.recv(20)
		require.Equal(c.t, uint64(optReplyMagic), be.Uint64(h))
		require.Equal(c.t, kind, be.Uint32(h[8:]))
		r := reply{be.Uint32(h[12:]), c.recv(int(be.Uint32(h[16:])))}
		all = append(all, r)
		if r.kind == repAck || r.kind>>31 == 1 {
			return all
		}
	}
}

// last is the kind of the last reply.
func last(all []reply) uint32 { return all[len(all)-1].kind }

func named(name string, rest ...byte) []byte {
	return append(append(be.AppendUint32(nil, uint32(len(name))), name...), rest...)
}

// queries is the data of a metadata context option.
func queries(export string, q ...string) []byte {
	b := be.AppendUint32(named(export), uint32(len(q)))
	for _, s := range q {
		b = append(b, named(s)...)
	}
	return b
}

// open goes through the negotiation, with all that is to be had where structured.
func open(t testing.TB, path, export string, structured bool) *client {
	t.Helper()
	c := dial(t, path, flagFixedNewstyle|flagNoZeroes)
	if structured {
		require.EqualValues(t, repAck, last(c.option(optStructuredReply, nil)))
		all := c.option(optSetMetaContext, queries(export, "base:allocation", "lvrescue:damage"))
		require.Len(t, all, 3)
	}
	require.EqualValues(t, repAck, last(c.option(optGo, named(export, 0, 0))))
	return c
}

func requestOf(kind, flags uint16, cookie, off uint64, n uint32) []byte {
	b := be.AppendUint32(nil, requestMagic)
	b = be.AppendUint16(b, flags)
	b = be.AppendUint16(b, kind)
	b = be.AppendUint64(b, cookie)
	b = be.AppendUint64(b, off)
	return be.AppendUint32(b, n)
}

// simple sends a request and takes the simple reply, with n bytes of data if it went well.
func (c *client) simple(kind, flags uint16, off uint64, n uint32, data []byte, want int) (errno uint32, got []byte) {
	c.t.Helper()
	c.put(requestOf(kind, flags, 99, off, n), data)
	h := c.recv(16)
	require.EqualValues(c.t, simpleMagic, be.Uint32(h))
	require.EqualValues(c.t, 99, be.Uint64(h[8:]))
	if errno = be.Uint32(h[4:]); errno != 0 {
		return errno, nil
	}
	return 0, c.recv(want)
}

// chunk is a structured chunk.
type chunk struct {
	kind uint16
	data []byte
}

// chunks sends a request and takes the structured reply.
func (c *client) chunks(kind, flags uint16, off uint64, n uint32) (all []chunk) {
	c.t.Helper()
	c.put(requestOf(kind, flags, 77, off, n))
	for {
		h := c.recv(20)
		require.EqualValues(c.t, structuredMagic, be.Uint32(h))
		require.EqualValues(c.t, 77, be.Uint64(h[8:]))
		all = append(all, chunk{be.Uint16(h[6:]), c.recv(int(be.Uint32(h[16:])))})
		if be.Uint16(h[4:])&chunkDone != 0 {
			return all
		}
	}
}

// assemble puts a structured read together: the bytes, and the ranges for which none came.
// It wants chunks that neither overlap nor leave the range.
func assemble(t testing.TB, all []chunk, off, n int64) (data []byte, missing []block.Extent, why []string) {
	t.Helper()
	data = make([]byte, n)
	have := make([]bool, n)
	for _, c := range all {
		switch c.kind {
		case chunkOffsetData:
			at := int64(be.Uint64(c.data)) - off
			require.True(t, at >= 0 && at+int64(len(c.data))-8 <= n)
			copy(data[at:], c.data[8:])
			there := have[at:][:len(c.data)-8]
			require.False(t, slices.Contains(there, true), "chunks overlap")
			for i := range there {
				there[i] = true
			}
		case chunkErrorOffset:
			require.EqualValues(t, errIO, be.Uint32(c.data))
			why = append(why, string(c.data[6:6+be.Uint16(c.data[4:])]))
			at := int64(be.Uint64(c.data[len(c.data)-8:])) - off
			require.True(t, at >= 0 && at < n && !have[at])
		default:
			require.EqualValues(t, chunkNone, c.kind)
		}
	}
	for i := int64(0); i < n; {
		end := i
		for end < n && have[end] == have[i] {
			end++
		}
		if !have[i] {
			missing = append(missing, block.Extent{Off: off + i, Len: end - i})
		}
		i = end
	}
	return data, missing, why
}

// statuses takes the descriptors of one context out of a block status reply.
func statuses(t testing.TB, all []chunk, context uint32) (list []descriptor) {
	t.Helper()
	i := slices.IndexFunc(all, func(c chunk) bool { return c.kind == chunkBlockStatus && be.Uint32(c.data) == context })
	require.GreaterOrEqual(t, i, 0)
	for b := all[i].data[4:]; len(b) > 0; b = b[8:] {
		list = append(list, descriptor{be.Uint32(b), be.Uint32(b[4:])})
	}
	return list
}

// requireFile wants exactly these bytes in a file.
func requireFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "%s has other bytes", path)
}

// requireStart wants a file to begin with these bytes.
func requireStart(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(got, want), "%s begins with other bytes", path)
}
