package guess

import "encoding/binary"

// Fields of ext4's superblock that tell of its journal, of an extent, and of the journal's blocks,
// big-endian (fs/ext4/ext4.h, ext4_extents.h, include/linux/jbd2.h).
const (
	extJournalKind   = 253
	extJournalBlocks = 268 // the i_block of the journal's inode
	extExtentMagic   = 0xf30a

	jbdMagic    = 0xc03b3998
	jbdType     = 4
	jbdSequence = 8
	jbdHeader   = 12
	jbdFirst    = 20
	jbdIncompat = 40
	jbd64Bit    = 2
	jbdSumV2    = 8
	jbdSumV3    = 16
	descriptor  = 1
	commit      = 2
	superV1     = 3
	superV2     = 4
	revoke      = 5
	sameUUID    = 2 // flags of a tag
	lastTag     = 8
)

// Bounds of the walk along a journal, in blocks.
const (
	maxLinks   = 256
	maxLeading = 256 // before the first header: of transactions that were overwritten
)

// journal is that of an ext4: a chain, in which each header tells where the next must stand.
type journal struct {
	block   int64
	extents []run
}

// run is blocks of the journal, from number first on, that stand in the volume from byte at on.
type run struct{ first, count, at int64 }

// extJournal finds the journal by the copy of its inode in the superblock; nil when there is none.
func extJournal(head []byte) *journal {
	if len(head) < 2*extSuper {
		return nil
	}
	sb := head[extSuper:][:extSuper]
	log2 := binary.LittleEndian.Uint32(sb[extBlockSize:])
	inode := sb[extJournalBlocks:]
	if log2 > 6 || sb[extJournalKind] != 1 || binary.LittleEndian.Uint16(inode) != extExtentMagic || binary.LittleEndian.Uint16(inode[6:]) != 0 {
		return nil
	}
	j := &journal{block: 1024 << log2}
	for i := range min(int(binary.LittleEndian.Uint16(inode[2:])), 4) {
		e := inode[12*(i+1):]
		start := int64(binary.LittleEndian.Uint32(e[8:])) | int64(binary.LittleEndian.Uint16(e[6:]))<<32
		j.extents = append(j.extents, run{int64(binary.LittleEndian.Uint32(e)), int64(binary.LittleEndian.Uint16(e[4:])), start * j.block})
	}
	return j
}

// at is where in the volume a block of the journal stands; -1 for nowhere.
func (j *journal) at(n int64) int64 {
	for _, r := range j.extents {
		if n >= r.first && n < r.first+r.count {
			return r.at + (n-r.first)*j.block
		}
	}
	return -1
}

// walk follows the chain, as read gives the blocks of the volume, and counts the headers that
// stand where they must, and those that do not. It ends where read gives nothing.
func (j *journal) walk(read func(off int64, b []byte) bool) (proven, against int) {
	b := make([]byte, j.block)
	header := func(n int64) (kind, sequence uint32, ok bool) {
		at := j.at(n)
		if at < 0 || !read(at, b) {
			return 0, 0, false
		}
		if binary.BigEndian.Uint32(b) != jbdMagic {
			return 0, 0, true
		}
		return binary.BigEndian.Uint32(b[jbdType:]), binary.BigEndian.Uint32(b[jbdSequence:]), true
	}
	kind, _, ok := header(0)
	if !ok {
		return 0, 0
	}
	features := binary.BigEndian.Uint32(b[jbdIncompat:])
	if kind != superV1 && kind != superV2 {
		return 0, 1
	}
	if kind == superV1 {
		features = 0
	}
	if features&jbdSumV2 != 0 {
		return 1, 0
	}
	n, sequence := int64(binary.BigEndian.Uint32(b[jbdFirst:])), uint32(0)
	for first := n; ; n++ {
		if kind, sequence, ok = header(n); !ok || n > first+maxLeading {
			return 1, 0
		}
		if kind == descriptor || kind == commit || kind == revoke {
			break
		}
	}
	for proven = 2; proven < maxLinks; proven++ {
		inside := kind != commit
		switch kind {
		case descriptor:
			n += 1 + tags(b, features)
		default:
			n++
		}
		was := sequence
		if kind, sequence, ok = header(n); !ok {
			return proven, 0
		}
		switch known := kind == descriptor || kind == commit || kind == revoke; {
		case known && (sequence == was && inside || sequence == was+1 && !inside):
		case inside && j.at(n) >= 0:
			return proven, 1
		default:
			return proven, 0 // the end of the last transaction
		}
	}
	return proven, 0
}

// tags counts the blocks that follow a descriptor.
func tags(b []byte, features uint32) (n int64) {
	size := 8
	switch {
	case features&jbdSumV3 != 0:
		size = 16
	case features&jbd64Bit != 0:
		size = 12
	}
	for at := jbdHeader; at+size <= len(b); at += size {
		flags := uint32(binary.BigEndian.Uint16(b[at+6:]))
		if features&jbdSumV3 != 0 {
			flags = binary.BigEndian.Uint32(b[at+4:])
		}
		n++
		if flags&lastTag != 0 {
			return n
		}
		if flags&sameUUID == 0 {
			at += 16
		}
	}
	return n
}
