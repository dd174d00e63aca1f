package vdo

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	sectorSize       = 512
	sectorsPerBlock  = BlockSize / sectorSize
	sectorHeader     = 3 // bytes
	changeSize       = 16
	changesPerSector = (sectorSize - sectorHeader) / changeSize
	changesPerBlock  = changesPerSector * (sectorsPerBlock - 1)

	journalType    = 3 // metadata_type
	oldJournalType = 1 // of entries without an old value; the kernel only rebuilds from it

	opPage = 1 // the operation that maps a page of the block map, not data
)

// Offsets in the header of a journal block.
const (
	offMapHead       = 0
	offSequence      = 16
	offJournalNonce  = 24
	offType          = 32
	offEntryCount    = 33
	offPages         = 43
	offCheckByte     = 51
	offRecoveryCount = 52
)

// journalHeader is the first sector of a journal block.
type journalHeader struct {
	mapHead, sequence, nonce, pages uint64
	kind, check, recoveries         uint8
	entries                         int
}

func parseJournalHeader(b []byte) journalHeader {
	le := binary.LittleEndian
	return journalHeader{
		mapHead: le.Uint64(b[offMapHead:]), sequence: le.Uint64(b[offSequence:]),
		nonce: le.Uint64(b[offJournalNonce:]), pages: le.Uint64(b[offPages:]),
		kind: b[offType], check: b[offCheckByte], recoveries: b[offRecoveryCount],
		entries: int(le.Uint16(b[offEntryCount:])),
	}
}

// change is an entry of the recovery journal: a slot of a page of the block map has got a new
// value.
type change struct {
	key uint64 // page<<10 | slot
	to  uint64 // pbn<<4 | state
}

func (c change) slot() int     { return int(c.key & (1<<slotBits - 1)) }
func (c change) loc() Location { return Location{c.to >> 4, uint8(c.to & 0xf)} }

const slotBits = 10

func keyOf(page uint64, slot int) uint64 { return page<<slotBits | uint64(slot) }

// Journal is what has to be applied to the block map on disk.
type Journal struct {
	changes []change // by key, one for each

	First, Last uint64 // sequence numbers of the blocks that were replayed; 0, 0: none
	Pages       uint64 // of the block map in slabs afterwards

	// Doubt says why changes may be missing, or may be wrong; "" when none are.
	Doubt string
}

// Len is the number of changes.
func (j *Journal) Len() int { return len(j.changes) }

// of gives the changes of a page.
func (j *Journal) of(page uint64) []change {
	at := func(page uint64) int {
		i, _ := slices.BinarySearchFunc(j.changes, keyOf(page, 0), func(c change, key uint64) int { return cmp.Compare(c.key, key) })
		return i
	}
	return j.changes[at(page):at(page+1)]
}

// changed tells whether a slot of a page was changed.
func (j *Journal) changed(page uint64, slot int) bool {
	_, ok := slices.BinarySearchFunc(j.changes, keyOf(page, slot), func(c change, key uint64) int { return cmp.Compare(c.key, key) })
	return ok
}

// replay is the work of reading a journal.
type replay struct {
	sb  *SuperBlock
	src io.ReaderAt // the journal's blocks
	Journal
	damaged string // the first block that could not be read, or entry that cannot be
}

// readJournal reads what a volume that was not closed still has to apply, by the kernel's
// rules: in order up to the first block that is missing, torn or not full; after an error
// of the volume itself (a rebuild) whatever is there.
func readJournal(src io.ReaderAt, sb *SuperBlock) (*Journal, error) {
	r := &replay{sb: sb, src: src, Journal: Journal{Pages: sb.BlockMapPages}}
	head, tail, err := r.ends()
	if err != nil {
		return nil, err
	}
	if tail >= head && tail-head >= sb.Journal.Count {
		return nil, fmt.Errorf("the recovery journal goes from block %d to %d, but has room for %d", head, tail, sb.Journal.Count)
	}
	if head > tail {
		r.doubt("the recovery journal begins at block %d, but ends at %d", head, tail)
	}
	b := make([]byte, BlockSize)
	for s := head; s <= tail; s++ { // none when both are 0: no volume has a block 0
		if goOn := r.block(b, s); !goOn && !sb.State.Damaged() {
			if s < tail {
				r.doubt("the recovery journal ends at block %d, but there are later blocks up to %d", s, tail)
			}
			break
		}
	}
	r.settle()
	return &r.Journal, nil
}

// goesOn tells whether the journal has the first block that a volume that was closed would
// write when it is used again: then the super block is an old one.
func goesOn(src io.ReaderAt, sb *SuperBlock) bool {
	r := replay{sb: sb, src: src}
	b := make([]byte, BlockSize)
	if !r.read(b, sb.JournalStart%sb.Journal.Count) {
		return false
	}
	h := parseJournalHeader(b)
	return r.valid(h) && h.sequence == sb.JournalStart
}

func (r *replay) doubt(format string, args ...any) {
	if r.Doubt == "" {
		r.Doubt = fmt.Sprintf(format, args...)
	}
}

// ends finds the first block that the block map on disk needs, and the last one there is; 0
// when there is none.
func (r *replay) ends() (head, tail uint64, err error) {
	const chunk = 256 // blocks
	buf := make([]byte, min(chunk, r.sb.Journal.Count)*BlockSize)
	for at := uint64(0); at < r.sb.Journal.Count; at += uint64(len(buf) / BlockSize) {
		n, _ := r.src.ReadAt(buf, int64(at)*BlockSize)
		for i := range len(buf) / BlockSize {
			b := buf[i*BlockSize:][:BlockSize]
			if (i+1)*BlockSize > n && !r.read(b, at+uint64(i)) {
				continue
			}
			h := parseJournalHeader(b)
			if !r.valid(h) || h.sequence < r.sb.JournalStart || h.sequence%r.sb.Journal.Count != at+uint64(i) {
				continue
			}
			head, tail = max(head, h.mapHead), max(tail, h.sequence)
		}
	}
	if tail == 0 && r.damaged != "" {
		return 0, 0, fmt.Errorf("no block of the recovery journal can be used: %s", r.damaged)
	}
	if r.damaged != "" {
		r.doubt("a part of the recovery journal is lost: %s", r.damaged)
	}
	return head, tail, nil
}

// read reads the journal block at a place. A place that cannot be read is noted.
func (r *replay) read(b []byte, place uint64) bool {
	n, err := r.src.ReadAt(b, int64(place)*BlockSize)
	if n == len(b) {
		return true
	}
	if r.damaged == "" {
		r.damaged = fmt.Sprintf("block %d: %v", r.sb.Journal.Start+place, err)
	}
	return false
}

// valid tells whether a header is one of this volume's since it last recovered.
func (r *replay) valid(h journalHeader) bool {
	if h.nonce != r.sb.Nonce || h.recoveries != uint8(r.sb.Recoveries) {
		return false
	}
	return h.kind == journalType && h.entries <= changesPerBlock || h.kind == oldJournalType
}

// block takes the changes of the block of a sequence number. It is false when nothing behind
// it counts.
func (r *replay) block(b []byte, sequence uint64) bool {
	if !r.read(b, sequence%r.sb.Journal.Count) {
		return false
	}
	h := parseJournalHeader(b)
	if !r.valid(h) || h.sequence != sequence {
		return false
	}
	if h.kind == oldJournalType {
		r.doubt("the recovery journal is in an old format that cannot be replayed")
		return false
	}
	if r.First == 0 {
		r.First = sequence
	}
	r.Last, r.Pages = sequence, h.pages
	left := h.entries
	for s := 1; s < sectorsPerBlock && left > 0; s++ {
		sector := b[s*sectorSize:][:sectorSize]
		ok := sector[0] == h.check && sector[1] == h.recoveries && sector[2] <= changesPerSector
		n := min(int(sector[2]), left, changesPerSector)
		if ok {
			for i := range n {
				r.take(sector[sectorHeader+i*changeSize:], sequence)
			}
		}
		switch {
		case r.sb.State.Damaged(): // each sector counts as full, whatever is wrong with it
			left -= min(left, changesPerSector)
		case !ok:
			return false
		default:
			left -= n
			if n < changesPerSector {
				return left == 0 && h.entries == changesPerBlock
			}
		}
	}
	return left == 0 && h.entries == changesPerBlock
}

// take adds the change that b begins with.
func (r *replay) take(b []byte, sequence uint64) {
	bits := binary.LittleEndian.Uint16(b)
	op, slot := bits&3, int(bits>>2&0x3ff)
	page := uint64(bits>>12)<<32 | uint64(binary.LittleEndian.Uint32(b[2:]))
	to, from := parseLocation(b[6:]), parseLocation(b[6+entrySize:])
	isPage := op == opPage
	if page >= r.sb.PhysicalBlocks || slot >= entriesPerPage || !r.sb.valid(to) || !r.sb.valid(from) ||
		isPage && (to.State != plain || to.PBN == 0 || !from.Zero() || from.State != unmapped) {
		r.doubt("an entry in block %d of the recovery journal is not a valid one", sequence)
		return
	}
	if isPage {
		r.Pages++
	}
	r.changes = append(r.changes, change{keyOf(page, slot), to.PBN<<4 | uint64(to.State)})
}

// settle sorts the changes and leaves the last of each slot.
func (r *replay) settle() {
	slices.SortStableFunc(r.changes, func(a, b change) int { return cmp.Compare(a.key, b.key) })
	kept := r.changes[:0]
	for _, c := range r.changes {
		if last := len(kept) - 1; last >= 0 && kept[last].key == c.key {
			kept[last] = c
		} else {
			kept = append(kept, c)
		}
	}
	r.changes = slices.Clip(kept)
}
