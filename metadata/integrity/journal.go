package integrity

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	commitIDSize = 8 // bytes, at the end of each sector of the journal
	rounds       = 4 // commit ids tell the rounds through the journal modulo this

	unusedSector     = 0xffffffff // upper half of an entry's sector
	inProgressSector = 0xfffffffe

	maxJournal = 256 << 20 // bytes; unless told otherwise, the kernel makes 64 MiB at most
)

// Entry is a block that was committed to the journal.
type Entry struct {
	Off       int64  // of the block in the data, bytes
	At        int64  // of the journal's copy in the metadata device, bytes
	LastBytes []byte // 8 for each sector: they go where the copy has its commit ids
	Tag       []byte
}

// Restore puts the last bytes of each sector into a copy that was read from At.
func (e Entry) Restore(block []byte) {
	for i := 0; i < len(e.LastBytes)/commitIDSize; i++ {
		copy(block[(i+1)*sectorSize-commitIDSize:(i+1)*sectorSize], e.LastBytes[i*commitIDSize:])
	}
}

// ReadJournal gives the blocks that the kernel would replay, by Off, the last copy of each.
// The error tells that the journal cannot be read, or is damaged so that the kernel would
// throw it away.
func (s Superblock) ReadJournal(r io.ReaderAt) ([]Entry, error) {
	if s.Sections > maxJournal/s.sectionSize() {
		return nil, fmt.Errorf("a journal of %d sections, want %d at most", s.Sections, maxJournal/s.sectionSize())
	}
	j := journal{Superblock: s, r: r, buf: make([]byte, s.sectionSize()), last: map[int64]Entry{}}
	for i := range s.Sections {
		if err := j.scan(i); err != nil {
			return nil, err
		}
	}
	if !j.used {
		return nil, nil
	}
	if err := j.replay(); err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(j.last))
	for _, e := range j.last {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Off, b.Off) })
	return entries, nil
}

// journal is one ReadJournal at work.
type journal struct {
	Superblock
	r    io.ReaderAt
	buf  []byte // of one section
	used bool   // an entry of some section is

	section []int         // the round that wrote it; mixed when it was several
	seen    [rounds]bool  // rounds of which some sector is there
	newest  [rounds]int64 // the last section that has a sector of a round
	last    map[int64]Entry
}

const mixed = -1

// at is where a section lies, in bytes.
func (j *journal) at(section int64) int64 { return journalOffset + section*j.sectionSize() }

// read reads a section.
func (j *journal) read(section int64) error {
	n, err := j.r.ReadAt(j.buf, j.at(section))
	if n < len(j.buf) {
		return fmt.Errorf("section %d of the journal, at byte %d: %w", section, j.at(section), cmp.Or(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// scan notes which rounds wrote a section.
func (j *journal) scan(section int64) error {
	if err := j.read(section); err != nil {
		return err
	}
	by := mixed
	for sector := range int64(len(j.buf) / sectorSize) {
		end := (sector + 1) * sectorSize
		round := roundOf(binary.LittleEndian.Uint64(j.buf[end-commitIDSize:]), section, sector)
		if round == mixed {
			return damage("journal_sector.commit_id", j.at(section)+end-commitIDSize, "is none of the four that belong there")
		}
		if sector == 0 {
			by = round
		}
		if round != by {
			by = mixed
		}
		j.seen[round], j.newest[round] = true, section
	}
	j.section = append(j.section, by)
	for n := range j.sectionEntries() {
		j.used = j.used || binary.LittleEndian.Uint64(j.entry(n))>>32 != unusedSector
	}
	return nil
}

// roundOf tells which round a commit id is of; mixed when it is of none.
func roundOf(id uint64, section, sector int64) int {
	const digits = 0x1111111111111111
	for k := range rounds {
		if id == digits*uint64(k+1)^(uint64(section)<<32^uint64(sector)) {
			return k
		}
	}
	return mixed
}

// entry gives the bytes of an entry of the section in buf.
func (j *journal) entry(n int64) []byte {
	at := n%entrySectors*sectorSize + n/entrySectors*j.entrySize()
	return j.buf[at : at+j.entrySize()]
}

// replay goes through the sections that were committed completely, from the oldest on. The
// round in progress is the one before the first that is not there; what the round before
// it wrote behind its end is older.
func (j *journal) replay() error {
	unused := rounds - 1
	if !j.seen[unused] {
		for unused > 0 && !j.seen[unused-1] {
			unused--
		}
	} else if unused = slices.Index(j.seen[:], false); unused < 0 {
		return damage("journal_sector.commit_id", journalOffset, "all four rounds are in the journal")
	}
	last := (unused + rounds - 1) % rounds
	want := (last + rounds - 1) % rounds
	if !j.seen[want] && j.seen[(want+rounds-1)%rounds] {
		return nil
	}
	section := j.newest[last] + 1
	for range j.Sections {
		if section == j.Sections {
			section, want = 0, (want+1)%rounds
		}
		if j.section[section] != want {
			return nil // it was being written when the power failed
		}
		if err := j.apply(section); err != nil {
			return err
		}
		section++
	}
	return nil
}

// apply takes down the entries of a section; they supersede earlier ones.
func (j *journal) apply(section int64) error {
	if err := j.read(section); err != nil {
		return err
	}
	for n := range j.sectionEntries() {
		b := j.entry(n)
		sector := binary.LittleEndian.Uint64(b)
		if sector>>32 >= inProgressSector || sector >= uint64(j.DataSize/sectorSize) {
			continue
		}
		off := int64(sector) * sectorSize / j.BlockSize * j.BlockSize
		lastBytes := j.BlockSize / sectorSize * commitIDSize
		j.last[off] = Entry{
			Off: off, At: j.at(section) + entrySectors*sectorSize + n*j.BlockSize,
			LastBytes: slices.Clone(b[8 : 8+lastBytes]), Tag: slices.Clone(b[8+lastBytes:][:j.TagSize]),
		}
	}
	return nil
}
