package salvage

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// maxBlocks is how many blocks the kernel uses of a metadata device
// (THIN_METADATA_MAX in lvm2): what lies behind them is not looked at.
const maxBlocks = 255 * 16384

// content is what the leaves of a tree hold.
type content uint8

const (
	nothing  content = iota
	unknown          // an internal node none of whose children can be used
	mappings         // of a thin device: its blocks
	devices          // the roots of all thin devices
	either           // one value, which may be a mapping or a root
	details          // what the pool remembers of each device
	other            // space maps
)

// node is what is kept of a block: of a valid node its keys and what its tree holds.
type node struct {
	first, last uint64 // keys
	time        uint32 // of a leaf of mappings: the latest
	entries     uint16
	content     content
	leaf        bool
	height      int8 // of the leaves 0; noHeight: not known
}

const noHeight = -1

// survey is one pass over all blocks of a metadata device.
type survey struct {
	r       *btree.Reader
	nodes   []node
	known   []bool          // of each block: whether it is a valid block of any kind
	broken  []bool          // of each block: whether it was something once that it is not any more
	indexes []uint64        // space map index blocks
	supers  []uint64        // superblocks of metadata snapshots
	suspect map[uint64]bool // leaves whose checksums are wrong
	guessed bool            // and they are used
	Counts  Counts
}

// Counts says what a survey has met.
type Counts struct {
	Blocks  uint64 // looked at
	Nodes   uint64 // valid B-tree nodes
	Unread  uint64 // blocks that the medium did not give
	Suspect uint64 // blocks that would be leaves if their checksums were right
	Garbled uint64 // other blocks that are neither zeros nor anything known
}

// batch is how many blocks are read at once.
const batch = 256

// look reads every block of a device of size bytes once, on all cores.
// Suspects are nodes when guess is set.
func look(src io.ReaderAt, size int64, guess bool) *survey {
	r := btree.NewReader(src, size)
	n := min(r.Blocks(), maxBlocks)
	s := &survey{r: r, nodes: make([]node, n), known: make([]bool, n), broken: make([]bool, n), suspect: map[uint64]bool{}}
	s.Counts.Blocks = uint64(len(s.nodes))
	var next atomic.Int64
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed any // what a core has panicked with
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					next.Store(int64(len(s.nodes))) // the others need not go on
					mu.Lock()
					defer mu.Unlock()
					failed = fmt.Sprintf("%v\n\nin a core's part of the survey:\n%s", p, debug.Stack())
				}
			}()
			l := looker{survey: s, guess: guess, buf: make([]byte, batch*btree.BlockSize)}
			for {
				first := int(next.Add(batch)) - batch
				if first >= len(s.nodes) {
					break
				}
				l.read(src, first, min(batch, len(s.nodes)-first))
			}
			mu.Lock()
			defer mu.Unlock()
			s.indexes = append(s.indexes, l.indexes...)
			s.supers = append(s.supers, l.supers...)
			for _, b := range l.suspect {
				s.suspect[b] = true
			}
			s.Counts.Nodes += l.counts.Nodes
			s.Counts.Unread += l.counts.Unread
			s.Counts.Suspect += l.counts.Suspect
			s.Counts.Garbled += l.counts.Garbled
		})
	}
	all.Wait()
	if failed != nil {
		panic(failed) // in the goroutine that waits, for which somebody looks after panics
	}
	if guess {
		r.Accept(s.suspect)
		s.guessed = len(s.suspect) > 0
	}
	return s
}

// looker is one core's part of a survey.
type looker struct {
	*survey
	buf     []byte
	node    btree.Node
	indexes []uint64
	supers  []uint64
	suspect []uint64
	guess   bool // suspects are nodes
	counts  Counts
}

// read looks at n blocks. Where they cannot be read at once, each is tried.
func (l *looker) read(src io.ReaderAt, first, n int) {
	buf := l.buf[:n*btree.BlockSize]
	got, _ := src.ReadAt(buf, int64(first)*btree.BlockSize)
	for i := range n {
		b := buf[i*btree.BlockSize:][:btree.BlockSize]
		if got < (i+1)*btree.BlockSize {
			if n, _ := src.ReadAt(b, int64(first+i)*btree.BlockSize); n < len(b) {
				l.counts.Unread++
				l.broken[first+i] = true
				continue
			}
		}
		l.block(b, uint64(first+i))
	}
}

// block classifies block b, which stands at number at.
func (l *looker) block(b []byte, at uint64) {
	kind, ok := btree.Identify(b, at)
	l.known[at] = ok
	switch {
	case ok && kind == btree.IndexBlock:
		l.indexes = append(l.indexes, at)
	case ok && kind == btree.ThinSuperblock && at != 0:
		l.supers = append(l.supers, at)
	case ok && kind == btree.NodeBlock:
		if l.node.Reset(b, at) != nil {
			l.counts.Garbled++
			l.broken[at] = true
			return
		}
		l.counts.Nodes++
		l.nodes[at] = l.describe()
	case !ok && suspect(&l.node, b, at, uint64(len(l.nodes))):
		l.counts.Suspect++
		l.broken[at] = true
		l.suspect = append(l.suspect, at)
		if l.guess {
			l.nodes[at] = l.describe()
		}
	case !ok && at != 0 && !zeros(b):
		l.counts.Garbled++
		l.broken[at] = true
	}
}

func zeros(b []byte) bool {
	return b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}

// describe sums up the node at hand. What an internal node's leaves hold is found later.
func (l *looker) describe() node {
	n := &l.node
	d := node{entries: uint16(n.Entries), leaf: n.Leaf, height: noHeight}
	if n.Entries > 0 {
		d.first, d.last = n.Key(0), n.Key(n.Entries-1)
	}
	if !n.Leaf {
		return d
	}
	d.height = 0
	switch n.ValueSize {
	case thin.DetailsSize:
		d.content = details
	case 8:
		d.content, d.time = l.leaf()
	default:
		d.content = other
	}
	return d
}

// leaf tells leaves of mappings from those with the roots of devices: no two blocks of a
// device lie in one block of the data, so that two small values are numbers of metadata
// blocks. Of one value alone graph decides.
func (l *looker) leaf() (content, uint32) {
	c, newest := devices, uint32(0)
	if l.node.Entries == 0 || l.node.Key(l.node.Entries-1) > thin.MaxDevice {
		c = mappings
	}
	for i := range l.node.Entries {
		v := l.node.Uint64(i)
		if v == 0 || v >= uint64(len(l.nodes)) {
			c = mappings
		}
		_, time := thin.Mapping(v)
		newest = max(newest, time)
	}
	return c, newest
}

// valid tells whether a block holds a node with keys that lie from lo to hi. An empty
// leaf does so anywhere.
func (s *survey) valid(block, lo, hi uint64) bool {
	if block >= uint64(len(s.nodes)) || s.nodes[block].content == nothing && s.nodes[block].height == 0 {
		return false
	}
	n := &s.nodes[block]
	return (n.leaf || n.entries > 0) && (n.entries == 0 || n.first >= lo && n.last <= hi)
}

// children gives an internal node's children with the keys that each stands for, when the
// node itself stands for keys up to hi.
func (s *survey) children(block, hi uint64, visit func(child, lo, hi uint64)) {
	n, err := s.r.Node(block)
	if err != nil || n.Leaf {
		return // it could be read before, and now it cannot
	}
	for i := range n.Entries {
		end := hi
		if i+1 < n.Entries {
			end = n.Key(i+1) - 1
		}
		visit(n.Uint64(i), n.Key(i), end)
	}
}

// tree tells whether a device's tree could begin at a block.
func (s *survey) tree(block uint64) bool {
	n := &s.nodes[block]
	return n.content == mappings || n.content == either || n.content == devices && n.entries == 1 || !n.leaf && n.entries > 0
}

// maxDepth bounds the height of a tree; see [btree.Tree].
const maxDepth = 32

// graph finds out what the leaves below each internal node hold.
func (s *survey) graph() {
	for b := range s.nodes {
		n := &s.nodes[b]
		if !n.leaf || n.content != devices || n.entries != 1 {
			continue
		}
		n.content = mappings // of block 0 of the data, the value being the time
		leaf, err := s.r.Node(uint64(b))
		if err != nil {
			continue
		}
		if root := leaf.Uint64(0); s.tree(root) || !s.valid(root, 0, ^uint64(0)) { // perhaps one that is damaged
			n.content = either
		}
	}
	for b := range s.nodes {
		s.resolve(uint64(b), 0)
	}
}

// resolve fills in an internal node's content and height from its children's.
func (s *survey) resolve(block uint64, depth int) {
	n := &s.nodes[block]
	if n.leaf || n.entries == 0 || n.content != nothing || depth == maxDepth {
		return
	}
	n.content = unknown // also where a child leads back here
	c, height := unknown, int8(noHeight)
	s.children(block, ^uint64(0), func(child, lo, hi uint64) {
		if child == block || !s.valid(child, lo, hi) {
			return
		}
		s.resolve(child, depth+1)
		k := &s.nodes[child]
		switch {
		case k.content == unknown || k.height == noHeight:
		case c == unknown || c == either && (k.content == mappings || k.content == devices):
			c, height = k.content, k.height+1
		case c != k.content && k.content != either:
			c = other // an old node: blocks of it were used again
		default:
			height = max(height, k.height+1)
		}
		n.time = max(n.time, k.time)
	})
	n.content, n.height = c, height
}
