// Package partition reads partition tables, damaged ones too: GPT with its backup, MBR
// with logical partitions.
//
// A table is used for what it says as long as it makes sense; what is wrong with it is
// told beside. Everything from the disk is bounded before use.
//
// All offsets and lengths are bytes.
package partition

import (
	"fmt"
	"io"
)

// Scheme is a kind of partition table.
type Scheme string

// The schemes that are read.
const (
	GPT Scheme = "GPT"
	MBR Scheme = "MBR"
)

// maxPartitions is how many partitions of a disk are looked at; a GPT has room for 128 if
// nobody asks for more.
const maxPartitions = 256

// Partition is a partition as its table has it. Its end may lie behind the end of the disk.
type Partition struct {
	Scheme Scheme
	Number int // as the kernel counts: logical partitions from 5
	Start  int64
	Size   int64
	Type   string // GUID, or "0x8e"
	Name   string // GPT only
}

// String names the partition: "partition 2 (GPT)".
func (p Partition) String() string { return fmt.Sprintf("partition %d (%s)", p.Number, p.Scheme) }

// Table is one partition table, or one copy of it.
type Table struct {
	Scheme     Scheme
	Offset     int64 // of its header
	SectorSize int64 // the unit of its addresses
	Backup     bool  // the copy at the end of a GPT disk
	Intact     bool  // no checksum is wrong; always so for MBR, which has none
	Partitions []Partition
	Problems   []Problem
}

func (t *Table) problem(code string, offset int64, format string, args ...any) {
	t.Problems = append(t.Problems, Problem{code, offset, fmt.Sprintf(format, args...)})
}

// Problem is something wrong with a table that could be read all the same, or a place that
// could not be read.
type Problem struct {
	Code   string // stable, for scripts: "gpt-header-crc"
	Offset int64
	Text   string
}

// Layout is everything that the tables of a disk say.
type Layout struct {
	Tables     []*Table    // as found: GPT, backup GPT, MBR
	Partitions []Partition // to be used, each place once
	Problems   []Problem   // those of no single table
}

// Read reads the partition tables of a disk of size bytes. A disk without any gives an
// empty Layout.
func Read(disk io.ReaderAt, size int64) *Layout {
	r := reader{disk: disk, size: size}
	l := &Layout{Tables: r.gpts()}
	mbr, protective := r.mbr()
	if protective && len(l.Tables) == 0 {
		r.problem("gpt-lost", 0, "the MBR announces a GPT, but neither it nor its backup is there")
	}
	if mbr != nil {
		l.Tables = append(l.Tables, mbr)
	}
	l.Problems = r.problems
	l.choose(size)
	return l
}

// choose collects the partitions to be used. A damaged GPT counts only when no copy of it
// is intact.
func (l *Layout) choose(size int64) {
	intact := false
	for _, t := range l.Tables {
		intact = intact || t.Scheme == GPT && t.Intact
	}
	taken := map[int64]bool{}
	for _, t := range l.Tables {
		if t.Scheme == GPT && intact && !t.Intact {
			continue
		}
		for _, p := range t.Partitions {
			switch {
			case taken[p.Start]:
			case p.Start >= size:
				l.Problems = append(l.Problems, Problem{"partition-outside", t.Offset,
					fmt.Sprintf("%s begins at byte %d, behind the end of the disk at %d", p, p.Start, size)})
			case len(l.Partitions) == maxPartitions:
				l.Problems = append(l.Problems, Problem{"partition-count", t.Offset,
					fmt.Sprintf("only the first %d partitions are looked at", maxPartitions)})
				return
			default:
				taken[p.Start] = true
				l.Partitions = append(l.Partitions, p)
			}
		}
	}
}

// reader reads a disk and remembers what it could not read.
type reader struct {
	disk     io.ReaderAt
	size     int64
	problems []Problem
}

func (r *reader) problem(code string, offset int64, format string, args ...any) {
	r.problems = append(r.problems, Problem{code, offset, fmt.Sprintf(format, args...)})
}

// read gives the n bytes at off, or nil: when they are outside the disk, or unreadable,
// which is a problem.
func (r *reader) read(off, n int64) []byte {
	if off < 0 || off > r.size-n {
		return nil
	}
	buf := make([]byte, n)
	if got, err := r.disk.ReadAt(buf, off); int64(got) < n {
		r.problem("partition-table-unreadable", off, "a place of partition tables cannot be read: %v", err)
		return nil
	}
	return buf
}
