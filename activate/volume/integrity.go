package volume

import (
	"errors"
	"iter"
	"sort"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/integrity"
	"github.com/lvrescue/lvrescue/scan/block"
)

func (o opener) integrity(t activate.Integrity, n int64) block.Device {
	data := o.input(t.Data, n)
	if t.Lost != "" {
		return block.NewBad(n, t.Lost)
	}
	if t.Superblock != nil {
		if t.Superblock.Interleave > 0 {
			data = &interleaved{o.volume(t.Meta), t.Superblock, n}
		}
		data = &verified{replayed{data, o.volume(t.Meta), t.Journal, t.Superblock.BlockSize}, *t.Superblock}
	}
	if t.Doubt != "" {
		return block.NewDoubtful(data, t.Doubt)
	}
	return data
}

// interleaved is data with tags among it.
type interleaved struct {
	dev  block.Device
	sb   *integrity.Superblock
	size int64
}

func (d *interleaved) Size() int64 { return d.size }

// pieces gives the bytes [lo, hi) interleave by interleave.
func (d *interleaved) pieces(lo, hi int64) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for lo < hi {
			at, n := d.sb.DataOffset(lo)
			n = min(n, hi-lo)
			if !yield(piece{lo, n, d.dev, at}) {
				return
			}
			lo += n
		}
	}
}

// ReadAt implements io.ReaderAt.
func (d *interleaved) ReadAt(p []byte, off int64) (int, error) {
	return pieces(d.pieces).readAt(d.size, p, off)
}

// Extents implements block.Device.
func (d *interleaved) Extents(off, n int64) iter.Seq[block.Extent] {
	return pieces(d.pieces).extents(d.size, off, n)
}

// replayed is data over which the blocks of a journal are laid.
type replayed struct {
	data, meta block.Device
	journal    []integrity.Entry // by Off
	blockSize  int64             // bytes
}

// entry finds the journal's block that holds the byte at off, or the next one. It is nil
// behind the last.
func (d *replayed) entry(off int64) *integrity.Entry {
	i := sort.Search(len(d.journal), func(i int) bool { return d.journal[i].Off+d.blockSize > off })
	if i == len(d.journal) {
		return nil
	}
	return &d.journal[i]
}

// at finds the piece of [off, end) that begins at off, and the journal's entry if it is
// there that it lies.
func (d *replayed) at(off, end int64) (piece, *integrity.Entry) {
	e := d.entry(off)
	switch {
	case e == nil:
		return piece{off, end - off, d.data, off}, nil
	case e.Off > off:
		return piece{off, min(end, e.Off) - off, d.data, off}, nil
	}
	in := off - e.Off
	return piece{off, min(end-off, d.blockSize-in), d.meta, e.At + in}, e
}

// ReadAt reads bytes of the device; there must be as many.
func (d *replayed) ReadAt(p []byte, off int64) (n int, err error) {
	for end := off + int64(len(p)); n < len(p); {
		var k int
		c, e := d.at(off+int64(n), end)
		if e == nil {
			k, err = c.read(p[n:])
		} else {
			k, err = d.restore(p[n:n+int(c.n)], c, e)
		}
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// restore reads a piece of a block of the journal.
func (d *replayed) restore(p []byte, c piece, e *integrity.Entry) (int, error) {
	in := c.off - e.Off
	c = piece{e.Off, d.blockSize, d.meta, e.At}
	b := make([]byte, d.blockSize)
	n, err := c.read(b)
	var bad *block.BadRangeError
	if errors.As(err, &bad) { // what there is of it would have to be restored, too
		bad.Doubtful = nil
	}
	e.Restore(b)
	return copy(p, b[min(in, int64(n)):n]), err
}

func (d *replayed) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		for lo, hi := block.Clip(d.data.Size(), off, n); lo < hi; {
			c, _ := d.at(lo, hi)
			if !c.extents(yield) {
				return
			}
			lo += c.n
		}
	})
}

// verified holds each block that it reads against the block's checksum, and refuses those
// that do not agree: as the kernel does, so that RAID above takes them from elsewhere.
type verified struct {
	replayed
	sb integrity.Superblock
}

func (d *verified) Size() int64 { return d.data.Size() }

const verifySize = 256 << 10 // bytes that are read and checked at once

// WrongChecksum is why a block is bad that does not have the checksum which integrity kept
// for it.
const WrongChecksum = "the block's integrity checksum is wrong"

// ReadAt implements io.ReaderAt.
func (d *verified) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(d.Size(), p, off)
	for n < len(p) {
		k, err := d.readBlocks(p[n:], off+int64(n))
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// readBlocks reads some of the bytes at off.
func (d *verified) readBlocks(p []byte, off int64) (int, error) {
	bs := d.sb.BlockSize
	lo := off / bs * bs
	hi := min((off+int64(len(p))+bs-1)/bs*bs, lo+verifySize)
	if d.sb.Interleave > 0 { // tags of the next interleave stand elsewhere
		hi = min(hi, (lo/d.sb.Interleave+1)*d.sb.Interleave)
	}
	buf := p
	if lo != off || hi-lo > int64(len(p)) {
		buf = make([]byte, hi-lo)
	}
	buf = buf[:hi-lo]
	n, _ := d.replayed.ReadAt(buf, lo) // whatever stopped it stops the next turn too
	n -= n % int(bs)
	if n == 0 { // the block cannot be had as a whole, so what can be is not to be checked
		return d.replayed.ReadAt(p[:min(lo+bs-off, int64(len(p)))], off)
	}
	ok := d.check(buf[:n], lo)
	var err error
	if ok < n {
		bad := max(lo+int64(ok), off)
		err = &block.BadRangeError{Off: bad, Len: lo + int64(ok) + bs - bad, Why: WrongChecksum}
	}
	if &buf[0] == &p[0] {
		return ok, err
	}
	return copy(p, buf[min(int(off-lo), ok):ok]), err
}

// check counts the bytes, in whole blocks from off on, before the first wrong checksum.
func (d *verified) check(b []byte, off int64) int {
	bs, size := d.sb.BlockSize, int64(d.sb.TagSize)
	first := off / bs
	tags := make([]byte, int64(len(b))/bs*size)
	known, _ := d.meta.ReadAt(tags, d.sb.TagOffset(first)) // without its tag a block is not checked
	for at := int64(0); at < int64(len(b)); at += bs {
		i := at / bs * size
		tag := tags[i : i+size]
		if e := d.entry(off + at); e != nil && e.Off == off+at {
			tag = e.Tag
		} else if i+size > int64(known) || !d.tagged(off+at) {
			continue
		}
		if !d.sb.Matches(tag, b[at:at+bs], off+at) {
			return int(at)
		}
	}
	return len(b)
}

// tagged tells whether the tag of the block at off is up to date.
func (d *verified) tagged(off int64) bool {
	if off+d.sb.BlockSize > d.sb.Tagged {
		return false
	}
	if !d.sb.DirtyBitmap {
		return true
	}
	at, mask := d.sb.BitOffset(off)
	var bits [1]byte
	n, _ := d.meta.ReadAt(bits[:], at)
	return n == 1 && bits[0]&mask == 0
}
