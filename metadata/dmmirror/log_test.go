package dmmirror

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata"
)

// testLog makes a log that was kept for so many regions.
func testLog(regions uint64, bitmap ...byte) []byte {
	b := make([]byte, bitmapOff+len(bitmap))
	binary.LittleEndian.PutUint32(b[offMagic:], magic)
	binary.LittleEndian.PutUint32(b[offVersion:], 2)
	binary.LittleEndian.PutUint64(b[offRegions:], regions)
	copy(b[bitmapOff:], bitmap)
	return b
}

// run is a number of regions of one state.
type run struct {
	sync bool
	n    int64
}

func runs(l *Log) (list []run) {
	for at := int64(0); at < l.Regions(); {
		sync, n := l.Run(at)
		list = append(list, run{sync, n})
		at += n
	}
	return list
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name    string
		log     []byte
		regions int64
		want    []run
	}{
		{"all in sync", testLog(20, 0xff, 0xff, 0x0f), 20, []run{{true, 20}}},
		{"none in sync", testLog(20, 0, 0, 0), 20, []run{{false, 20}}},
		{"bits behind the end do not count", testLog(20, 0, 0, 0xff), 18, []run{{false, 16}, {true, 2}}},
		{"a whole number of bytes", testLog(16, 0xff, 0x7f), 16, []run{{true, 15}, {false, 1}}},
		{"mixed", testLog(40, 0xff, 0x01, 0xfe, 0xff, 0x05), 35, []run{{true, 9}, {false, 8}, {true, 16}, {false, 1}, {true, 1}}},
		{"the mirror has grown", testLog(5, 0xff, 0xff), 12, []run{{true, 5}, {false, 7}}},
		{"one region", testLog(1, 1), 1, []run{{true, 1}}},
		{"kept for no regions", testLog(0, 0xff), 8, []run{{false, 8}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Read(bytes.NewReader(c.log), c.regions)
			require.NoError(t, err)
			got := runs(l)
			require.Equal(t, c.want, got)
			var in, all int64
			for _, r := range got {
				if r.sync {
					in += r.n
				}
				all += r.n
			}
			require.Equal(t, c.regions, all)
			require.Equal(t, in, l.InSync())
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		patch   func(b []byte) []byte
		regions int64
		field   string
	}{
		{"other magic", func(b []byte) []byte { b[0]++; return b }, 8, "log_header.magic"},
		{"other version", func(b []byte) []byte { b[offVersion] = 3; return b }, 8, "log_header.version"},
		{"a short bitmap", func(b []byte) []byte { return b[:bitmapOff] }, 8, ""},
		{"a short header", func(b []byte) []byte { return b[:8] }, 8, ""},
		{"no regions", func(b []byte) []byte { return b }, 0, ""},
		{"more regions than there can be", func(b []byte) []byte { return b }, maxRegions + 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(c.patch(testLog(8, 0xff))), c.regions)
			require.Error(t, err)
			var damage *metadata.DamageError
			if c.field != "" {
				require.ErrorAs(t, err, &damage)
				require.Equal(t, c.field, damage.Field)
			}
		})
	}
	_, err := Read(bytes.NewReader(nil), 8)
	require.ErrorIs(t, err, io.EOF)
}

func FuzzRead(f *testing.F) {
	f.Add(testLog(40, 0xff, 0x01, 0xfe, 0xff, 0x55), int64(40))
	f.Add(testLog(1<<63, 0xff), int64(3))
	f.Fuzz(func(t *testing.T, b []byte, regions int64) {
		l, err := Read(bytes.NewReader(b), regions)
		if err != nil {
			return
		}
		want := int64(0)
		for at := int64(0); at < regions; {
			sync, n := l.Run(at)
			require.Positive(t, n)
			if sync {
				want += n
			}
			at += n
		}
		require.Equal(t, want, l.InSync())
	})
}
