package btree

import (
	"encoding/binary"
	"fmt"
	"iter"
)

const (
	arrayEntries   = 8
	arrayValueSize = 12
	arrayValues    = 24
)

// Array is a row of Len values of ValueSize bytes: a tree whose values are numbers of array
// blocks. Element i is in array block i/n, n being what fits a block.
type Array struct {
	Reader    *Reader
	Root      uint64 // block number
	ValueSize int    // bytes
	Len       uint64 // elements
}

// Run is a run of an array's elements, First to Last, with their Values back to back; Values
// are good until the next run. With Err nothing is known of them.
type Run struct {
	First, Last uint64
	Values      []byte
	Err         error
}

// perBlock is the number of elements that an array block holds.
func (a Array) perBlock() uint64 { return uint64((BlockSize - arrayValues) / a.ValueSize) }

// Walk gives all elements in runs: ordered, without gaps.
func (a Array) Walk() iter.Seq[Run] {
	return func(yield func(Run) bool) {
		if a.Len == 0 {
			return
		}
		w := arrayWalker{Array: a, buf: make([]byte, BlockSize), seen: map[uint64]bool{}, yield: yield}
		tree := Tree{Reader: a.Reader, Root: a.Root, ValueSize: childSize}
		for p := range tree.Walk(0, (a.Len-1)/a.perBlock()) {
			if !w.piece(p) {
				return
			}
		}
	}
}

// arrayWalker is one Walk at work.
type arrayWalker struct {
	Array
	buf   []byte
	seen  map[uint64]bool // blocks of the device: none can be in an array twice
	yield func(Run) bool
}

// piece yields the elements of a piece of the tree: array blocks it has, and gaps.
func (a arrayWalker) piece(p Piece) bool {
	next := p.First
	lost := func(last uint64) bool {
		if next > last {
			return true
		}
		err := p.Err
		if err == nil {
			err = fmt.Errorf("the array has no block %d", next)
		}
		return a.yield(a.run(next, last, nil, err))
	}
	for i, j := p.Entries(); i < j; i++ {
		key := p.Node.Key(i)
		if key > next && !lost(key-1) {
			return false
		}
		next = key + 1
		values, err := a.read(p.Node.Uint64(i), key)
		if !a.yield(a.run(key, key, values, err)) {
			return false
		}
	}
	return lost(p.Last)
}

// run is the elements of array blocks first to last.
func (a Array) run(first, last uint64, values []byte, err error) Run {
	n := a.perBlock()
	return Run{First: first * n, Last: min((last+1)*n, a.Len) - 1, Values: values, Err: err}
}

// read reads array block index, at block n of the device, and gives its values.
func (a arrayWalker) read(n, index uint64) ([]byte, error) {
	if a.seen[n] {
		return nil, fmt.Errorf("metadata block %d is in the array twice", n)
	}
	a.seen[n] = true
	b := a.buf
	if err := a.Reader.Read(b, n, ArrayBlock); err != nil {
		return nil, err
	}
	want := min(a.Len-index*a.perBlock(), a.perBlock())
	size, entries := binary.LittleEndian.Uint32(b[arrayValueSize:]), uint64(binary.LittleEndian.Uint32(b[arrayEntries:]))
	switch {
	case size != uint32(a.ValueSize):
		return nil, &BlockError{n, damaged(ArrayBlock, "value_size", arrayValueSize, "values have %d bytes, expected %d", size, a.ValueSize)}
	case entries < want || entries > a.perBlock():
		return nil, &BlockError{n, damaged(ArrayBlock, "nr_entries", arrayEntries, "%d values, expected %d", entries, want)}
	}
	return b[arrayValues:][:want*uint64(a.ValueSize)], nil
}
