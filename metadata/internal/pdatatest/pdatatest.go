// Package pdatatest makes metadata devices of thin pools and caches for tests.
package pdatatest

import (
	"encoding/binary"
	"math"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

// Image is a metadata device. Block 0 is kept for a superblock.
type Image []byte

// New makes a device of one empty block.
func New() *Image {
	m := make(Image, btree.BlockSize)
	return &m
}

// Block is block n, to be changed at will.
func (m *Image) Block(n uint64) []byte { return (*m)[n*btree.BlockSize:][:btree.BlockSize] }

// Add appends a block and seals it.
func (m *Image) Add(k btree.Kind, fill func(b []byte)) uint64 {
	n := uint64(len(*m) / btree.BlockSize)
	*m = append(*m, make([]byte, btree.BlockSize)...)
	fill(m.Block(n))
	m.Seal(n, k)
	return n
}

// Seal gives a block its number and its checksum.
func (m *Image) Seal(n uint64, k btree.Kind) {
	b, at := m.Block(n), 8
	if k == btree.ArrayBlock {
		at = 16
	}
	binary.LittleEndian.PutUint64(b[at:], n)
	binary.LittleEndian.PutUint32(b, btree.Sum(b, k))
}

// Put stores a number of 4 or 8 bytes, by its type.
func Put(b []byte, at int, v any) {
	switch v := v.(type) {
	case uint32:
		binary.LittleEndian.PutUint32(b[at:], v)
	case uint64:
		binary.LittleEndian.PutUint64(b[at:], v)
	}
}

// maxEntries is how many entries with values of size bytes the kernel puts into a node.
func maxEntries(size int) int { return (btree.BlockSize - 32) / (8 + size) / 3 * 3 }

// Entry is a key and its value.
type Entry struct {
	Key   uint64
	Value []byte
}

// Number makes an entry with a value of 8 bytes.
func Number(key, value uint64) Entry {
	return Entry{key, binary.LittleEndian.AppendUint64(nil, value)}
}

// Node appends a node.
func (m *Image) Node(leaf bool, valueSize int, entries ...Entry) uint64 {
	return m.Add(btree.NodeBlock, func(b []byte) {
		flags, limit := uint32(1), maxEntries(valueSize)
		if leaf {
			flags = 2
		}
		Put(b, 4, flags)
		Put(b, 16, uint32(len(entries)))
		Put(b, 20, uint32(limit))
		Put(b, 24, uint32(valueSize))
		for i, e := range entries {
			Put(b, 32+8*i, e.Key)
			copy(b[32+8*limit+valueSize*i:], e.Value)
		}
	})
}

// Tree appends a tree of full nodes and returns its root.
func (m *Image) Tree(valueSize int, entries []Entry) uint64 {
	leaf, size := true, valueSize
	for {
		var above []Entry
		limit := maxEntries(size)
		for len(entries) > 0 || leaf && above == nil {
			n := min(limit, len(entries))
			first := uint64(math.MaxUint64)
			if n > 0 {
				first = entries[0].Key
			}
			above = append(above, Number(first, m.Node(leaf, size, entries[:n]...)))
			entries = entries[n:]
		}
		if len(above) == 1 {
			return binary.LittleEndian.Uint64(above[0].Value)
		}
		leaf, size, entries = false, 8, above
	}
}

// Array appends an array of values of size bytes each.
func (m *Image) Array(size int, values []byte) uint64 {
	var blocks []Entry
	for i, per := uint64(0), (btree.BlockSize-24)/size*size; len(values) > 0; i++ {
		part := values[:min(per, len(values))]
		values = values[len(part):]
		blocks = append(blocks, Number(i, m.Add(btree.ArrayBlock, func(b []byte) {
			Put(b, 4, uint32(per/size))
			Put(b, 8, uint32(len(part)/size))
			Put(b, 12, uint32(size))
			copy(b[24:], part)
		})))
	}
	return m.Tree(8, blocks)
}
