package metadata

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// realLabel is the label's sector of pvStart.
func realLabel(t testing.TB) []byte {
	t.Helper()
	return bytes.Clone(pvStart(t)[SectorSize : 2*SectorSize])
}

func TestParseLabel(t *testing.T) {
	l, err := ParseLabel(realLabel(t), 1)
	require.NoError(t, err)
	id, err := ParseID("UguNPG-oa1g-zkj5-XSOV-zdgD-5Q2j-8cRmry")
	require.NoError(t, err)
	require.Equal(t, &Label{
		Sector: 1, ClaimedSector: 1, Checksum: ChecksumValid, PVID: id, DeviceSize: 64 << 20,
		DataAreas:     []DiskArea{{1 << 20, 0}},
		MetadataAreas: []DiskArea{{realAreaAt, realAreaSize}},
		Version:       2, Flags: extUsed,
	}, l)
	require.True(t, l.Used())
}

func TestParseLabelDamage(t *testing.T) {
	const (
		pv  = labelLength
		da  = pv + pvOffAreas
		mda = da + 2*diskLocnLength
		ext = mda + 2*diskLocnLength
	)
	tests := []struct {
		name   string
		damage func(s []byte) []byte
		codes  string
		check  func(t *testing.T, l *Label)
	}{
		{"checksum", func(s []byte) []byte { return put(s, labelOffCRC, uint32(1)) }, "label-crc", func(t *testing.T, l *Label) {
			require.Equal(t, ChecksumInvalid, l.Checksum)
			require.NotEmpty(t, l.PVID)
		}},
		{"other sector", func(s []byte) []byte { return put(s, labelOffXL, uint64(3)) }, "label-sector", func(t *testing.T, l *Label) {
			require.EqualValues(t, 3, l.ClaimedSector)
			require.Equal(t, ChecksumValid, l.Checksum, "the sector number is outside the checksum")
		}},
		{"sector overflows", func(s []byte) []byte { return put(s, labelOffXL, uint64(math.MaxUint64)) }, "label-sector", func(t *testing.T, l *Label) {
			require.EqualValues(t, math.MaxInt64, l.ClaimedSector)
		}},
		{"type", func(s []byte) []byte { return sealLabel(put(s, labelOffTyp, "LVM3 001")) }, "label-type", nil},
		{"uuid", func(s []byte) []byte { return sealLabel(put(s, pv, "\x00")) }, "label-pvid", func(t *testing.T, l *Label) {
			require.Empty(t, l.PVID)
			require.Len(t, l.MetadataAreas, 1)
		}},
		{"device size overflows", func(s []byte) []byte { return sealLabel(put(s, pv+pvOffSize, uint64(1)<<63)) }, "label-device-size", func(t *testing.T, l *Label) {
			require.Zero(t, l.DeviceSize)
		}},
		{"metadata area overflows", func(s []byte) []byte { return sealLabel(put(s, mda+8, uint64(math.MaxInt64))) }, "label-metadata-area", func(t *testing.T, l *Label) {
			require.Empty(t, l.MetadataAreas)
			require.True(t, l.Used(), "what follows the list is still read")
		}},
		{"list without end", func(s []byte) []byte {
			for i := da; i+diskLocnLength <= SectorSize; i += diskLocnLength {
				put(s, i, uint64(4096))
			}
			return sealLabel(s)
		}, "label-data-area label-metadata-area", func(t *testing.T, l *Label) {
			require.Len(t, l.DataAreas, (SectorSize-da)/diskLocnLength)
			require.Zero(t, l.Version)
		}},
		{"two metadata areas", func(s []byte) []byte {
			copy(s[ext+diskLocnLength:], s[ext:ext+8])
			put(s, mda+diskLocnLength, uint64(61865984))
			put(s, mda+diskLocnLength+8, uint64(1<<20))
			put(s, ext, uint64(0))
			return sealLabel(s)
		}, "", func(t *testing.T, l *Label) {
			require.Equal(t, []DiskArea{{realAreaAt, realAreaSize}, {61865984, 1 << 20}}, l.MetadataAreas)
			require.True(t, l.Used())
		}},
		{"no extension", func(s []byte) []byte { return sealLabel(put(s, ext, uint64(0))) }, "", func(t *testing.T, l *Label) {
			require.Zero(t, l.Version)
			require.False(t, l.Used())
		}},
		{"newer extension with bootloader area", func(s []byte) []byte {
			put(s, ext, uint32(3))
			put(s, ext+extOffAreas, uint64(1<<20))
			return sealLabel(put(s, ext+extOffAreas+8, uint64(2<<20)))
		}, "label-extension", func(t *testing.T, l *Label) {
			require.Equal(t, []DiskArea{{1 << 20, 2 << 20}}, l.BootloaderAreas)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := ParseLabel(tt.damage(realLabel(t)), 1)
			require.NoError(t, err)
			require.Equal(t, tt.codes, codes(l.Problems))
			if tt.check != nil {
				tt.check(t, l)
			}
		})
	}
}

func TestParseLabelNone(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty": nil, "short": realLabel(t)[:SectorSize-1], "zeros": make([]byte, SectorSize),
		"other id": put(realLabel(t), 0, "LABELTWO"),
	} {
		l, err := ParseLabel(b, 1)
		require.ErrorIs(t, err, ErrNoLabel, name)
		require.Nil(t, l)
	}
	for _, offset := range []uint32{0, labelLength - 1, SectorSize - pvOffAreas + 1, math.MaxUint32} {
		_, err := ParseLabel(put(realLabel(t), labelOffPV, offset), 1)
		var damage *DamageError
		require.True(t, errors.As(err, &damage), "offset %d", offset)
		require.Equal(t, "label_header.offset_xl", damage.Field)
		require.EqualValues(t, labelOffPV, damage.Offset)
	}
}

func FuzzParseLabel(f *testing.F) {
	f.Add(realLabel(f), int64(1))
	f.Add(put(realLabel(f), labelOffPV, uint32(SectorSize-pvOffAreas)), int64(3))
	f.Fuzz(func(t *testing.T, b []byte, sector int64) {
		l, err := ParseLabel(b, sector)
		require.Equal(t, err == nil, l != nil)
		if l == nil {
			return
		}
		for _, areas := range [][]DiskArea{l.DataAreas, l.MetadataAreas, l.BootloaderAreas} {
			require.LessOrEqual(t, len(areas), SectorSize/diskLocnLength)
			for _, a := range areas {
				require.Positive(t, a.Offset)
				require.GreaterOrEqual(t, a.Offset+a.Size, a.Offset, "the end overflows")
			}
		}
		require.GreaterOrEqual(t, l.DeviceSize, int64(0))
	})
}
