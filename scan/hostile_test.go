package scan

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// scanDevice scans a device that is no file.
func scanDevice(t testing.TB, dev block.Device, history bool) *sourceScan {
	t.Helper()
	s := newSourceScan("memory", nil, &interner{}, Options{History: history})
	s.src.Dev = dev
	require.NoError(t, s.scan(context.Background()))
	return s
}

// header is an mda header that says it stands at start, with an empty committed slot.
func header(start, size uint64) []byte {
	b := make([]byte, metadata.MDAHeaderSize)
	copy(b[metadata.MDAMagicOffset:], metadata.MDAMagic)
	binary.LittleEndian.PutUint32(b[20:], 1)
	binary.LittleEndian.PutUint64(b[24:], start)
	binary.LittleEndian.PutUint64(b[32:], size)
	binary.LittleEndian.PutUint32(b, metadata.Sum(b[4:]))
	return b
}

// TestHostileHeaders fills a large disk's start with headers that each tell of another PV
// with a huge ring.
func TestHostileHeaders(t *testing.T) {
	b := make([]byte, 1<<20)
	for at := 0; at < len(b); at += metadata.MDAHeaderSize {
		copy(b[at:], header(uint64(at/2), 1<<50))
	}
	s := scanDevice(t, fixtures.Disk{Start: b, Bytes: 1 << 40}, true)
	require.LessOrEqual(t, len(s.pvs), maxHeaders)
	require.LessOrEqual(t, s.searchBytes, int64(maxSearchBytes))
	require.Contains(t, s.findings[len(s.findings)-1].Code, "ring-limit")
}

// TestHostileTexts points the areas of a label at 16 MiB each, which makes more than a
// source may have.
func TestHostileTexts(t *testing.T) {
	const areas, textAt, size = 9, 1 << 20, 20 << 20
	b := make([]byte, size)
	label := b[labelAt:]
	copy(label, "LABELONE\x01")
	copy(label[20:], "\x20\x00\x00\x00LVM2 001UguNPGoa1gzkj5XSOVzdgD5Q2j8cRmry")
	binary.LittleEndian.PutUint64(label[64:], size)
	list := label[72+16:]
	text := make([]byte, metadata.MaxTextSize)
	for i := range areas {
		at := uint64(8192 + 512*i)
		binary.LittleEndian.PutUint64(list[16*i:], at)
		binary.LittleEndian.PutUint64(list[16*i+8:], size-8192*2)
		h := header(at, size-8192*2)
		binary.LittleEndian.PutUint64(h[40:], textAt)
		binary.LittleEndian.PutUint64(h[48:], metadata.MaxTextSize)
		binary.LittleEndian.PutUint32(h[56:], metadata.Sum(text))
		binary.LittleEndian.PutUint32(h, metadata.Sum(h[4:]))
		copy(b[at:], h)
	}
	binary.LittleEndian.PutUint32(label[16:], metadata.Sum(label[20:512]))
	s := scanDevice(t, fixtures.Disk{Start: b, Bytes: size}, false)
	require.Len(t, s.pvs[0].Areas, maxAreas)
	require.Len(t, s.copies, maxTextBytes/metadata.MaxTextSize)
	var told []string
	for _, f := range s.findings {
		told = append(told, f.Code)
	}
	require.Equal(t, []string{"mda-count", "text-limit"}, told)
}

// TestManyTexts fills a ring with more texts, of a VG each, than a source may have.
func TestManyTexts(t *testing.T) {
	const at, n = 4096, maxTexts + 100
	area := uint64((n + 1) * metadata.SectorSize)
	b := header(at, area)
	for i := range n {
		text := fmt.Sprintf("v {\nid = \"%s\"\nseqno = 1\n}\ncontents = \"Text Format Volume Group\"\ncreation_time = 1\n", metadata.ID(fmt.Sprintf("%032d", i)))
		b = append(b, append([]byte(text), make([]byte, metadata.SectorSize-len(text))...)...)
	}
	s := scanDevice(t, fixtures.Disk{Start: append(make([]byte, at), b...), Bytes: at + int64(len(b))}, true)
	require.Len(t, s.copies, maxTexts)
	require.Equal(t, "text-limit", s.findings[len(s.findings)-1].Code)
}

// FuzzScan scans what is hardly a disk any more.
func FuzzScan(f *testing.F) {
	for _, name := range []string{"linear", "mda-two", "partitions", "md-members"} {
		for _, d := range fixtures.Open(f, name).Disks {
			file, err := os.Open(d.Path)
			require.NoError(f, err)
			start := make([]byte, 12<<10)
			_, err = io.ReadFull(file, start)
			require.NoError(f, err)
			require.NoError(f, file.Close())
			f.Add(start, int64(8<<20))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		s := scanDevice(t, fixtures.Disk{Start: b, Bytes: min(max(size, block.SectorSize), 16<<20)}, true)
		for _, pv := range s.pvs {
			require.GreaterOrEqual(t, pv.Offset, int64(0))
			require.LessOrEqual(t, pv.Offset, s.src.Dev.Size())
			for _, a := range pv.Areas {
				require.Same(t, pv, a.PV)
				require.Contains(t, []int{1, 2, 3, 4, 5, 6, 7, 8}, a.Number)
			}
		}
		for _, c := range s.copies {
			require.LessOrEqual(t, c.Offset, s.src.Dev.Size())
			_, _ = c.Content.VG()
		}
	})
}
