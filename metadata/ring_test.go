package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// version is a text like realText of another seqno and length, without its NUL.
func version(t testing.TB, seqno, padding int) []byte {
	t.Helper()
	text := strings.TrimSuffix(string(realText(t)), "\x00")
	text = strings.Replace(text, "seqno = 13", fmt.Sprintf("seqno = %d", seqno), 1)
	text = strings.Replace(text, "Write from lvrename", "Write from "+strings.Repeat("x", padding)+"lvrename", 1)
	return []byte(text)
}

// ringWriter puts texts where lvm2 would (format-text.c, _next_rlocn_offset).
type ringWriter struct {
	area []byte
	last RawLocn
}

// write appends a text and gives its slot.
func (w *ringWriter) write(text []byte) RawLocn {
	size := int64(len(w.area))
	at := int64(ringStart)
	if !w.last.Empty() {
		end := w.last.Offset + w.last.Size - 1
		if end >= size {
			end += ringStart - size
		}
		if next := (end + SectorSize) / SectorSize * SectorSize; size-end >= SectorSize && next <= size-SectorSize {
			at = next
		}
	}
	padded := append(bytes.Clone(text), make([]byte, SectorSize-len(text)%SectorSize)...)
	if n := copy(w.area[at:], padded); n < len(padded) {
		copy(w.area[ringStart:], padded[n:])
	}
	withNUL := append(bytes.Clone(text), 0)
	w.last = RawLocn{Offset: at, Size: int64(len(withNUL)), Checksum: Sum(withNUL)}
	return w.last
}

// found lists what is in a ring as "part@offset".
func found(texts []RingText) []string {
	var s []string
	for _, t := range texts {
		s = append(s, fmt.Sprintf("%s@%d", t.Part, t.Offset))
	}
	return s
}

func TestRingTextsReal(t *testing.T) {
	area := realArea(t)
	texts := slices.Collect(NewRing(bytes.NewReader(area), realAreaSize).Texts())
	require.Len(t, texts, realTexts)
	for i, text := range texts {
		require.Equal(t, Whole, text.Part, "text at %d: %v", text.Offset, text.Err)
		require.Contains(t, string(text.Raw), fmt.Sprintf("seqno = %d\n", i+1))
		require.EqualValues(t, len(text.Raw), text.Size)
	}
	require.EqualValues(t, 0x7000, texts[realTexts-1].Offset)
	require.Equal(t, realText(t), append(texts[realTexts-1].Raw, 0))
}

// TestRingWraps fills small rings many times over and expects, after each write, the new
// text by its slot and by search, and no text that was not written.
func TestRingWraps(t *testing.T) {
	for _, size := range []int{6144, 7*SectorSize + 100, 16384, 61440} {
		w := ringWriter{area: make([]byte, size)}
		written := map[string]bool{}
		wrapped := 0
		for seqno := 1; seqno <= 120; seqno++ {
			text := version(t, seqno, seqno*37%700)
			written[string(text)] = true
			slot := w.write(text)
			if slot.Offset+slot.Size > int64(size) {
				wrapped++
			}
			ring := NewRing(bytes.NewReader(w.area), int64(size))
			got, sum, err := ring.Text(slot)
			require.NoError(t, err)
			require.Equal(t, ChecksumValid, sum)
			require.Equal(t, string(text), string(got))

			newest := false
			for found := range ring.Texts() {
				if found.Part == Whole {
					require.True(t, written[string(found.Raw)], "size %d, seqno %d: a text that never was, at %d", size, seqno, found.Offset)
					newest = newest || found.Offset == slot.Offset
				}
			}
			require.True(t, newest, "size %d: seqno %d not found", size, seqno)
		}
		require.Positive(t, wrapped, "size %d never wrapped", size)
	}
}

func TestRingFragments(t *testing.T) {
	blocks := func(n int) int64 { return ringStart + int64(n)*SectorSize }
	a, b := version(t, 1, 0), version(t, 2, 0) // 5 blocks each
	require.Equal(t, 5, (len(a)+SectorSize)/SectorSize)
	tests := []struct {
		name   string
		blocks int // of the ring
		fill   func(area []byte)
		want   []string
	}{
		{"empty", 8, func([]byte) {}, nil},
		{"noise", 8, func(area []byte) { copy(area[blocks(0):], bytes.Repeat([]byte("noise. "), 500)) }, nil},
		{"start overwritten", 8, func(area []byte) {
			copy(area[blocks(0):], a)
			copy(area[blocks(0):], make([]byte, SectorSize))
		}, []string{"tail@1024"}},
		{"overwritten from the middle", 8, func(area []byte) {
			copy(area[blocks(0):], a)
			copy(area[blocks(2):], append(b, 0))
		}, []string{"head@512", "whole@1536"}},
		{"end overwritten with zeros", 8, func(area []byte) {
			copy(area[blocks(0):], a[:3*SectorSize])
		}, []string{"head@512"}},
		{"end overwritten with binary", 8, func(area []byte) {
			copy(area[blocks(0):], a)
			copy(area[blocks(3):], "\x01\x02\x03")
		}, []string{"head@512"}},
		{"wraps", 8, func(area []byte) {
			n := copy(area[blocks(5):], a)
			copy(area[blocks(0):], a[n:])
		}, []string{"whole@3072"}},
		{"wrapped part is another's tail", 8, func(area []byte) {
			copy(area[blocks(5):], a)
			copy(area[blocks(0):], a[4*SectorSize:])
		}, []string{"head@3072"}},
		{"wrapped part overwritten", 8, func(area []byte) {
			copy(area[blocks(5):], a)
			copy(area[blocks(0):], append(b, 0))
		}, []string{"whole@512", "head@3072"}},
		{"tail at the start, nothing wraps", 8, func(area []byte) {
			copy(area[blocks(0):], a[4*SectorSize:])
			copy(area[blocks(2):], append(b, 0))
		}, []string{"whole@1536", "tail@512"}},
		{"no end anywhere", 3, func(area []byte) { copy(area[blocks(0):], a) }, []string{"head@512"}},
		{"two sections under one trailer", 16, func(area []byte) {
			cut := bytes.Index(a, []byte("# Generated"))
			copy(area[blocks(0):], append(bytes.Clone(a[:cut]), b...))
		}, []string{"head@512"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			area := make([]byte, blocks(tt.blocks))
			tt.fill(area)
			ring := NewRing(bytes.NewReader(area), int64(len(area)))
			require.Equal(t, tt.want, found(slices.Collect(ring.Texts())))
		})
	}
}

// TestRingSectionAtBlock puts the section of an LV exactly on a block: it begins almost
// like a text.
func TestRingSectionAtBlock(t *testing.T) {
	text := version(t, 7, 0)
	lv := bytes.Index(text, []byte("\nroot {\nid = ")) + 1
	require.Positive(t, lv)
	pad := bytes.Repeat([]byte("\n"), SectorSize-lv%SectorSize)
	text = slices.Insert(text, lv, pad...)
	area := make([]byte, 16384)
	copy(area[ringStart:], text)
	require.Equal(t, []string{"whole@512"}, found(slices.Collect(NewRing(bytes.NewReader(area), 16384).Texts())))
}

// holed fails reads of [from, to).
type holed struct {
	*bytes.Reader
	from, to int64
}

var errHole = errors.New("unreadable")

func (h holed) ReadAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); off < h.to && end > h.from {
		n, _ := h.Reader.ReadAt(p[:max(h.from-off, 0)], off)
		return n, errHole
	}
	return h.Reader.ReadAt(p, off)
}

func TestRingUnreadable(t *testing.T) {
	area := realArea(t)
	ring := NewRing(holed{bytes.NewReader(area), 0x7200, 0x7800}, realAreaSize)
	texts := slices.Collect(ring.Texts())
	require.Equal(t, []string{"head@28672", "unreadable@29184", "tail@30720"}, found(texts[len(texts)-3:]))
	require.ErrorIs(t, texts[len(texts)-2].Err, errHole)
	require.EqualValues(t, 0x600, texts[len(texts)-2].Size)

	text, sum, err := ring.Text(RawLocn{Offset: 0x7000, Size: 0x871})
	require.ErrorIs(t, err, errHole)
	require.Equal(t, ChecksumInvalid, sum)
	require.Equal(t, realText(t)[:512], text)
}

func TestRingShorterThanClaimed(t *testing.T) {
	ring := NewRing(bytes.NewReader(pvStart(t)[realAreaAt:]), math.MaxInt64)
	n := 0
	for text := range ring.Texts() {
		if text.Part == Whole {
			n++
			continue
		}
		require.Equal(t, Unreadable, text.Part)
		require.ErrorIs(t, text.Err, io.EOF)
	}
	require.Equal(t, realTexts, n)
}

func TestRingTextRefuses(t *testing.T) {
	ring := NewRing(bytes.NewReader(realArea(t)), realAreaSize)
	for name, l := range map[string]RawLocn{
		"empty": {}, "in the header": {Offset: 511, Size: 10}, "behind the area": {Offset: realAreaSize, Size: 10},
		"without size": {Offset: 512}, "longer than the ring": {Offset: 512, Size: realAreaSize - 511},
		"negative": {Offset: 512, Size: -1}, "overflowing": {Offset: math.MaxInt64, Size: math.MaxInt64},
	} {
		text, _, err := ring.Text(l)
		require.Error(t, err, name)
		require.Nil(t, text, name)
	}
	huge := RawLocn{Offset: 512, Size: MaxTextSize + 1}
	_, _, err := NewRing(bytes.NewReader(nil), math.MaxInt64).Text(huge)
	require.ErrorContains(t, err, "limit")
}

func TestRingTextChecksum(t *testing.T) {
	ring := NewRing(bytes.NewReader(realArea(t)), realAreaSize)
	text, sum, err := ring.Text(RawLocn{Offset: 0x7000, Size: 0x871, Checksum: 1})
	require.NoError(t, err)
	require.Equal(t, ChecksumInvalid, sum)
	require.Equal(t, realText(t), append(text, 0), "delivered, and marked")
}

func TestTextStart(t *testing.T) {
	text := realText(t)
	name, ok := TextStart(text)
	require.True(t, ok)
	require.Equal(t, "vg0", name)
	for _, b := range []string{
		"", "vg0", " {\nid = \"", strings.Replace(string(text), "vg0", "v/0", 1), "root" + string(text[3:30]),
		strings.Repeat("x", 128) + string(text[3:]), strings.Replace(string(text), "seqno", "device", 1),
	} {
		_, ok := TextStart([]byte(b))
		require.False(t, ok, "%.60q", b)
	}
}

func TestCheckWhole(t *testing.T) {
	whole := string(version(t, 13, 0))
	require.NoError(t, CheckWhole([]byte(whole)))
	quoted := strings.Replace(whole, `creation_host = "(none)"`, `creation_host = "{\"{ #"`, -1)
	require.NoError(t, CheckWhole([]byte(quoted)), "braces in strings do not count")
	tests := []struct{ want, text string }{
		{"does not begin", ""},
		{"does not begin", whole[4:]},
		{"does not begin", strings.Replace(whole, "seqno", "seq", 1)},
		{"byte 0x01 at byte", strings.Replace(whole, "max_lv", "max\x01lv", 1)},
		{"1 sections are not closed", whole[:strings.Index(whole, "physical_volumes")]},
		{"a second section", strings.Replace(whole, "# Generated", "vg {}\n# Generated", 1)},
		{"no contents", strings.Replace(whole, "contents", "content", 1)},
		{"no creation_time", whole[:strings.LastIndex(whole, "creation_time")]},
		{"creation_time is not the last line", whole + "more"},
		{"creation_time is not the last line", strings.TrimRight(whole, "\n")},
	}
	for _, tt := range tests {
		require.ErrorContains(t, CheckWhole([]byte(tt.text)), tt.want)
	}
}

func FuzzRingTexts(f *testing.F) {
	area := realArea(f)[:0x7a00]
	f.Add(area, int64(len(area)))
	w := ringWriter{area: make([]byte, 6144)}
	for seqno := range 5 {
		w.write(version(f, seqno, 100*seqno))
	}
	f.Add(w.area, int64(6144))
	f.Add(w.area, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, area []byte, size int64) {
		end := int64(ringStart)
		for text := range NewRing(bytes.NewReader(area), size).Texts() {
			require.Less(t, text.Offset, size)
			if text.Part != Whole {
				continue
			}
			require.NoError(t, CheckWhole(text.Raw))
			require.GreaterOrEqual(t, text.Offset, end, "texts overlap")
			end = text.Offset + text.Size
			l := RawLocn{Offset: text.Offset, Size: text.Size + 1}
			if end < min(size, int64(len(area))) {
				raw, _, err := NewRing(bytes.NewReader(area), size).Text(l)
				require.NoError(t, err)
				require.Equal(t, text.Raw, raw)
			}
		}
	})
}

func FuzzCheckWhole(f *testing.F) {
	f.Add(version(f, 13, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if CheckWhole(b) == nil {
			_, ok := TextStart(b)
			require.True(t, ok)
			require.NotContains(t, string(b), "\x00")
		}
	})
}

func BenchmarkRingTexts(b *testing.B) {
	area := make([]byte, 1<<20)
	w := ringWriter{area: area}
	for seqno := range 400 {
		w.write(version(b, seqno, 0))
	}
	b.SetBytes(int64(len(area)))
	for b.Loop() {
		for range NewRing(bytes.NewReader(area), int64(len(area))).Texts() {
		}
	}
}
