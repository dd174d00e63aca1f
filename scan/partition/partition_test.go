package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Both images and what they hold were made by sfdisk 2.38.1.
const sector = 512

var (
	gptWant = []Partition{
		{GPT, 1, 40 * sector, 60 * sector, "E6D6D379-F507-44C2-A23C-238F2A3DF928", "lvm one"},
		{GPT, 2, 104 * sector, 100 * sector, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "dätei"},
	}
	mbrWant = []Partition{
		{MBR, 1, 2 * sector, 10 * sector, "0x8e", ""},
		{MBR, 5, 14 * sector, 20 * sector, "0x8e", ""},
		{MBR, 6, 40 * sector, 30 * sector, "0x83", ""},
		{MBR, 7, 80 * sector, 42 * sector, "0x8e", ""},
	}
)

func image(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return b
}

// all are the codes of every problem, and the tables found, as "GPT@512:code,code".
func all(l *Layout) string {
	var out []string
	add := func(where string, probs []Problem) {
		var codes []string
		for _, p := range probs {
			codes = append(codes, p.Code)
		}
		out = append(out, where+strings.Join(codes, ","))
	}
	for _, t := range l.Tables {
		add(fmt.Sprintf("%s@%d:", t.Scheme, t.Offset), t.Problems)
	}
	if l.Problems != nil {
		add("", l.Problems)
	}
	return strings.Join(out, " ")
}

func put32(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
func put64(b []byte, at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }

// seal makes the checksums of the GPT header at byte at right again, with entries if they
// can be reached.
func seal(b []byte, at, ss int) {
	h := b[at : at+gptMinHeader]
	start := int(binary.LittleEndian.Uint64(h[gptOffEntries:])) * ss
	n := int(binary.LittleEndian.Uint32(h[gptOffCount:])) * int(binary.LittleEndian.Uint32(h[gptOffEntrySize:]))
	if start >= 0 && n >= 0 && n <= len(b)-start {
		put32(h, gptOffEntriesCRC, crc32.ChecksumIEEE(b[start:start+n]))
	}
	put32(h, gptOffCRC, 0)
	put32(h, gptOffCRC, crc32.ChecksumIEEE(h))
}

func TestGPT(t *testing.T) {
	const backup = 255 * sector
	tests := []struct {
		name   string
		damage func(b []byte) []byte
		tables string
		want   []Partition
	}{
		{"healthy", func(b []byte) []byte { return b }, "GPT@512: GPT@130560:", gptWant},
		{"header checksum", func(b []byte) []byte { b[sector+60]++; return b }, "GPT@512:gpt-header-crc GPT@130560:", gptWant},
		{"entry damaged: the backup is used", func(b []byte) []byte { b[2*sector+entryOffFirst] = 90; return b },
			"GPT@512:gpt-entries-crc GPT@130560:", gptWant},
		{"primary zeroed", func(b []byte) []byte { clear(b[:40*sector]); return b }, "GPT@130560:", gptWant},
		{"backup cut off", func(b []byte) []byte { return b[:210*sector] }, "GPT@512:", gptWant},
		{"both damaged: what both say", func(b []byte) []byte {
			clear(b[2*sector : 2*sector+entryEnd])
			clear(b[backup-32*sector+entryEnd : backup-32*sector+2*entryEnd])
			return b
		}, "GPT@512:gpt-entries-crc GPT@130560:gpt-entries-crc", []Partition{gptWant[1], gptWant[0]}},
		{"both headers gone", func(b []byte) []byte { clear(b[sector : 2*sector]); clear(b[backup:]); return b }, "gpt-lost", nil},
		{"padded image: backup where the primary says", func(b []byte) []byte { return append(b, make([]byte, 64<<10)...) },
			"GPT@512: GPT@130560:", gptWant},
		{"cut: a partition lies outside", func(b []byte) []byte { return b[:104*sector] },
			"GPT@512: partition-outside", gptWant[:1]},
		{"2^32 entries", func(b []byte) []byte {
			put32(b, sector+gptOffCount, math.MaxUint32)
			seal(b, sector, sector)
			return b
		}, "GPT@512:gpt-entry-count,gpt-entries-crc GPT@130560:", gptWant},
		{"no entries", func(b []byte) []byte {
			put32(b, sector+gptOffCount, 0)
			seal(b, sector, sector)
			return b[:210*sector]
		}, "GPT@512:", nil},
		{"entry size 2^32", func(b []byte) []byte {
			put32(b, sector+gptOffEntrySize, math.MaxUint32)
			seal(b, sector, sector)
			return b
		}, "GPT@512:gpt-entry-size GPT@130560:", gptWant},
		{"entries nowhere", func(b []byte) []byte {
			put64(b, sector+gptOffEntries, math.MaxUint64)
			seal(b, sector, sector)
			return b
		}, "GPT@512:gpt-entries-place GPT@130560:", gptWant},
		{"header size", func(b []byte) []byte { put32(b, sector+gptOffHeaderSize, math.MaxUint32); return b },
			"GPT@512:gpt-header-size,gpt-header-crc GPT@130560:", gptWant},
		{"other copy's place overflows", func(b []byte) []byte {
			put64(b, sector+gptOffOther, math.MaxUint64)
			put64(b, sector+gptOffOwn, 7)
			seal(b, sector, sector)
			return b
		}, "GPT@512:gpt-header-place GPT@130560:", gptWant},
		{"partition overflows", func(b []byte) []byte {
			put64(b, 2*sector+entryOffLast, math.MaxUint64)
			seal(b, sector, sector)
			return b[:210*sector]
		}, "GPT@512:gpt-entry", gptWant[1:]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.damage(image(t, "gpt.bin"))
			l := Read(bytes.NewReader(b), int64(len(b)))
			require.Equal(t, tt.tables, all(l))
			require.Equal(t, tt.want, l.Partitions)
		})
	}
}

// TestGPT4K moves the real table to sectors of 4096 bytes.
func TestGPT4K(t *testing.T) {
	const ss = 4096
	old := image(t, "gpt.bin")
	b := make([]byte, 256*ss)
	copy(b, old[:sector])
	copy(b[ss:], old[sector:2*sector])
	copy(b[2*ss:], old[2*sector:34*sector])
	seal(b, ss, ss)
	l := Read(bytes.NewReader(b), int64(len(b)))
	require.Equal(t, "GPT@4096:", all(l))
	require.EqualValues(t, ss, l.Tables[0].SectorSize)
	require.Len(t, l.Partitions, 2)
	require.EqualValues(t, 40*ss, l.Partitions[0].Start)
	require.EqualValues(t, 60*ss, l.Partitions[0].Size)
}

func TestMBR(t *testing.T) {
	entry := func(b []byte, ebr, i int) []byte { return b[ebr*sector+mbrOffEntries+i*mbrEntryLength:] }
	tests := []struct {
		name   string
		damage func(b []byte)
		tables string
		want   []Partition
	}{
		{"healthy", func([]byte) {}, "MBR@0:", mbrWant},
		{"no signature", func(b []byte) { b[mbrOffSignature] = 0 }, "", nil},
		{"filesystem's boot sector", func(b []byte) { entry(b, 0, 2)[0] = 'F' }, "", nil},
		{"signature alone", func(b []byte) { clear(b[mbrOffEntries:mbrOffSignature]) }, "", nil},
		{"entry at the MBR", func(b []byte) { put32(entry(b, 0, 0), mbrOffStart, 0) }, "MBR@0:mbr-entry", mbrWant[1:]},
		{"chain broken", func(b []byte) { b[39*sector+mbrOffSignature] = 0 }, "MBR@0:mbr-logical-chain", mbrWant[:2]},
		{"link to the start ends the chain", func(b []byte) { put32(entry(b, 12, 1), mbrOffStart, 0) },
			"MBR@0:", mbrWant[:2]},
		{"chain loops", func(b []byte) { copy(entry(b, 79, 1), entry(b, 12, 1)[:mbrEntryLength]) },
			"MBR@0:mbr-logical-chain", mbrWant},
		{"chain leaves the disk", func(b []byte) { put32(entry(b, 12, 1), mbrOffStart, math.MaxUint32) },
			"MBR@0:mbr-logical-chain", mbrWant[:2]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := image(t, "mbr.bin")
			tt.damage(b)
			l := Read(bytes.NewReader(b), int64(len(b)))
			require.Equal(t, tt.tables, all(l))
			require.Equal(t, tt.want, l.Partitions)
		})
	}
}

func TestHybridMBR(t *testing.T) {
	b := image(t, "gpt.bin")
	copy(b[mbrOffEntries+mbrEntryLength:], image(t, "mbr.bin")[mbrOffEntries:][:mbrEntryLength])
	l := Read(bytes.NewReader(b), int64(len(b)))
	require.Equal(t, "GPT@512: GPT@130560: MBR@0:", all(l))
	require.Equal(t, []Partition{gptWant[0], gptWant[1], {MBR, 2, 2 * sector, 10 * sector, "0x8e", ""}}, l.Partitions)
}

func TestPartitionCount(t *testing.T) {
	const count = 1000
	b := make([]byte, 4096*sector)
	copy(b, image(t, "gpt.bin")[:2*sector])
	put32(b, sector+gptOffCount, count)
	for i := range count {
		e := b[2*sector+i*entryEnd:]
		e[0] = 1
		put64(e, entryOffFirst, uint64(300+i))
		put64(e, entryOffLast, uint64(300+i))
	}
	seal(b, sector, sector)
	l := Read(bytes.NewReader(b), int64(len(b)))
	require.Equal(t, "GPT@512: partition-count", all(l))
	require.Len(t, l.Partitions, maxPartitions)
}

// unreadable refuses reads of the sector at byte off.
type unreadable struct {
	*bytes.Reader
	off int64
}

func (u unreadable) ReadAt(p []byte, off int64) (int, error) {
	if off <= u.off && off+int64(len(p)) > u.off {
		return 0, errors.New("medium error")
	}
	return u.Reader.ReadAt(p, off)
}

func TestUnreadable(t *testing.T) {
	b := image(t, "gpt.bin")
	for _, off := range []int64{0, sector, 5 * sector} {
		l := Read(unreadable{bytes.NewReader(b), off}, int64(len(b)))
		require.Contains(t, all(l), "partition-table-unreadable")
		require.Equal(t, gptWant, l.Partitions, "the rest tells all")
	}
}

func TestTiny(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 1023, 4095, 8192} {
		require.Equal(t, &Layout{}, Read(bytes.NewReader(make([]byte, n)), int64(n)), "%d bytes", n)
	}
}

func TestString(t *testing.T) {
	require.Equal(t, "partition 2 (GPT)", gptWant[1].String())
}

func FuzzRead(f *testing.F) {
	f.Add(image(f, "mbr.bin")[:64*sector])
	f.Add(image(f, "gpt.bin")[:36*sector])
	f.Fuzz(func(t *testing.T, b []byte) {
		l := Read(bytes.NewReader(b), int64(len(b)))
		if len(l.Partitions) > maxPartitions {
			t.Fatal("too many partitions")
		}
		for _, p := range l.Partitions {
			if p.Start <= 0 || p.Start >= int64(len(b)) || p.Size <= 0 || p.Start+p.Size < p.Start {
				t.Fatalf("%s at %d, %d bytes", p, p.Start, p.Size)
			}
		}
	})
}
