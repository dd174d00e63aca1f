package salvage

import (
	"encoding/binary"
	"slices"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

const (
	bitmapHeader  = 16
	perBitmap     = (btree.BlockSize - bitmapHeader) * 4 // blocks: two bits each
	indexHeader   = 16
	indexEntry    = 16 // blocknr:u64 nr_free:u32 none_free_before:u32
	maxIndexed    = 255
	indexFreeAt   = 8
	bitsPerWord   = 64
	blocksPerByte = 4
	countSize     = 4
)

// bits is a set of block numbers.
type bits []uint64

func newBits(n int) bits { return make(bits, (n+bitsPerWord-1)/bitsPerWord) }

func (b bits) has(n uint64) bool {
	return n/bitsPerWord < uint64(len(b)) && b[n/bitsPerWord]>>(n%bitsPerWord)&1 != 0
}

func (b bits) add(n uint64) { b[n/bitsPerWord] |= 1 << (n % bitsPerWord) }

// usage is how often one commit uses each metadata block, as the space map that belongs to
// it says (dm-space-map-metadata.c). A nil usage knows nothing.
type usage struct {
	bitmaps [][]byte // two bits a block; nil: lost
	counts  map[uint64]uint32
}

// use is what is known of one block.
type use uint8

const (
	useUnknown use = iota
	useFree
	useUsed
)

func (u *usage) of(block uint64) use {
	switch n, ok := u.count(block); {
	case !ok:
		return useUnknown
	case n > 0:
		return useUsed
	}
	return useFree
}

// count is how many parents a block has, or 3 where there may be more; ok is false where
// nothing is known.
func (u *usage) count(block uint64) (n int, ok bool) {
	if u == nil || block/perBitmap >= uint64(len(u.bitmaps)) || u.bitmaps[block/perBitmap] == nil {
		return 0, false
	}
	j := block % perBitmap
	switch u.bitmaps[block/perBitmap][j/blocksPerByte] >> (2 * (j % blocksPerByte)) & 3 {
	case 0:
		return 0, true
	case 1: // the kernel has the higher bit first
		return 2, true
	case 2:
		return 1, true
	}
	return max(3, int(u.counts[block])), true
}

// whole tells whether the use of every block is known.
func (u *usage) whole() bool {
	return u != nil && !slices.ContainsFunc(u.bitmaps, func(b []byte) bool { return b == nil })
}

// usage reads the space map that begins at an index block; nil when that is lost. counts is
// the root of the tree of counts above 2, 0 when it is not known.
func (s *survey) usage(index, counts uint64) *usage {
	b := make([]byte, btree.BlockSize)
	if s.r.Read(b, index, btree.IndexBlock) != nil {
		return nil
	}
	u := &usage{bitmaps: make([][]byte, (len(s.nodes)+perBitmap-1)/perBitmap), counts: map[uint64]uint32{}}
	for i := range min(len(u.bitmaps), maxIndexed) {
		entry := b[indexHeader+i*indexEntry:]
		at, bitmap := binary.LittleEndian.Uint64(entry), make([]byte, btree.BlockSize)
		switch {
		case at == 0 && i > 0: // the space map ends before the device does
			u.bitmaps[i] = bitmap[bitmapHeader:]
		case s.r.Read(bitmap, at, btree.BitmapBlock) == nil:
			u.bitmaps[i] = bitmap[bitmapHeader:]
			// The last bitmap has bits behind the end of the device, which count as free or not.
			free, said := freeIn(u.bitmaps[i]), int(binary.LittleEndian.Uint32(entry[indexFreeAt:]))
			if said != free && (i != len(u.bitmaps)-1 || said > free) {
				u.bitmaps[i] = nil // it is of another commit
			}
		}
	}
	if counts == 0 {
		return u
	}
	for p := range (btree.Tree{Reader: s.r, Root: counts, ValueSize: countSize}).Walk(0, uint64(len(s.nodes))) {
		for i, j := p.Entries(); i < j; i++ {
			u.counts[p.Node.Key(i)] = binary.LittleEndian.Uint32(p.Node.Value(i))
		}
	}
	return u
}

// freeIn counts the blocks that a bitmap calls free.
func freeIn(bitmap []byte) int {
	free := 0
	for _, b := range bitmap {
		for range blocksPerByte {
			if b&3 == 0 {
				free++
			}
			b >>= 2
		}
	}
	return free
}
