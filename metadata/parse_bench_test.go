package metadata

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// largeText makes the raw text of a VG with so many LVs, in the bytes that lvm2 would write.
func largeText(lvs int) []byte {
	vg := &VG{
		Name: "vg", ID: testID(0), Seqno: uint32(lvs), Format: "lvm2",
		Status: []string{"RESIZEABLE", "READ", "WRITE"}, ExtentSize: 8192,
		CreationHost: "host", CreationTime: unixTime(1795340515),
		Description: "Write from lvcreate -l 1 vg.",
	}
	for i := range 8 {
		vg.PVs = append(vg.PVs, &PV{Key: fmt.Sprint("pv", i), ID: testID(i + 1), Device: fmt.Sprint("/dev/sd", string(rune('a'+i))),
			Status: []string{"ALLOCATABLE"}, DevSize: 1 << 31, PEStart: 2048, PECount: 262143})
	}
	for i := range lvs {
		vg.LVs = append(vg.LVs, &LV{Name: fmt.Sprintf("lvol%d", i), ID: testID(100 + i),
			Status: []string{"READ", "WRITE", "VISIBLE"}, CreationTime: unixTime(1795340515), CreationHost: "host",
			Segments: []*Segment{{ExtentCount: 1, Type: "striped", Areas: []Area{{fmt.Sprint("pv", i%8), int64(i / 8)}}}}})
	}
	return Encode(vg, Raw)
}

// testID makes a UUID out of a number.
func testID(i int) ID { return ID(fmt.Sprintf("%032d", i)) }

// TestLargeText holds the generator against lvm2's form, and a large text against itself.
func TestLargeText(t *testing.T) {
	raw := largeText(1000)
	require.NoError(t, CheckWhole(raw))
	text, err := Parse(raw)
	require.NoError(t, err)
	require.Equal(t, string(raw), string(text.Bytes()))
	vg, err := Decode(text)
	require.NoError(t, err)
	require.Len(t, vg.LVs, 1000)
	require.Empty(t, Check(vg))
	require.Equal(t, string(raw), string(Encode(vg, Raw)))
	require.Contains(t, string(raw), `
lvol7 {
id = "000000-0000-0000-0000-0000-0000-000107"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
creation_time = 1795340515
creation_host = "host"
segment_count = 1

segment1 {
start_extent = 0
extent_count = 1

type = "striped"
stripe_count = 1

stripes = [
"pv7", 0
]
}
}
`)
}

// BenchmarkParse parses and decodes a text of 10,000 LVs.
func BenchmarkParse(b *testing.B) {
	raw := largeText(10000)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		text, err := Parse(raw)
		require.NoError(b, err)
		vg, err := Decode(text)
		require.NoError(b, err)
		require.NotNil(b, vg)
	}
}

func BenchmarkParseTolerantDamaged(b *testing.B) {
	raw := largeText(10000)
	raw[len(raw)/2] = 0xff
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		vg, err := ParseTolerant(raw)
		require.Error(b, err)
		require.NotNil(b, vg)
	}
}

func BenchmarkEncode(b *testing.B) {
	raw := largeText(10000)
	vg, err := ParseTolerant(raw)
	require.NoError(b, err)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		require.Len(b, Encode(vg, Raw), len(raw))
	}
}

func BenchmarkCheck(b *testing.B) {
	vg, err := ParseTolerant(largeText(10000))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		require.Empty(b, Check(vg))
	}
}
