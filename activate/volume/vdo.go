package volume

import (
	"fmt"
	"iter"
	"slices"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/vdo"
	"github.com/lvrescue/lvrescue/scan/block"
)

// vdoLV is a range of a VDO volume. Source: drivers/md/dm-vdo.
type vdoLV struct {
	vol  *vdo.Volume
	data block.Device
	off  int64 // of the first byte in the volume
	size int64
}

// vdo opens a VDO target of n bytes.
func (o opener) vdo(t activate.VDO, n int64) block.Device {
	if t.Volume == nil {
		return block.NewBad(n, t.Lost)
	}
	d := &vdoLV{vol: t.Volume, data: o.input(t.Data, t.DataSize), off: t.Off}
	d.size = min(max(t.Volume.Size()-t.Off, 0), n)
	whole := block.NewSection(d, 0, n, "this lies beyond the end of the VDO volume")
	if t.Doubt != "" {
		return block.NewDoubtful(whole, t.Doubt)
	}
	return whole
}

func (d *vdoLV) Size() int64 { return d.size }

// pieces gives the bytes [lo, hi) in pieces: ordered, without gaps.
func (d *vdoLV) pieces(lo, hi int64) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		if lo >= hi {
			return
		}
		var packed *packedBlock
		for r := range d.vol.Runs(uint64((lo+d.off)/vdo.BlockSize), uint64((hi-1+d.off)/vdo.BlockSize)) {
			start := int64(r.First)*vdo.BlockSize - d.off
			from := max(lo, start)
			n := min(hi, int64(r.Last+1)*vdo.BlockSize-d.off) - from
			at := from - start // in the run
			c := piece{from, n, nil, at}
			switch r.State {
			case vdo.Hole:
				c.dev, c.at = block.NewZero(n), 0
			case vdo.Unsure:
				c.dev, c.at = block.NewDoubtful(block.NewZero(n), r.Why), 0
			case vdo.Lost:
				c.dev, c.at = block.NewBad(n, r.Why), 0
			case vdo.Mapped:
				c.dev, c.at = d.data, d.vol.Offset(r.PBN)+at
			case vdo.Packed:
				if packed == nil || packed.off != d.vol.Offset(r.PBN) {
					packed = &packedBlock{data: d.data, off: d.vol.Offset(r.PBN)}
				}
				c.dev = fragment{packed, r.Slot}
			}
			if !yield(c) {
				return
			}
		}
	}
}

// ReadAt implements io.ReaderAt.
func (d *vdoLV) ReadAt(p []byte, off int64) (int, error) {
	return pieces(d.pieces).readAt(d.size, p, off)
}

// Extents implements block.Device.
func (d *vdoLV) Extents(off, n int64) iter.Seq[block.Extent] {
	return pieces(d.pieces).extents(d.size, off, n)
}

// packedBlock is a compressed block, read when it is needed and kept for the fragments that
// follow. One goroutine at a time uses it.
type packedBlock struct {
	data block.Device
	off  int64 // bytes
	raw  []byte
	lost []block.Extent // what is not plain data of raw
	err  error
}

// read reads the block as far as it can be read.
func (b *packedBlock) read() error {
	if b.raw == nil {
		b.raw = make([]byte, vdo.BlockSize)
		b.err = block.ReadRange(b.data, b.raw, b.off, func(e block.Extent) {
			if !e.State.Sure() {
				b.lost = append(b.lost, e)
			}
		})
	}
	return b.err
}

// readWhole reads the block in one go, if the device lets it. What is doubtful does not show:
// it is for reading, of which Extents has told the doubts.
func (b *packedBlock) readWhole() {
	if b.raw != nil {
		return
	}
	raw := make([]byte, vdo.BlockSize)
	if n, _ := b.data.ReadAt(raw, b.off); n == len(raw) {
		b.raw = raw
	}
}

// worst is the worst that is known of the bytes [lo, hi) of the block.
func (b *packedBlock) worst(lo, hi int64) block.Extent {
	worst := block.Extent{State: block.Data}
	for _, e := range b.lost {
		if e.Off < b.off+hi && b.off+lo < e.End() && e.State > worst.State {
			worst = e
		}
	}
	return worst
}

// fragment is one logical block out of a compressed one.
type fragment struct {
	*packedBlock
	slot int
}

func (f fragment) Size() int64 { return vdo.BlockSize }

// find reads the block and finds the fragment in it, and what it is worth.
func (f fragment) find() (b []byte, e block.Extent, err error) {
	if err := f.read(); err != nil {
		return nil, e, err
	}
	header := f.worst(0, vdo.FragmentTable)
	if header.State == block.Bad {
		return nil, header, nil
	}
	off, n, err := vdo.FragmentRange(f.raw, f.slot)
	if err != nil {
		return nil, block.Extent{State: block.Bad, Why: f.why(err)}, nil
	}
	e = f.worst(int64(off), int64(off+n))
	if e.State < header.State {
		e = header
	}
	return f.raw[off : off+n], e, nil
}

func (f fragment) why(err error) string {
	return fmt.Sprintf("VDO block at byte %d: %v", f.off, err)
}

// ReadAt implements io.ReaderAt.
func (f fragment) ReadAt(p []byte, off int64) (int, error) {
	p, eof := block.ClipRead(vdo.BlockSize, p, off)
	f.readWhole()
	b, e, err := f.find()
	if err != nil {
		return 0, err
	}
	if e.State != block.Bad {
		switch err = f.decompress(p, b, off); {
		case err != nil:
			e.Why = f.why(err)
		case e.State == block.Doubtful && f.plain(): // which is news
			return 0, &block.BadRangeError{Off: off, Len: int64(len(p)), Why: e.Why, Doubtful: slices.Clone(p)}
		default:
			return len(p), eof
		}
	}
	return 0, &block.BadRangeError{Off: 0, Len: vdo.BlockSize, Why: e.Why}
}

// plain tells whether all of the compressed block is data, as far as is known before it is read.
func (f fragment) plain() bool {
	for below := range f.data.Extents(f.off, vdo.BlockSize) {
		if below.State != block.Data {
			return false
		}
	}
	return true
}

// decompress fills p with what the fragment b holds from off on.
func (f fragment) decompress(p, b []byte, off int64) error {
	if len(p) == vdo.BlockSize {
		return vdo.Decompress(p, b)
	}
	whole := make([]byte, vdo.BlockSize)
	if err := vdo.Decompress(whole, b); err != nil {
		return err
	}
	copy(p, whole[off:])
	return nil
}

// Extents implements block.Device. Where all of the compressed block is data it is not read:
// that a fragment cannot be decompressed shows in ReadAt.
func (f fragment) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(vdo.BlockSize, off, n)
		if lo >= hi {
			return
		}
		e := block.Extent{State: block.Data}
		if !f.plain() {
			var err error
			if _, e, err = f.find(); err != nil {
				e = block.Extent{State: block.Bad, Why: err.Error()}
			}
		}
		yield(block.Extent{Off: lo, Len: hi - lo, State: e.State, Why: e.Why})
	}
}
