package btree

import (
	"fmt"
	"io"
	"sync"
)

// cachedNodes bounds a Reader's memory: as many nodes of BlockSize bytes.
const cachedNodes = 256

// Reader reads blocks of a metadata device and checks them. The nodes that it met last are
// kept. Several goroutines may use it at once.
type Reader struct {
	src    io.ReaderAt
	blocks uint64

	accept map[uint64]bool // see Accept

	mu    sync.Mutex
	nodes map[uint64]*Node
	queue []uint64 // of nodes, as a ring in the order of their coming
	next  int      // the place in queue to use next
}

// NewReader reads a metadata device of size bytes.
func NewReader(src io.ReaderAt, size int64) *Reader {
	return &Reader{src: src, blocks: uint64(max(size, 0)) / BlockSize, nodes: map[uint64]*Node{}}
}

// Accept makes nodes of blocks whose checksums are wrong. It is to be called before blocks
// are read.
func (r *Reader) Accept(blocks map[uint64]bool) { r.accept = blocks }

// Blocks is the number of whole blocks that the device has.
func (r *Reader) Blocks() uint64 { return r.blocks }

// BlockError says which block could not be used, and why.
type BlockError struct {
	Block uint64
	Err   error
}

func (e *BlockError) Error() string {
	return fmt.Sprintf("metadata block %d (byte %d): %v", e.Block, e.Block*BlockSize, e.Err)
}

func (e *BlockError) Unwrap() error { return e.Err }

// Read reads block n, which must be of kind k, into b of BlockSize bytes.
func (r *Reader) Read(b []byte, n uint64, k Kind) error {
	if err := r.raw(b, n); err != nil {
		return err
	}
	if err := Check(b, k, n); err != nil {
		return &BlockError{n, err}
	}
	return nil
}

// raw reads block n without a look at it.
func (r *Reader) raw(b []byte, n uint64) error {
	if n >= r.blocks {
		return fmt.Errorf("metadata block %d lies beyond the %d blocks of the metadata device", n, r.blocks)
	}
	if got, err := r.src.ReadAt(b, int64(n)*BlockSize); got < len(b) {
		return &BlockError{n, cause(err)}
	}
	return nil
}

// Node reads block n as a node.
func (r *Reader) Node(n uint64) (*Node, error) {
	if node := r.cached(n); node != nil {
		return node, nil
	}
	b := make([]byte, BlockSize)
	if err := r.raw(b, n); err != nil {
		return nil, err
	}
	node, err := r.parse(b, n)
	if err != nil {
		return nil, &BlockError{n, err}
	}
	r.keep(node)
	return node, nil
}

func (r *Reader) parse(b []byte, n uint64) (*Node, error) {
	if !r.accept[n] {
		return ParseNode(b, n)
	}
	node := new(Node)
	return node, node.Reset(b, n)
}

func (r *Reader) cached(n uint64) *Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nodes[n]
}

// keep stores a node in the place of the oldest.
func (r *Reader) keep(n *Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.nodes[n.Block] != nil {
		return
	}
	if len(r.queue) < cachedNodes {
		r.queue = append(r.queue, n.Block)
	} else {
		delete(r.nodes, r.queue[r.next])
		r.queue[r.next] = n.Block
		r.next = (r.next + 1) % cachedNodes
	}
	r.nodes[n.Block] = n
}

// cause gives a short read without an error its due.
func cause(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}
