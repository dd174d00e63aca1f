package vdo

import (
	"fmt"
	"io"
	"sync"
)

// Volume is a VDO volume that can be read: its block map, and what the recovery journal has
// to add. Several goroutines may use it at once.
type Volume struct {
	Geometry
	SuperBlock
	*Journal // empty when the volume was closed

	src io.ReaderAt

	mu    sync.Mutex
	pages map[uint64]*page
	queue []uint64 // of pages, as a ring in the order of their coming
	next  int      // the place in queue to use next
}

// cachedPages bounds a Volume's memory: 256 leaf pages map 812 MiB.
const cachedPages = 256

// Open reads what tells how to read a volume, from a device of size bytes.
func Open(src io.ReaderAt, size int64) (*Volume, error) {
	v := &Volume{src: src, pages: map[uint64]*page{}}
	b := make([]byte, BlockSize)
	if n, err := src.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("VDO geometry block at byte 0: %w", err)
	}
	var err error
	if v.Geometry, err = ParseGeometry(b); err != nil {
		return nil, fmt.Errorf("VDO geometry block at byte 0: %w", err)
	}
	at := v.Offset(v.DataStart)
	if at > size-SuperBlockSize {
		return nil, fmt.Errorf("VDO geometry block: the super block is at byte %d, behind the end of %d bytes", at, size)
	}
	if n, err := src.ReadAt(b[:SuperBlockSize], at); n < SuperBlockSize {
		return nil, fmt.Errorf("VDO super block at byte %d: %w", at, err)
	}
	if v.SuperBlock, err = ParseSuperBlock(b); err != nil {
		return nil, fmt.Errorf("VDO super block at byte %d: %w", at, err)
	}
	if v.Geometry.Nonce != v.SuperBlock.Nonce {
		return nil, fmt.Errorf("VDO super block at byte %d: its nonce is %d, the geometry block's %d: they are of two volumes", at, v.SuperBlock.Nonce, v.Geometry.Nonce)
	}
	return v, v.replay()
}

// replay reads the recovery journal of a volume that was not closed, or of which the journal
// says so.
func (v *Volume) replay() (err error) {
	start := v.Offset(v.SuperBlock.Journal.Start)
	src := io.NewSectionReader(v.src, start, int64(v.SuperBlock.Journal.Count)*BlockSize)
	if v.State.closed() && !goesOn(src, &v.SuperBlock) {
		v.Journal = &Journal{Pages: v.BlockMapPages}
		return nil
	}
	if v.Journal, err = readJournal(src, &v.SuperBlock); err != nil {
		return fmt.Errorf("VDO recovery journal at byte %d: %w", start, err)
	}
	if v.State.closed() {
		v.Journal.Doubt = fmt.Sprintf("the super block says that it is %s, but its recovery journal goes on", v.State)
	}
	return nil
}

// Size is the length of the virtual device, in bytes.
func (v *Volume) Size() int64 { return int64(v.LogicalBlocks) * BlockSize }

// Offset is where a block begins in the device below, in bytes.
func (v *Volume) Offset(pbn uint64) int64 { return (int64(pbn) - int64(v.BioOffset)) * BlockSize }

// root gets the page that a tree begins at.
func (v *Volume) root(n uint64) *page { return v.page(v.RootOrigin+n, nil, 0) }

// page gets the page of the block map at pbn, which a slot of parent names; a root has none.
func (v *Volume) page(pbn uint64, parent *page, slot int) *page {
	v.mu.Lock()
	p := v.pages[pbn]
	v.mu.Unlock()
	if p != nil {
		return p
	}
	p = &page{pbn: pbn}
	if parent == nil || !v.changed(parent.pbn, slot) {
		p.read(v, parent == nil)
	} // else the journal tells of the page's allocation, so of everything in it
	p.apply(v.of(pbn))
	v.keep(p)
	return p
}

// read takes from disk what the kernel wrote of a page.
func (p *page) read(v *Volume, root bool) {
	b := make([]byte, BlockSize)
	if n, err := v.src.ReadAt(b, v.Offset(p.pbn)); n < len(b) {
		p.lose(fmt.Sprintf("the block map's page %d cannot be read: %v", p.pbn, err))
		return
	}
	p.parse(b, &v.SuperBlock, root)
}

// keep puts a page into the cache in place of the one that came first.
func (v *Volume) keep(p *page) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pages[p.pbn] != nil {
		return
	}
	if len(v.queue) < cachedPages {
		v.queue = append(v.queue, p.pbn)
	} else {
		delete(v.pages, v.queue[v.next])
		v.queue[v.next] = p.pbn
		v.next = (v.next + 1) % cachedPages
	}
	v.pages[p.pbn] = p
}
