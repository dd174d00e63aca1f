package exstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// maxRuns bounds the memory of a list: 192 MiB, and 48 more while it grows. Chunks of 4 KiB
// that were changed in no order at all come to 32 GiB with it. Those that were changed one after
// the other, which is how most are, stand one after the other in the store, and are one run.
const (
	maxRuns  = 1 << 23
	manyRuns = maxRuns / 4 // from here on there is room for maxRuns
)

// Run is a run of chunks that have copies: Len chunks of the origin from Old on lie in the
// store from New on.
type Run struct{ Old, New, Len int64 }

// List is what a store's areas hold.
type List struct {
	Runs       []Run // by Old, not overlapping
	Exceptions int64
	Areas      int64 // how many were read: 0 to Areas-1

	// Missing says why exceptions may be missing from Runs; "" when all are there. What it
	// has is right all the same.
	Missing string

	// Conflict says what in the list contradicts itself, so that none of it can be believed.
	Conflict string
}

// AreaOffset is where an area lies in a store, in bytes. It is ChunkSize bytes long.
func AreaOffset(area, chunkSize int64) int64 {
	return chunkSize * (1 + area*(chunkSize/exceptionSize+1))
}

// ReadList reads the exceptions of a store of size bytes whose chunks have chunkSize bytes,
// a power of two from 512 on. The origin has chunks chunks: exceptions for others are
// damage. Whatever cannot be read is told in Missing.
func ReadList(store io.ReaderAt, size, chunkSize, chunks int64) *List {
	r := &reader{store: store, size: size, chunkSize: chunkSize, chunks: chunks, perArea: chunkSize / exceptionSize, most: maxRuns}
	return r.read()
}

// read reads all areas.
func (r *reader) read() *List {
	for full := true; full; r.list.Areas++ {
		off := AreaOffset(r.list.Areas, r.chunkSize)
		if off > r.size-r.chunkSize {
			break // the last area is full, and so is the store
		}
		full = r.area(off)
	}
	r.index()
	return &r.list
}

// reader is one ReadList at work.
type reader struct {
	store                            io.ReaderAt
	size, chunkSize, chunks, perArea int64
	areaEnd                          int64 // of the area being read
	most                             int   // runs
	list                             List  // its Runs are in the order of the store until index
}

// pieceSize is how much of an area is read at once, in bytes.
const pieceSize = 64 << 10

// area reads one area and says whether it is full.
func (r *reader) area(off int64) (full bool) {
	buf := make([]byte, min(pieceSize, r.chunkSize))
	r.areaEnd = off + r.chunkSize
	for at := off; at < off+r.chunkSize; at += int64(len(buf)) {
		if n, err := r.store.ReadAt(buf, at); n < len(buf) {
			return r.salvage(buf, at, err) && at+int64(len(buf)) == off+r.chunkSize
		}
		if !r.take(buf, at) {
			return false
		}
	}
	return true
}

// salvage reads a piece sector by sector, since err kept it from being read as a whole, and
// says whether the list goes on behind it: not when that cannot be known.
func (r *reader) salvage(buf []byte, off int64, err error) (more bool) {
	for len(buf) > 0 {
		sector := buf[:sectorSize]
		n, serr := r.store.ReadAt(sector, off)
		more = n == len(sector)
		if more && !r.take(sector, off) {
			return false
		}
		if !more {
			r.miss("bytes %d-%d of the exception list: %v", off, off+sectorSize-1, cmp.Or(serr, err))
		}
		buf, off = buf[sectorSize:], off+sectorSize
	}
	return more
}

// take takes down the exceptions in a piece of an area, and says whether it was full.
func (r *reader) take(b []byte, off int64) (full bool) {
	for i := 0; i < len(b); i += exceptionSize {
		old, copied := binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:])
		switch {
		case copied == 0:
			r.end(b[i:], off+int64(i))
			return false
		case copied >= uint64(r.size/r.chunkSize) || r.reserved(int64(copied)):
			r.miss("exception at byte %d: new chunk %d is none of the %d that the store has for data", off+int64(i), copied, r.size/r.chunkSize)
		case old >= uint64(r.chunks):
			r.miss("exception at byte %d: old chunk %d is beyond the %d of the origin", off+int64(i), old, r.chunks)
		case !r.add(int64(old), int64(copied)):
			r.miss("the exception list has more than %d runs of chunks, of which the rest is not read: it goes on at byte %d", r.most, off+int64(i))
			return false
		}
	}
	return true
}

// add takes down an exception; false when there is no room for it.
func (r *reader) add(old, copied int64) bool {
	runs := r.list.Runs
	n := len(runs)
	if n > 0 && runs[n-1].Old+runs[n-1].Len == old && runs[n-1].New+runs[n-1].Len == copied {
		runs[n-1].Len++
		r.list.Exceptions++
		return true
	}
	switch {
	case n == r.most:
		return false
	case n == manyRuns:
		runs = append(make([]Run, 0, maxRuns), runs...)
	}
	r.list.Runs = append(runs, Run{old, copied, 1})
	r.list.Exceptions++
	return true
}

// end looks at an area from the entry on that ends the list, b at off: the kernel clears an
// area before it is used, and takes entries away from the end.
func (r *reader) end(b []byte, off int64) {
	for len(b) > 0 {
		if left := bytes.TrimLeft(b, "\x00"); len(left) > 0 {
			r.miss("something stands behind the end of the exception list, at byte %d", off+int64(len(b)-len(left)))
			return
		}
		off += int64(len(b))
		b = make([]byte, min(pieceSize, r.areaEnd-off))
		if n, _ := r.store.ReadAt(b, off); n < len(b) {
			return
		}
	}
}

// reserved tells the header's chunk and those of the areas.
func (r *reader) reserved(chunk int64) bool { return chunk == 0 || chunk%(r.perArea+1) == 1 }

// ordinal is how many chunks for data lie before a chunk of the store.
func (r *reader) ordinal(chunk int64) int64 { return chunk - 2 - (chunk-1)/(r.perArea+1) }

// miss notes the first reason why exceptions may be missing.
func (r *reader) miss(format string, args ...any) {
	if r.list.Missing == "" {
		r.list.Missing = fmt.Sprintf(format, args...)
	}
}

// index sorts the runs. No chunk can have two copies, and no copy can be of two chunks.
func (r *reader) index() {
	runs := r.list.Runs
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.New, b.New) })
	for i := 1; i < len(runs); i++ {
		if a, b := runs[i-1], runs[i]; b.New < a.New+a.Len {
			r.conflict("chunk %d of the store is given as the copy of chunk %d and of chunk %d", b.New, a.Old+b.New-a.New, b.Old)
		}
	}
	if n := len(runs); n > 0 && r.list.Missing == "" {
		if last := runs[n-1].New + runs[n-1].Len - 1; r.ordinal(last) >= r.list.Exceptions {
			r.conflict("%d exceptions have copies up to chunk %d of the store: the kernel leaves no chunk out", r.list.Exceptions, last)
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.Old, b.Old) })
	kept := runs[:0]
	for _, e := range runs {
		if n := len(kept); n > 0 {
			last := &kept[n-1]
			if twice := last.Old + last.Len - e.Old; twice > 0 {
				r.conflict("chunk %d of the origin has two copies, in chunks %d and %d of the store", e.Old, last.New+e.Old-last.Old, e.New)
				twice = min(twice, e.Len)
				e = Run{e.Old + twice, e.New + twice, e.Len - twice}
			}
			if last.Old+last.Len == e.Old && last.New+last.Len == e.New {
				last.Len += e.Len
				continue
			}
		}
		if e.Len > 0 {
			kept = append(kept, e)
		}
	}
	r.list.Runs = slices.Clip(kept)
}

// conflict notes the first contradiction.
func (r *reader) conflict(format string, args ...any) {
	if r.list.Conflict == "" {
		r.list.Conflict = fmt.Sprintf(format, args...)
	}
}
