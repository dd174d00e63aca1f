package metadata

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	realAreaAt   = 4096    // mda header of pvStart
	realAreaSize = 1044480 // its size on the disk; pvStart ends behind the newest text
	realTexts    = 13      // versions in its ring
)

// pvStart is the start of a PV that LVM2 2.03.16 wrote: label, mda header, and a ring of
// 13 texts.
func pvStart(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/pv-start.bin")
	require.NoError(t, err)
	return b
}

// realArea is the metadata area of pvStart at its full size.
func realArea(t testing.TB) []byte {
	t.Helper()
	area := make([]byte, realAreaSize)
	copy(area, pvStart(t)[realAreaAt:])
	return area
}

// realText is the newest text of pvStart, with its NUL.
func realText(t testing.TB) []byte {
	t.Helper()
	area := realArea(t)
	h, err := ParseMDAHeader(area, realAreaAt)
	require.NoError(t, err)
	return area[h.Committed.Offset : h.Committed.Offset+h.Committed.Size]
}

// put stores v little-endian at byte at of b: 2, 4 or 8 bytes by v's type.
func put(b []byte, at int, v any) []byte {
	switch v := v.(type) {
	case uint16:
		binary.LittleEndian.PutUint16(b[at:], v)
	case uint32:
		binary.LittleEndian.PutUint32(b[at:], v)
	case uint64:
		binary.LittleEndian.PutUint64(b[at:], v)
	case string:
		copy(b[at:], v)
	default:
		panic(fmt.Sprintf("put: %T", v))
	}
	return b
}

// sealLabel makes the label's checksum right again.
func sealLabel(sector []byte) []byte {
	return put(sector, labelOffCRC, Sum(sector[labelOffPV:SectorSize]))
}

// sealHeader makes the mda header's checksum right again.
func sealHeader(b []byte) []byte { return put(b, mdaOffCRC, Sum(b[MDAMagicOffset:MDAHeaderSize])) }

// codes are the codes of problems, in order.
func codes(probs []Problem) string {
	var c []string
	for _, p := range probs {
		c = append(c, p.Code)
	}
	return strings.Join(c, " ")
}

func TestSum(t *testing.T) {
	require.Equal(t, crcSeed, Sum(nil), "no bytes leave the seed")
	text := realText(t)
	for _, cut := range []int{0, 1, 511, 512, len(text)} {
		require.Equal(t, Sum(text), Sum(text[:cut], text[cut:]), "cut at %d", cut)
	}
	require.Equal(t, uint32(0xd7a4ebdf), Sum(text), "as lvm2 stored it")
}

func TestChecksumString(t *testing.T) {
	require.Equal(t, "absent valid invalid Checksum(9)",
		fmt.Sprint(ChecksumAbsent, ChecksumValid, ChecksumInvalid, Checksum(9)))
}

func TestParseLegacy(t *testing.T) {
	lvm1 := bytes.Repeat([]byte{0}, SectorSize)
	put(lvm1, 0, "HM\x02\x00")
	put(lvm1, lvm1OffPVID, "UguNPGoa1gzkj5XSOVzdgD5Q2j8cRmry")
	put(lvm1, lvm1OffVGName, "oldvg")
	put(lvm1, lvm1OffSize, uint32(2048))
	l, err := ParseLegacy(lvm1)
	require.NoError(t, err)
	id, err := ParseID("UguNPGoa1gzkj5XSOVzdgD5Q2j8cRmry")
	require.NoError(t, err)
	require.Equal(t, &Legacy{Format: "LVM1", Name: "oldvg", PVID: id, Size: 1 << 20}, l)

	pool := make([]byte, SectorSize)
	binary.BigEndian.PutUint64(pool, poolMagic)
	put(pool, poolOffName, "gfs1")
	binary.BigEndian.PutUint32(pool[poolOffVersion:], poolVersion<<8|3)
	l, err = ParseLegacy(pool)
	require.NoError(t, err)
	require.Equal(t, &Legacy{Format: "GFS pool", Name: "gfs1"}, l)

	for name, b := range map[string][]byte{
		"zeros": make([]byte, SectorSize), "short": lvm1[:100], "LVM1 of version 3": put(bytes.Clone(lvm1), 2, uint16(3)),
		"LVM2": pvStart(t)[SectorSize : 2*SectorSize],
	} {
		_, err := ParseLegacy(b)
		require.ErrorIs(t, err, ErrNoLabel, name)
	}
}

func FuzzParseLegacy(f *testing.F) {
	f.Add(pvStart(f)[:SectorSize])
	f.Add(append([]byte("HM\x01\x00"), make([]byte, 508)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLegacy(b)
		require.Equal(t, err == nil, l != nil)
	})
}
