package metadata

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// decodeFile decodes a text of testdata/text, after old is replaced by new.
func decodeFile(t testing.TB, name string, oldnew ...string) *VG {
	t.Helper()
	raw, err := os.ReadFile("testdata/text/" + name)
	require.NoError(t, err)
	edited := strings.NewReplacer(oldnew...).Replace(string(raw))
	if len(oldnew) > 0 {
		require.NotEqual(t, string(raw), edited, "nothing was replaced")
	}
	vg, err := ParseTolerant([]byte(edited))
	require.NoError(t, err)
	return vg
}

func findLV(t testing.TB, vg *VG, name string) *LV {
	t.Helper()
	for _, lv := range vg.LVs {
		if lv.Name == name {
			return lv
		}
	}
	require.Fail(t, "no LV "+name)
	return nil
}

func ptr[T any](v T) *T { return &v }

// TestSegmentTypes reads the typed fields of each segment type from a text of lvm2.
func TestSegmentTypes(t *testing.T) {
	vg := decodeFile(t, "types.raw.vg")
	legs := func(name string, n int) (legs []Leg) {
		for i := range n {
			s := string(rune('0' + i))
			legs = append(legs, Leg{name + "_rmeta_" + s, name + "_rimage_" + s})
		}
		return legs
	}
	view := func(v any, err error) any {
		require.NoError(t, err)
		return v
	}
	for name, test := range map[string]struct {
		get  func(*Segment) any
		want any
	}{
		"r0": {func(s *Segment) any { return view(s.RAID()) }, RAID{StripeSize: 128,
			Legs: []Leg{{Image: "r0_rimage_0"}, {Image: "r0_rimage_1"}, {Image: "r0_rimage_2"}, {Image: "r0_rimage_3"}}}},
		"r0m": {func(s *Segment) any { return view(s.RAID()) }, RAID{StripeSize: 128, Legs: legs("r0m", 4)}},
		"r1": {func(s *Segment) any { return view(s.RAID()) }, RAID{RegionSize: 4096, WriteBehind: 16,
			MinRecoveryRate: 128, MaxRecoveryRate: 1024, Legs: legs("r1", 2)}},
		"r5r": {func(s *Segment) any { return view(s.RAID()) }, RAID{RegionSize: 4096, StripeSize: 32,
			DataOffset: ptr(int64(0)), Legs: legs("r5r", 4)}},
		"r10": {func(s *Segment) any { return view(s.RAID()) }, RAID{RegionSize: 4096, StripeSize: 128,
			DataCopies: 2, Legs: legs("r10", 4)}},
		"mir":     {func(s *Segment) any { return view(s.Mirror()) }, Mirror{Log: "mir_mlog", RegionSize: 1024}},
		"pvmove0": {func(s *Segment) any { return view(s.Mirror()) }, Mirror{RegionSize: 1024, ExtentsMoved: ptr(int64(3))}},
		"snapshot0": {func(s *Segment) any { return view(s.Snapshot()) },
			Snapshot{ChunkSize: 8, Origin: "orig", COW: "snap"}},
		"snapshot1": {func(s *Segment) any { return view(s.Snapshot()) },
			Snapshot{ChunkSize: 16, Origin: "morig", COW: "msnap", Merging: true}},
		"pool": {func(s *Segment) any { return view(s.ThinPool()) }, ThinPool{Metadata: "pool_tmeta", Data: "pool_tdata",
			TransactionID: 5, ChunkSize: 128, Discards: "passdown", ZeroNewBlocks: true,
			Messages: []ThinMessage{{Create: "thin2"}, {Delete: 9}}}},
		"cpool": {func(s *Segment) any { return view(s.ThinPool()) }, ThinPool{Metadata: "cpool_tmeta", Data: "cpool_tdata",
			ChunkSize: 8192, Discards: "nopassdown", CropMetadata: ptr(int64(1))}},
		"thin2": {func(s *Segment) any { return view(s.Thin()) },
			Thin{Pool: "pool", TransactionID: 4, DeviceID: 2, Origin: "thin1"}},
		"thin3": {func(s *Segment) any { return view(s.Thin()) },
			Thin{Pool: "pool", TransactionID: 2, DeviceID: 3, ExternalOrigin: "ext"}},
		"cached": {func(s *Segment) any { return view(s.Cache()) }, Cache{Pool: "fast_cpool", Origin: "cached_corig"}},
		"vc": {func(s *Segment) any { return view(s.Cache()) }, Cache{Pool: "vc_cvol", Origin: "vc_corig", UsesCachevol: true,
			CacheSettings: CacheSettings{MetadataFormat: 2, ChunkSize: 128, Mode: "writethrough", Policy: "smq"},
			MetadataSize:  16384, DataStart: 16384, DataSize: 32768}},
		"wc": {func(s *Segment) any { return view(s.Writecache()) },
			Writecache{Cache: "wc_cvol", Origin: "wc_wcorig", BlockSize: 4096}},
		"ri_rimage_1": {func(s *Segment) any { return view(s.Integrity()) }, Integrity{Origin: "ri_rimage_1_iorig",
			Metadata: "ri_rimage_1_imeta", DataSectors: 24576, Mode: "B", TagSize: 4, BlockSize: 512,
			InternalHash: "crc32c", Recalculate: true, JournalSectors: 800, BufferSectors: 128}},
		"vpool0": {func(s *Segment) any { return view(s.VDOPool()) }, VDOPool{Data: "vpool0_vdata", HeaderSize: 1024,
			VirtualExtents: 300, Compression: true, Deduplication: true, MetadataHints: true, MinimumIOSize: 4096,
			IndexMemory: 256, SlabSize: 2048, WritePolicy: "async"}},
		"vdo0": {func(s *Segment) any { return view(s.VDO()) }, VDO{Pool: "vpool0"}},
	} {
		t.Run(name, func(t *testing.T) {
			lv := findLV(t, vg, name)
			require.Len(t, lv.Segments, 1)
			require.Equal(t, test.want, test.get(lv.Segments[0]))
		})
	}

	pool, err := findLV(t, vg, "fast_cpool").Segments[0].CachePool()
	require.NoError(t, err)
	threshold, ok := pool.PolicySettings.Int("migration_threshold")
	require.True(t, ok)
	require.EqualValues(t, 4096, threshold)
	require.Equal(t, "writeback", pool.Mode)
}

func TestSegmentTypeFlags(t *testing.T) {
	vg := decodeFile(t, "types.raw.vg")
	for name, test := range map[string]struct {
		segType string
		flags   []string
		known   bool
	}{
		"r5r":    {"raid5", []string{"RESHAPE", "RESHAPE_DATA_OFFSET"}, true},
		"vc":     {"cache", []string{"CACHE_USES_CACHEVOL"}, true},
		"newer":  {"striped+NOVEL", nil, false},
		"alien":  {"tier-thin-pool", nil, false},
		"thin1":  {"thin", nil, true},
		"r6":     {"raid6_zr", nil, true},
		"cached": {"cache", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := findLV(t, vg, name).Segments[0]
			require.Equal(t, test.segType, s.Type)
			require.Equal(t, test.flags, s.TypeFlags)
			require.Equal(t, test.known, KnownSegmentType(s.Type))
		})
	}
	require.True(t, findLV(t, vg, "r5r").HasStatus("RESHAPE"))
	require.True(t, findLV(t, vg, "pool").HasStatus("ERROR_WHEN_FULL"))
	require.False(t, findLV(t, vg, "pool_tdata").Visible())
}

// TestSegmentTypeErrors asks for fields of another type and for damaged ones.
func TestSegmentTypeErrors(t *testing.T) {
	vg := decodeFile(t, "types.raw.vg",
		"cow_store = \"snap\"", "cow_store = 5",
		"device_id = 2\n", "device_id = 16777216\n",
		"metadata_len = 16384\n", "",
		"create = \"thin2\"", "")
	_, err := findLV(t, vg, "plain").Segments[0].RAID()
	require.ErrorContains(t, err, "segment1 is of type striped, not raid")
	_, err = findLV(t, vg, "plain").Segments[0].Thin()
	require.ErrorContains(t, err, "segment1 is of type striped, not thin")
	_, err = findLV(t, vg, "snapshot0").Segments[0].Snapshot()
	require.ErrorContains(t, err, "cow_store is 5, not text")
	_, err = findLV(t, vg, "thin2").Segments[0].Thin()
	require.ErrorContains(t, err, "device_id is 16777216, not between 0 and 16777215")
	_, err = findLV(t, vg, "vc").Segments[0].Cache()
	require.ErrorContains(t, err, "places of metadata and data")
	_, err = findLV(t, vg, "pool").Segments[0].ThinPool()
	require.ErrorContains(t, err, "message1 must either create or delete")
}
