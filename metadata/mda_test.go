package metadata

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// realHeader is the mda header of pvStart.
func realHeader(t testing.TB) []byte { return realArea(t)[:MDAHeaderSize] }

func TestParseMDAHeader(t *testing.T) {
	h, err := ParseMDAHeader(realHeader(t), realAreaAt)
	require.NoError(t, err)
	require.Equal(t, &MDAHeader{
		At: realAreaAt, Checksum: ChecksumValid, Version: 1, Start: realAreaAt, Size: realAreaSize,
		Committed: RawLocn{Offset: 0x7000, Size: 0x871, Checksum: 0xd7a4ebdf},
	}, h)
	require.True(t, h.Precommitted.Empty())
	require.False(t, h.Ignored())
}

func TestParseMDAHeaderDamage(t *testing.T) {
	const slot0, slot1 = mdaOffLocns, mdaOffLocns + locnLength
	tests := []struct {
		name   string
		damage func(b []byte) []byte
		codes  string
		check  func(t *testing.T, h *MDAHeader)
	}{
		{"checksum", func(b []byte) []byte { return put(b, mdaOffCRC, uint32(0)) }, "mda-crc", func(t *testing.T, h *MDAHeader) {
			require.Equal(t, ChecksumInvalid, h.Checksum)
			require.EqualValues(t, 0x7000, h.Committed.Offset)
		}},
		{"magic", func(b []byte) []byte { return sealHeader(put(b, MDAMagicOffset, "?")) }, "mda-magic", nil},
		{"magic and checksum", func(b []byte) []byte { return put(b, MDAMagicOffset, "?") }, "mda-crc mda-magic", nil},
		{"version", func(b []byte) []byte { return sealHeader(put(b, mdaOffVersion, uint32(2))) }, "mda-version", nil},
		{"moved", func(b []byte) []byte { return sealHeader(put(b, mdaOffStart, uint64(8192))) }, "mda-start", func(t *testing.T, h *MDAHeader) {
			require.EqualValues(t, 8192, h.Start)
		}},
		{"start overflows", func(b []byte) []byte { return sealHeader(put(b, mdaOffStart, uint64(1)<<63)) }, "mda-start mda-start", nil},
		{"size 2^63", func(b []byte) []byte { return sealHeader(put(b, mdaOffSize, uint64(1)<<63)) }, "mda-size mda-size", func(t *testing.T, h *MDAHeader) {
			require.Zero(t, h.Size)
			require.EqualValues(t, 0x7000, h.Committed.Offset)
		}},
		{"end overflows", func(b []byte) []byte { return sealHeader(put(b, mdaOffSize, uint64(math.MaxInt64))) }, "mda-size", nil},
		{"size below the header's", func(b []byte) []byte { return sealHeader(put(b, mdaOffSize, uint64(511))) }, "mda-size", nil},
		{"slot beyond the ring", func(b []byte) []byte { return sealHeader(put(b, slot0, uint64(realAreaSize))) }, "mda-locn", nil},
		{"slot in the header", func(b []byte) []byte { return sealHeader(put(b, slot0, uint64(511))) }, "mda-locn", nil},
		{"text longer than the ring", func(b []byte) []byte { return sealHeader(put(b, slot0+8, uint64(realAreaSize-511))) }, "mda-locn", nil},
		{"slot overflows", func(b []byte) []byte { return sealHeader(put(b, slot0, uint64(math.MaxUint64))) }, "mda-locn", func(t *testing.T, h *MDAHeader) {
			require.True(t, h.Committed.Empty())
		}},
		{"precommitted", func(b []byte) []byte {
			copy(b[slot1:], b[slot0:slot0+locnLength])
			return sealHeader(put(b, slot1, uint64(0x7a00)))
		}, "", func(t *testing.T, h *MDAHeader) {
			require.EqualValues(t, 0x7a00, h.Precommitted.Offset)
		}},
		{"ignored, never written", func(b []byte) []byte {
			put(b, slot0, uint64(0))
			put(b, slot0+locnOffSize, uint64(0))
			return sealHeader(put(b, slot0+locnOffFlags, uint32(locnIgnored)))
		}, "", func(t *testing.T, h *MDAHeader) {
			require.True(t, h.Ignored())
			require.True(t, h.Committed.Empty())
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ParseMDAHeader(tt.damage(realHeader(t)), realAreaAt)
			require.NoError(t, err)
			require.Equal(t, tt.codes, codes(h.Problems))
			if tt.check != nil {
				tt.check(t, h)
			}
		})
	}
}

func TestParseMDAHeaderNone(t *testing.T) {
	unmarked := put(put(realHeader(t), MDAMagicOffset, "?"), mdaOffStart, uint64(77))
	for name, b := range map[string][]byte{
		"empty": nil, "short": realHeader(t)[:511], "zeros": make([]byte, 512), "nothing agrees": unmarked,
	} {
		for _, at := range []int64{0, realAreaAt} {
			h, err := ParseMDAHeader(b, at)
			require.Nil(t, h, name)
			require.ErrorIs(t, err, ErrNoMDAHeader, name)
		}
	}
}

func FuzzParseMDAHeader(f *testing.F) {
	f.Add(realHeader(f), int64(realAreaAt))
	f.Add(realHeader(f), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, b []byte, at int64) {
		h, err := ParseMDAHeader(b, at)
		require.Equal(t, err == nil, h != nil)
		if h == nil {
			return
		}
		require.GreaterOrEqual(t, h.Size, int64(0))
		require.GreaterOrEqual(t, h.Start, int64(0))
		for _, l := range []RawLocn{h.Committed, h.Precommitted} {
			if !l.Empty() && l.Check(h.Size) == nil {
				require.Less(t, l.Offset, h.Size)
				require.LessOrEqual(t, l.Size, h.Size-MDAHeaderSize)
			}
		}
	})
}
