package partition

import (
	"encoding/binary"
	"fmt"
)

// MBR, and the EBRs that chain logical partitions: entries at 446, signature at 510.
const (
	mbrSector       = 512
	mbrOffEntries   = 446
	mbrEntryLength  = 16
	mbrEntries      = 4
	mbrOffSignature = 510
	mbrSignature    = "\x55\xaa"
)

// MBR partition entry.
const (
	mbrOffType  = 4
	mbrOffStart = 8  // u32, sectors
	mbrOffCount = 12 // u32, sectors
	mbrActive   = 0x80
)

const mbrProtective = 0xee

// maxLogical is how many logical partitions are followed.
const maxLogical = 128

// mbrEntry is a partition entry; addresses are still relative.
type mbrEntry struct {
	flag, kind   byte
	start, count int64 // bytes
}

func (e mbrEntry) used() bool     { return e.kind != 0 && e.count > 0 }
func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

func (e mbrEntry) partition(number int, base int64) Partition {
	return Partition{Scheme: MBR, Number: number, Start: base + e.start, Size: e.count, Type: fmt.Sprintf("0x%02x", e.kind)}
}

// bootRecord gives the entries of the MBR or EBR at off, if there is one.
func (r *reader) bootRecord(off int64) (entries [mbrEntries]mbrEntry, ok bool) {
	b := r.read(off, mbrSector)
	if b == nil || string(b[mbrOffSignature:]) != mbrSignature {
		return entries, false
	}
	for i := range entries {
		e := b[mbrOffEntries+i*mbrEntryLength:]
		entries[i] = mbrEntry{
			flag: e[0], kind: e[mbrOffType],
			start: int64(binary.LittleEndian.Uint32(e[mbrOffStart:])) * mbrSector,
			count: int64(binary.LittleEndian.Uint32(e[mbrOffCount:])) * mbrSector,
		}
	}
	return entries, true
}

// mbr reads the MBR and tells whether it is there for a GPT's protection. The boot sector
// of a filesystem has the same signature: without an entry that makes sense, or with a
// flag no MBR has, it is no table.
func (r *reader) mbr() (t *Table, protective bool) {
	entries, ok := r.bootRecord(0)
	if !ok {
		return nil, false
	}
	t = &Table{Scheme: MBR, SectorSize: mbrSector, Intact: true}
	logical := 0
	for i, e := range entries {
		switch {
		case e.flag&^mbrActive != 0:
			return nil, false
		case e.kind == mbrProtective:
			protective = true
		case !e.used():
		case e.start == 0:
			t.problem("mbr-entry", 0, "MBR entry %d begins at the MBR itself", i+1)
		case e.extended():
			logical += r.logical(t, e, 5+logical)
		default:
			t.Partitions = append(t.Partitions, e.partition(i+1, 0))
		}
	}
	if len(t.Partitions) == 0 && len(t.Problems) == 0 {
		return nil, protective
	}
	return t, protective
}

// logical follows the chain of EBRs in an extended partition and gives how many partitions
// it holds, the first of which gets the given number. Each EBR has its partition, relative
// to itself, and the place of the next EBR, relative to the extended partition.
func (r *reader) logical(t *Table, extended mbrEntry, number int) int {
	base, n := extended.start, 0
	seen := map[int64]bool{}
	for ebr := base; ; {
		if seen[ebr] || len(seen) == maxLogical {
			t.problem("mbr-logical-chain", ebr, "the chain of logical partitions does not end")
			return n
		}
		seen[ebr] = true
		entries, ok := r.bootRecord(ebr)
		if !ok {
			t.problem("mbr-logical-chain", ebr, "the chain of logical partitions is broken: no boot record here")
			return n
		}
		if e := entries[0]; e.used() && e.start > 0 {
			t.Partitions = append(t.Partitions, e.partition(number+n, ebr))
			n++
		}
		next := entries[1]
		if !next.extended() || next.start == 0 {
			return n
		}
		ebr = base + next.start
	}
}
