package dmraid

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/lvrescue/lvrescue/metadata"
)

// BitmapOffset is where the write-intent bitmap begins, in bytes from the start of the
// metadata LV (drivers/md/dm-raid.c, super_validate).
const BitmapOffset = 4096

const (
	bitmapMagic      = 0x6d746962
	bitmapHeaderSize = 256
	bitmapVersionMin = 3
	bitmapVersionMax = 5
	bitmapStale      = 1 << 1 // in state: nothing here counts
	bitmapWriteError = 1 << 2

	maxBitmapBytes = 16 << 20 // of bits: 2^27 regions
)

// Offsets of fields from the start of the bitmap's header, in bytes.
const (
	offBitmapVersion       = 4
	offBitmapEvents        = 24
	offBitmapEventsCleared = 32
	offBitmapSyncSize      = 40
	offBitmapState         = 48
	offBitmapChunk         = 52
)

// Bitmap tells the regions in which writes may have been under way.
type Bitmap struct {
	Events        uint64 // of the superblock it was written with
	EventsCleared uint64 // when bits were last cleared, with all legs there
	SyncSize      int64  // bytes it covers: of each leg; of the array for raid10
	Region        int64  // bytes a bit stands for
	Stale         bool   // it was not kept up to date

	bits []byte
}

// ReadBitmap reads the bitmap of a metadata LV. Whoever uses it must hold Events against
// those of the superblock: if they are less, writes may have been missed.
func ReadBitmap(rmeta io.ReaderAt) (*Bitmap, error) {
	header := make([]byte, bitmapHeaderSize)
	if _, err := rmeta.ReadAt(header, BitmapOffset); err != nil {
		return nil, fmt.Errorf("write-intent bitmap: %w", err)
	}
	b, err := readBitmapHeader(header)
	if err != nil {
		return nil, err
	}
	b.bits = make([]byte, ceil(ceil(b.SyncSize, b.Region), 8))
	if len(b.bits) == 0 {
		return b, nil
	}
	if n, err := rmeta.ReadAt(b.bits, BitmapOffset+bitmapHeaderSize); n < len(b.bits) {
		return nil, fmt.Errorf("write-intent bitmap: %w", err)
	}
	return b, nil
}

func readBitmapHeader(h []byte) (*Bitmap, error) {
	bad := func(field string, off int, format string, args ...any) error {
		return metadata.Damaged("raid-bitmap", "bitmap."+field, int64(BitmapOffset+off), format, args...)
	}
	le := binary.LittleEndian
	if m := le.Uint32(h); m != bitmapMagic {
		return nil, bad("magic", 0, "is %#x, want %#x", m, bitmapMagic)
	}
	if v := le.Uint32(h[offBitmapVersion:]); v < bitmapVersionMin || v > bitmapVersionMax {
		return nil, bad("version", offBitmapVersion, "is %d, want %d to %d", v, bitmapVersionMin, bitmapVersionMax)
	}
	size, region := le.Uint64(h[offBitmapSyncSize:]), int64(le.Uint32(h[offBitmapChunk:]))
	switch {
	case size > maxSectors:
		return nil, bad("sync_size", offBitmapSyncSize, "is %d sectors, more than any disk holds", size)
	case region < 512 || region&(region-1) != 0:
		return nil, bad("chunksize", offBitmapChunk, "is %d bytes, want a power of two of at least 512", region)
	case ceil(ceil(int64(size)<<9, region), 8) > maxBitmapBytes:
		return nil, bad("chunksize", offBitmapChunk, "is %d bytes, too little for %d sectors", region, size)
	}
	return &Bitmap{
		Events:        le.Uint64(h[offBitmapEvents:]),
		EventsCleared: le.Uint64(h[offBitmapEventsCleared:]),
		SyncSize:      int64(size) << 9,
		Region:        region,
		Stale:         le.Uint32(h[offBitmapState:])&(bitmapStale|bitmapWriteError) != 0,
	}, nil
}

// Dirty gives the ranges [lo, hi) with writes under way, ascending and apart, in bytes of
// what the bitmap covers. The last one may run past SyncSize.
func (b *Bitmap) Dirty() iter.Seq2[int64, int64] {
	return func(yield func(lo, hi int64) bool) {
		lo := int64(-1)
		n := ceil(b.SyncSize, b.Region)
		for i := range n {
			switch dirty := b.bits[i/8]>>(i%8)&1 != 0; {
			case dirty && lo < 0:
				lo = i * b.Region
			case !dirty && lo >= 0:
				if !yield(lo, i*b.Region) {
					return
				}
				lo = -1
			}
		}
		if lo >= 0 {
			yield(lo, min(n, math.MaxInt64/b.Region)*b.Region)
		}
	}
}

// Merge adds what another bitmap of the same array calls dirty. It is false if that covers
// something else.
func (b *Bitmap) Merge(other *Bitmap) bool {
	if other.Region != b.Region || other.SyncSize != b.SyncSize {
		return false
	}
	b.EventsCleared = max(b.EventsCleared, other.EventsCleared)
	for i, bits := range other.bits {
		b.bits[i] |= bits
	}
	return true
}
