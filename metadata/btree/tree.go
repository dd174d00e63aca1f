package btree

import (
	"cmp"
	"fmt"
	"iter"
	"sort"
)

// maxDepth bounds the height of a tree. Nodes of the kernel's are at least a third full:
// ten levels hold more keys than there are.
const maxDepth = 32

// Tree is a B-tree whose leaves have values of ValueSize bytes.
type Tree struct {
	Reader    *Reader
	Root      uint64 // block number
	ValueSize int    // bytes

	// Rebuilt has what else is known of nodes that cannot be used, by their block number.
	Rebuilt map[uint64]*Rebuilt

	// Doubts, if set, says of a node why it may not be right; "" when it is.
	Doubts func(block uint64) string
}

// Rebuilt is what was found out of a node that cannot be used: parts in the order of their
// keys, none of which is in two of them. Why, if set, is said of the other keys.
type Rebuilt struct {
	Parts []Part
	Why   error
}

// Part is a run of keys, First to Last, of a node that cannot be used: it was found out
// that the subtree at Block holds them, or that the tree has none of them.
type Part struct {
	First, Last uint64
	Block       uint64
	Empty       bool   // Block means nothing: the tree has none of the keys
	Doubt       string // why this may not be so; "" when it is beyond doubt
}

// Piece is a run of keys, First to Last, of which one place in the tree decides: the leaf
// Node holds those that exist, none other does. Without a Node and without Err the tree has
// none of the keys. With Err nothing is known of them. Doubt says why what is known may be
// wrong; it is "" but for what was rebuilt.
type Piece struct {
	First, Last uint64
	Node        *Node
	Doubt       string
	Err         error
}

// Entries is the range [i, j) of the node's entries that are in the piece.
func (p Piece) Entries() (i, j int) {
	if p.Node == nil {
		return 0, 0
	}
	i, j = p.Node.Search(p.First), p.Node.Entries
	if j > i && p.Node.Key(j-1) > p.Last {
		j = p.Node.Search(p.Last + 1)
	}
	return i, j
}

// Walk gives the keys from first to last in pieces: ordered, without gaps. A node that
// cannot be used costs the keys that it stands for, no more.
func (t Tree) Walk(first, last uint64) iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		if first <= last {
			w := walker{tree: t, first: first, last: last, yield: yield}
			w.node(t.Root, 0, ^uint64(0), 0)
		}
	}
}

// Find looks one key up. The value is nil when an intact leaf proves that the key is not
// there.
func (t Tree) Find(key uint64) ([]byte, error) {
	for p := range t.Walk(key, key) {
		if p.Err != nil {
			return nil, p.Err
		}
		if i, j := p.Entries(); i < j {
			return p.Node.Value(i), nil
		}
	}
	return nil, nil
}

// walker is one Walk at work.
type walker struct {
	tree        Tree
	first, last uint64
	yield       func(Piece) bool
	doubt       string // about the subtree that the walk is in
}

// piece yields what of [lo, hi] is asked for, and says whether more is wanted.
func (w *walker) piece(lo, hi uint64, n *Node, err error) bool {
	lo, hi = max(lo, w.first), min(hi, w.last)
	return lo > hi || w.yield(Piece{lo, hi, n, w.doubt, err})
}

// node walks the subtree at a block that stands for the keys lo to hi.
func (w *walker) node(block, lo, hi uint64, depth int) bool {
	n, err := w.load(block, lo, hi, depth)
	if r := w.tree.Rebuilt[block]; err != nil && r != nil && depth < maxDepth {
		return w.rebuilt(r.Parts, lo, hi, depth, cmp.Or(r.Why, err))
	}
	switch {
	case err != nil:
		return w.piece(lo, hi, nil, err)
	case n.Leaf:
		return w.answer(lo, hi, n, block)
	case lo < n.Key(0) && !w.answer(lo, n.Key(0)-1, nil, block):
		return false
	}
	i := n.Search(w.first)
	if i == n.Entries || i > 0 && n.Key(i) > w.first {
		i-- // the child that first falls into
	}
	for ; i < n.Entries && n.Key(i) <= w.last; i++ {
		end := hi
		if i+1 < n.Entries {
			end = n.Key(i+1) - 1
		}
		if !w.node(n.Uint64(i), n.Key(i), end, depth+1) {
			return false
		}
	}
	return true
}

// answer yields what an intact node, the leaf n or one above, says of the keys lo to hi.
func (w *walker) answer(lo, hi uint64, n *Node, block uint64) bool {
	above := w.doubt
	if above == "" && w.tree.Doubts != nil {
		w.doubt = w.tree.Doubts(block)
	}
	more := w.piece(lo, hi, n, nil)
	w.doubt = above
	return more
}

// rebuilt walks what is known of the keys lo to hi of a node that cannot be used because of
// err.
func (w *walker) rebuilt(parts []Part, lo, hi uint64, depth int, err error) bool {
	above := w.doubt
	from, to := max(lo, w.first), min(hi, w.last)
	next := lo
	for _, p := range parts[sort.Search(len(parts), func(i int) bool { return parts[i].Last >= from }):] {
		if p.First > to {
			break
		}
		first, last := max(p.First, lo), min(p.Last, hi)
		if next < first && !w.piece(next, first-1, nil, err) {
			return false
		}
		if p.Doubt != "" {
			w.doubt = p.Doubt
		}
		more := false
		if p.Empty {
			more = w.piece(first, last, nil, nil)
		} else {
			more = w.node(p.Block, first, last, depth+1)
		}
		w.doubt = above
		if !more || last == hi {
			return more
		}
		next = last + 1
	}
	return w.piece(next, hi, nil, err)
}

// load reads a node and holds it against its place. A node with a key outside lo to hi is
// not the one that its parent means; this also ends every loop.
func (w *walker) load(block, lo, hi uint64, depth int) (*Node, error) {
	if depth == maxDepth {
		return nil, fmt.Errorf("metadata block %d: the tree is more than %d levels deep", block, maxDepth)
	}
	n, err := w.tree.Reader.Node(block)
	if err != nil {
		return nil, err
	}
	if n.Leaf && n.ValueSize != w.tree.ValueSize {
		return nil, &BlockError{block, damaged(NodeBlock, "value_size", nodeValueSize, "values have %d bytes, expected %d", n.ValueSize, w.tree.ValueSize)}
	}
	if n.Entries > 0 && (n.Key(0) < lo || n.Key(n.Entries-1) > hi) {
		return nil, &BlockError{block, damaged(NodeBlock, "keys", nodeKeys, "keys %d-%d, expected ones from %d to %d", n.Key(0), n.Key(n.Entries-1), lo, hi)}
	}
	return n, nil
}
