package partition

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"unicode/utf16"
)

// GPT header (UEFI specification, section 5.3.2).
const (
	gptSignature     = "EFI PART"
	gptOffHeaderSize = 12 // u32, bytes
	gptOffCRC        = 16 // u32, of the header with this field zero
	gptOffOwn        = 24 // u64, sector of this header
	gptOffOther      = 32 // u64, sector of the other copy
	gptOffEntries    = 72 // u64, sector of the entries
	gptOffCount      = 80 // u32
	gptOffEntrySize  = 84 // u32, bytes
	gptOffEntriesCRC = 88 // u32
	gptMinHeader     = 92 // bytes
)

// GPT partition entry (section 5.3.3).
const (
	entryOffFirst = 32 // u64, sector
	entryOffLast  = 40 // u64, sector, inclusive
	entryOffName  = 56 // UTF-16
	entryEnd      = 128
)

const (
	maxEntrySize = 4096    // bytes
	maxEntries   = 1 << 20 // bytes of entries that are read; 16 KiB is usual
)

// sectorSizes are the units that GPTs are written in.
var sectorSizes = [...]int64{512, 4096}

// gpts finds the GPT and its backup, for either sector size.
func (r *reader) gpts() []*Table {
	var tables []*Table
	for _, ss := range sectorSizes {
		backup := r.size/ss - 1
		if main := r.gpt(ss, 1); main != nil {
			tables = append(tables, main.Table)
			if main.other > 1 && main.other < backup { // the disk has grown, or the image is padded
				backup = main.other
			}
		}
		if backup > 1 {
			if t := r.gpt(ss, backup); t != nil {
				t.Backup = true
				tables = append(tables, t.Table)
			}
		}
	}
	return tables
}

// gptTable is a GPT while it is read.
type gptTable struct {
	*Table
	header []byte
	other  int64 // sector of the other copy
}

// damage is a problem after which the table is no longer intact.
func (t *gptTable) damage(code, format string, args ...any) {
	t.problem(code, t.Offset, format, args...)
	t.Intact = false
}

// gpt reads the GPT whose header is in the given sector, or gives nil when there is none.
func (r *reader) gpt(sectorSize, sector int64) *gptTable {
	header := r.read(sector*sectorSize, sectorSize)
	if header == nil || string(header[:len(gptSignature)]) != gptSignature {
		return nil
	}
	t := &gptTable{Table: &Table{Scheme: GPT, Offset: sector * sectorSize, SectorSize: sectorSize, Intact: true}, header: header}
	t.checkHeader(sector)
	r.entries(t)
	return t
}

// checkHeader holds the header against its checksum and its place.
func (t *gptTable) checkHeader(sector int64) {
	size := binary.LittleEndian.Uint32(t.header[gptOffHeaderSize:])
	if size < gptMinHeader || int64(size) > t.SectorSize {
		t.damage("gpt-header-size", "GPT header of %d bytes, expected %d to %d", size, gptMinHeader, t.SectorSize)
		size = gptMinHeader
	}
	covered := append([]byte(nil), t.header[:size]...)
	clear(covered[gptOffCRC : gptOffCRC+4])
	if stored, computed := binary.LittleEndian.Uint32(t.header[gptOffCRC:]), crc32.ChecksumIEEE(covered); stored != computed {
		t.damage("gpt-header-crc", "GPT header's checksum is 0x%08x, computed 0x%08x", stored, computed)
	}
	if own := binary.LittleEndian.Uint64(t.header[gptOffOwn:]); own != uint64(sector) {
		t.damage("gpt-header-place", "GPT header says it is in sector %d, found in sector %d", own, sector)
	}
	if other := binary.LittleEndian.Uint64(t.header[gptOffOther:]); other < math.MaxInt64/uint64(t.SectorSize) {
		t.other = int64(other)
	}
}

// entries reads the table's partition entries as far as they can be believed.
func (r *reader) entries(t *gptTable) {
	count := int64(binary.LittleEndian.Uint32(t.header[gptOffCount:]))
	size := int64(binary.LittleEndian.Uint32(t.header[gptOffEntrySize:]))
	first := binary.LittleEndian.Uint64(t.header[gptOffEntries:])
	if size < entryEnd || size > maxEntrySize {
		t.damage("gpt-entry-size", "GPT entries of %d bytes, expected %d to %d", size, entryEnd, maxEntrySize)
		return
	}
	if first < 2 || first > uint64(r.size/t.SectorSize) {
		t.damage("gpt-entries-place", "GPT entries in sector %d, outside the disk", first)
		return
	}
	start := int64(first) * t.SectorSize
	if most := min(maxEntries, r.size-start) / size; count > most {
		t.damage("gpt-entry-count", "GPT of %d entries, only the first %d are read", count, most)
		count = most
	}
	if count == 0 {
		return
	}
	entries := r.read(start, count*size)
	if entries == nil {
		t.damage("gpt-entries-unreadable", "GPT entries at byte %d cannot be read", start)
		return
	}
	if stored, computed := binary.LittleEndian.Uint32(t.header[gptOffEntriesCRC:]), crc32.ChecksumIEEE(entries); stored != computed {
		t.damage("gpt-entries-crc", "GPT entries' checksum is 0x%08x, computed 0x%08x", stored, computed)
	}
	for i := range count {
		t.entry(int(i)+1, entries[i*size:][:entryEnd])
	}
}

// entry adds a partition, if the entry has one.
func (t *gptTable) entry(number int, e []byte) {
	typ := guid(e)
	if typ == guid(make([]byte, 16)) {
		return
	}
	first, last := binary.LittleEndian.Uint64(e[entryOffFirst:]), binary.LittleEndian.Uint64(e[entryOffLast:])
	if first == 0 || last < first || last >= uint64(math.MaxInt64/t.SectorSize) {
		t.damage("gpt-entry", "GPT entry %d spans sectors %d to %d, which cannot be", number, first, last)
		return
	}
	t.Partitions = append(t.Partitions, Partition{
		Scheme: GPT, Number: number, Type: typ, Name: utf16Text(e[entryOffName:]),
		Start: int64(first) * t.SectorSize, Size: int64(last-first+1) * t.SectorSize,
	})
}

// guid is the text form of a GUID: its first three fields are little-endian.
func guid(b []byte) string {
	return strings.ToUpper(fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b),
		binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]))
}

// utf16Text is little-endian UTF-16 up to its NUL.
func utf16Text(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
