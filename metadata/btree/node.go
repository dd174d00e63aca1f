package btree

import (
	"encoding/binary"
	"sort"
)

const (
	nodeFlags     = 4
	nodeEntries   = 16
	nodeMax       = 20
	nodeValueSize = 24
	nodeKeys      = 32

	flagInternal = 1
	flagLeaf     = 2

	keySize   = 8
	childSize = 8 // a block number
)

// Node is one block of a B-tree, checked: keys ascend and everything lies inside the block.
type Node struct {
	Block     uint64 // its number
	Leaf      bool
	Entries   int
	ValueSize int // bytes

	raw    []byte
	values int // where they begin
}

// ParseNode reads b, which stands at block number at. It keeps b.
func ParseNode(b []byte, at uint64) (*Node, error) {
	n := new(Node)
	if err := Check(b, NodeBlock, at); err != nil {
		return nil, err
	}
	if err := n.Reset(b, at); err != nil {
		return nil, err
	}
	return n, nil
}

// Reset makes n the node in b, which stands at block number at, whatever its checksum
// says. It keeps b. After an error n is of no use.
func (n *Node) Reset(b []byte, at uint64) error {
	if len(b) != BlockSize {
		return damaged(NodeBlock, "length", 0, "has %d bytes, expected %d", len(b), BlockSize)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	flags, entries, limit, size := u32(nodeFlags), u32(nodeEntries), u32(nodeMax), u32(nodeValueSize)
	*n = Node{Block: at, raw: b, Leaf: flags&flagLeaf != 0, Entries: int(entries), ValueSize: int(size)}
	switch {
	case n.Leaf == (flags&flagInternal != 0):
		return damaged(NodeBlock, "flags", nodeFlags, "flags 0x%x say neither leaf nor internal, or both", flags)
	case size > BlockSize || uint64(limit)*uint64(size+keySize) > BlockSize-nodeKeys:
		return damaged(NodeBlock, "max_entries", nodeMax, "%d entries with values of %d bytes do not fit a block", limit, size)
	case entries > limit:
		return damaged(NodeBlock, "nr_entries", nodeEntries, "%d entries where there is room for %d", entries, limit)
	case !n.Leaf && (size != childSize || entries == 0):
		return damaged(NodeBlock, "value_size", nodeValueSize, "an internal node with %d values of %d bytes", entries, size)
	}
	n.values = nodeKeys + int(limit)*keySize
	for i := 1; i < n.Entries; i++ {
		if n.Key(i-1) >= n.Key(i) {
			return damaged(NodeBlock, "keys", int64(nodeKeys+i*keySize), "key %d is %d and follows %d", i, n.Key(i), n.Key(i-1))
		}
	}
	return nil
}

// Key is the key of entry i.
func (n *Node) Key(i int) uint64 { return binary.LittleEndian.Uint64(n.raw[nodeKeys+i*keySize:]) }

// Value is the value of entry i, not to be changed.
func (n *Node) Value(i int) []byte {
	at := n.values + i*n.ValueSize
	return n.raw[at : at+n.ValueSize : at+n.ValueSize]
}

// Uint64 is the value of entry i of a node with values of 8 bytes.
func (n *Node) Uint64(i int) uint64 { return binary.LittleEndian.Uint64(n.raw[n.values+i*8:]) }

// Search finds the first entry whose key is not below key.
func (n *Node) Search(key uint64) int {
	return sort.Search(n.Entries, func(i int) bool { return n.Key(i) >= key })
}
