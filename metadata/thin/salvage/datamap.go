package salvage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// DataMap is what was found when the space map of a pool's data was held against the
// mappings: each leaf of a device's tree uses each block of the data that it maps once.
type DataMap struct {
	Damaged []Damaged // its own blocks that cannot be used
	Unknown uint64    // blocks of the data about which these would tell

	// What the map says and the mappings do not. A block that is called free, or used by
	// fewer than use it, will be given to another device; one that is called used by more
	// is lost to the pool.
	Free, Fewer, More, Leaked Miscounted

	Skipped string // why nothing, or not all, was counted; "" when all was
}

// Miscounted is how many blocks of the data are counted wrong in one way.
type Miscounted struct {
	Blocks uint64
	First  uint64 // the lowest of them
}

func (m *Miscounted) add(block uint64) {
	if m.Blocks == 0 {
		m.First = block
	}
	m.Blocks++
}

const (
	bitmapsPerWindow = 256
	countWindow      = bitmapsPerWindow * perBitmap // blocks of the data that are counted in one pass over the leaves
	mostCounted      = 255                          // uses of a block are told apart up to here
)

// DataMap checks the space map of the pool's data.
func (p *Pool) DataMap() *DataMap { return p.dataMap() }

func (p *Pool) checkDataMap() *DataMap {
	d, leaves := &DataMap{}, p.maps.reached
	blocks := p.Superblock.DataMap.Blocks
	switch {
	case p.SuperErr != nil:
		d.Skipped = "the superblock, which tells where the space map of the data is, cannot be used"
		return d
	case blocks > maxWindows*countWindow:
		d.Skipped = "the data has too many blocks to count how often each is used"
		return d
	case p.Partial != "" || len(p.top.order)+len(p.maps.order) > 0 || p.maps.doubt != "":
		d.Skipped = "mappings are lost: which blocks of the data are called used though nothing uses them is not known"
		leaves = p.sure()
	}
	used, said := make([]uint8, min(blocks, countWindow)), make([]uint8, min(blocks, countWindow))
	known := newBits(len(used))
	for first := uint64(0); first < blocks; first += countWindow {
		n := min(blocks-first, countWindow)
		clear(used)
		clear(said)
		clear(known)
		p.eachLeafOf(leaves, func(leaf *btree.Node) {
			for i := range leaf.Entries {
				if data, _ := thin.Mapping(leaf.Uint64(i)); data >= first && data-first < n && used[data-first] < mostCounted {
					used[data-first]++
				}
			}
		})
		p.readDataMap(d, first, said[:n], known)
		for i := range n {
			switch u, s := used[i], said[i]; {
			case !known.has(i):
				d.Unknown++
			case u > 0 && s == 0:
				d.Free.add(first + i)
			case u > s:
				d.Fewer.add(first + i)
			case d.Skipped != "":
			case u == 0 && s > 0:
				d.Leaked.add(first + i)
			case u < s:
				d.More.add(first + i)
			}
		}
	}
	return d
}

// readDataMap reads how often the map says that each block from first on is used, and of
// which it is known.
func (p *Pool) readDataMap(d *DataMap, first uint64, said []uint8, known bits) {
	last := first + uint64(len(said)) - 1
	bitmap := make([]byte, btree.BlockSize)
	sm := p.Superblock.DataMap
	for piece := range (btree.Tree{Reader: p.survey.r, Root: sm.Bitmaps, ValueSize: indexEntry}).Walk(first/perBitmap, last/perBitmap) {
		if piece.Err != nil {
			d.damaged(sm.Bitmaps, piece.Err, "a node of the tree of the bitmaps of the data", piece.First*perBitmap, piece.Last*perBitmap+perBitmap-1)
			continue
		}
		for i, j := piece.Entries(); i < j; i++ {
			entry := piece.Node.Value(i)
			start, at := piece.Node.Key(i)*perBitmap, binary.LittleEndian.Uint64(entry)
			end := min(start+perBitmap-1, last)
			err := p.survey.r.Read(bitmap, at, btree.BitmapBlock)
			free, listed := freeIn(bitmap[bitmapHeader:]), int(binary.LittleEndian.Uint32(entry[indexFreeAt:]))
			// The last bitmap has bits behind the end of the data, which count as free or not.
			if err == nil && (listed > free || listed != free && end != sm.Blocks-1) {
				err = fmt.Errorf("metadata block %d (byte %d): has %d free blocks, its index says %d: it is of another state", at, at*btree.BlockSize, free, listed)
			}
			if err != nil {
				d.damaged(at, err, "a bitmap of the data", start, end)
				continue
			}
			u := usage{bitmaps: [][]byte{bitmap[bitmapHeader:]}}
			for b := start; b <= end; b++ {
				n, _ := u.count(b - start)
				said[b-first] = uint8(n)
				known.add(b - first)
			}
		}
	}
	for piece := range (btree.Tree{Reader: p.survey.r, Root: sm.Counts, ValueSize: countSize}).Walk(first, last) {
		lost := piece.Err != nil
		if lost {
			d.damaged(sm.Counts, piece.Err, "a node of the tree of counts above 2 of the data", piece.First, piece.Last)
		}
		for b := piece.First; lost && b <= min(piece.Last, last); b++ {
			if said[b-first] > 2 {
				known[(b-first)/bitsPerWord] &^= 1 << ((b - first) % bitsPerWord)
			}
		}
		for i, j := piece.Entries(); i < j; i++ {
			if at := piece.Node.Key(i) - first; said[at] > 2 {
				said[at] = uint8(min(binary.LittleEndian.Uint32(piece.Node.Value(i)), mostCounted))
			}
		}
	}
}

// damaged notes what is lost with a block of the map: the one that err names, else block.
func (d *DataMap) damaged(block uint64, err error, what string, from, to uint64) {
	const most = 1000
	if len(d.Damaged) == most {
		return
	}
	if b, ok := errors.AsType[*btree.BlockError](err); ok {
		block = b.Block
	}
	d.Damaged = append(d.Damaged, Damaged{block, fmt.Sprintf("%v: %s, of blocks %d to %d", err, what, from, to)})
}
