// Package block is the ground floor of lvrescue: read-only spans of bytes of which each
// range is known to be data, proven zeros, bad or doubtful.
//
// Images, partitions, PVs and LVs are all a [Device]. A layer above another only has to
// translate offsets in ReadAt and in Extents; what is lost below then comes out above, at
// the right place and with its reason.
//
// All offsets and lengths in this package are bytes.
package block

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// SectorSize is the unit of LVM2's and the kernel's on-disk addresses, in bytes.
const SectorSize = 512

// Device is a read-only, random-access span of bytes.
//
// ReadAt follows io.ReaderAt. A read that touches a bad range fails with a
// *BadRangeError; the n bytes before that range are then valid.
//
// Extents tells what is known of [off, off+n), clipped to the device, before anything is
// read: ordered, gapless, never empty ranges. A read the medium refuses later turns its
// range bad on the way: the reader learns it from the error.
type Device interface {
	io.ReaderAt
	Size() int64
	Extents(off, n int64) iter.Seq[Extent]
}

// State says what a range of a Device is worth.
type State uint8

const (
	Data     State = iota // readable as far as is known
	Zero                  // proven zeros: need not be read
	Doubtful              // delivered, but from evidence that conflicts or cannot be confirmed
	Bad                   // not delivered
)

// Sure tells whether what a range delivers is right as far as is known.
func (s State) Sure() bool { return s == Data || s == Zero }

func (s State) String() string {
	switch s {
	case Data:
		return "data"
	case Zero:
		return "zero"
	case Doubtful:
		return "doubtful"
	case Bad:
		return "bad"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Extent is a range of one state. Why is empty for data and zeros; for bad and doubtful
// ranges it is the reason in plain words, the same string for all ranges of one cause, so
// that ranges can be summed up by cause.
type Extent struct {
	Off, Len int64
	State    State
	Why      string
}

// End is the offset behind the extent.
func (e Extent) End() int64 { return e.Off + e.Len }

// BadRangeError reports the first bad range that a read touched. Off and Len are in the
// coordinates of the device that was read.
//
// Coarse says that the medium refused the range as a whole, so that smaller reads may
// still get parts of it; [ReadRange] tries. A layer that passes the error on with another
// Off keeps Coarse.
//
// Doubtful are the first bytes of the range, when Extents called them sure, the medium refused
// them, and what makes up for them is doubtful for the reason Why. [ReadRange] takes them.
type BadRangeError struct {
	Off, Len int64
	Why      string
	Err      error // the medium's own error, if there was one
	Coarse   bool
	Doubtful []byte
}

// doubtfulAt is what there is of Doubtful from off on.
func (e *BadRangeError) doubtfulAt(off int64) []byte {
	if off < e.Off {
		return nil
	}
	return e.Doubtful[min(off-e.Off, int64(len(e.Doubtful))):]
}

// From is the error for the part of its range that begins at off, which lies in it.
func (e *BadRangeError) From(off int64) *BadRangeError {
	rest := *e
	rest.Off, rest.Len, rest.Doubtful = off, e.Off+e.Len-off, e.doubtfulAt(off)
	return &rest
}

func (e *BadRangeError) Error() string {
	return fmt.Sprintf("bytes %d-%d cannot be read: %s", e.Off, e.Off+e.Len-1, e.Why)
}

func (e *BadRangeError) Unwrap() error { return e.Err }

// Why is an error in the words of an extent: of a range that cannot be read its reason,
// without the place, so that all ranges of one cause have the same.
func Why(err error) string {
	var bad *BadRangeError
	if errors.As(err, &bad) {
		return bad.Why
	}
	return err.Error()
}

// Clip cuts [off, off+n) to a device of size bytes and returns the first byte of what is
// left and the byte behind it. Whatever the input, 0 <= lo <= hi <= size.
func Clip(size, off, n int64) (lo, hi int64) {
	lo = min(max(off, 0), size)
	switch {
	case n <= 0:
		return lo, lo
	case off < 0: // cannot overflow: one is negative, the other is not
		return lo, min(max(off+n, lo), size)
	}
	return lo, lo + min(n, size-lo)
}

// ClipRead cuts the buffer of a ReadAt to what a device of size bytes has at off. The
// error is io.EOF when the buffer was longer than that, which the ReadAt must return in
// the end if nothing worse happens.
func ClipRead(size int64, p []byte, off int64) ([]byte, error) {
	if off < 0 {
		return nil, fmt.Errorf("read at negative offset %d", off)
	}
	lo, hi := Clip(size, off, int64(len(p)))
	if n := int(hi - lo); n < len(p) {
		return p[:n], io.EOF
	}
	return p, nil
}
