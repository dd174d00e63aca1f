package cache_test

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/cache"
)

// realCache is the metadata device, 4.5 MiB, of a cache that the kernel has shut down
// cleanly: wb1 is of version 1, wb2 of version 2.
func realCache(t testing.TB, name string) []byte {
	t.Helper()
	b, err := corpus.ReadPacked("testdata/" + name + ".zst")
	require.NoError(t, err)
	return b
}

func read(b []byte) (*cache.Map, error) {
	return cache.Read(bytes.NewReader(b), int64(len(b)))
}

// dump is what cache_dump says of testdata.
type dump struct {
	Chunk    int64  `xml:"block_size,attr"` // sectors
	Blocks   int64  `xml:"nr_cache_blocks,attr"`
	Policy   string `xml:"policy,attr"`
	Mappings []struct {
		Block  uint32 `xml:"cache_block,attr"`
		Origin uint64 `xml:"origin_block,attr"`
		Dirty  bool   `xml:"dirty,attr"`
	} `xml:"mappings>mapping"`
}

// TestRealCacheAsCacheDumpReadsIt compares every mapping with what cache_dump 0.9.0 prints.
// That knows no dirty bits of version 2; the kernel's own status counted seven.
func TestRealCacheAsCacheDumpReadsIt(t *testing.T) {
	for i, name := range []string{"wb1", "wb2"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + name + ".xml")
			require.NoError(t, err)
			var want dump
			require.NoError(t, xml.Unmarshal(text, &want))
			m, err := read(realCache(t, name))
			require.NoError(t, err)
			require.NoError(t, m.Err)
			require.True(t, m.Clean)
			require.False(t, m.NeedsCheck)
			require.Equal(t, uint32(i+1), m.Version)
			require.Equal(t, want.Chunk*512, m.ChunkSize)
			require.Equal(t, want.Blocks, m.Blocks)
			require.Equal(t, want.Policy, m.Policy)
			var mappings []cache.Mapping
			dirty := 0
			for _, w := range want.Mappings {
				state := cache.Clean
				if w.Dirty || name == "wb2" && slices.Contains([]uint32{0, 1, 2, 10, 11, 12, 13}, w.Block) {
					state = cache.Dirty
					dirty++
				}
				mappings = append(mappings, cache.Mapping{Origin: w.Origin, Block: w.Block, State: state})
			}
			require.Positive(t, dirty)
			require.Less(t, dirty, len(mappings))
			slices.SortFunc(mappings, func(a, b cache.Mapping) int { return int(a.Origin) - int(b.Origin) })
			require.Equal(t, mappings, m.Mappings)
		})
	}
}

// seal makes a superblock's checksum right again.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b, btree.Sum(b[:btree.BlockSize], btree.CacheSuperblock))
}

func TestWithoutACleanShutdownAllIsDirty(t *testing.T) {
	for _, name := range []string{"wb1", "wb2"} {
		b := realCache(t, name)
		b[4] = 0
		seal(b)
		m, err := read(b)
		require.NoError(t, err)
		require.False(t, m.Clean)
		for _, e := range m.Mappings {
			require.Equal(t, cache.Dirty, e.State)
		}
	}
}

func TestSuperblockDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte)
		err    string
	}{
		{"torn", func(b []byte) { b[300] ^= 1 }, "metadata block 0 (byte 0): cache superblock.csum at byte 0"},
		{"at another place", func(b []byte) { b[8] = 1; seal(b) }, "says it is block 1, found as block 0"},
		{"magic", func(b []byte) { b[32]++; seal(b) }, "cache_disk_superblock.magic at byte 32: magic is 1623044, expected 1623043"},
		{"version", func(b []byte) { b[40] = 3; seal(b) }, "version is 3"},
		{"metadata blocks of another size", func(b []byte) { b[236] = 16; seal(b) }, "metadata blocks have 16 sectors, expected 8"},
		{"chunks of no size", func(b []byte) { b[232] = 0; seal(b) }, "cache blocks have 0 sectors"},
		{"chunks of an odd size", func(b []byte) { b[232]++; seal(b) }, "cache blocks have 129 sectors"},
		{"more blocks than metadata", func(b []byte) { b[243] = 0xff; seal(b) }, "are more than metadata of 4718592 bytes can tell of"},
		{"unknown features", func(b []byte) { b[252] = 1; seal(b) }, "features 0x1 are not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := realCache(t, "wb2")
			c.change(b)
			_, err := read(b)
			require.ErrorContains(t, err, c.err)
		})
	}
}

// made is a clean cache of version 2 with as many mappings, block i holding origin block
// origins[i], and one array block for each 509; its dirty bits are those given.
func made(origins []uint64, dirty []uint64) (image *pdata.Image, array, bits uint64) {
	image = pdata.New()
	var values, words []byte
	for _, o := range origins {
		values = binary.LittleEndian.AppendUint64(values, o<<16|1)
	}
	for _, w := range dirty {
		words = binary.LittleEndian.AppendUint64(words, w)
	}
	array = image.Array(8, values)
	bits = image.Array(8, words)
	b := image.Block(0)
	pdata.Put(b, 4, uint32(1))
	pdata.Put(b, 32, uint64(1623043))
	pdata.Put(b, 40, uint32(2))
	pdata.Put(b, 192, array)
	pdata.Put(b, 232, uint32(64))
	pdata.Put(b, 236, uint32(8))
	pdata.Put(b, 240, uint32(len(origins)))
	pdata.Put(b, 284, bits)
	image.Seal(0, btree.CacheSuperblock)
	return image, array, bits
}

func TestTwoBlocksOfOneOriginAreDisputed(t *testing.T) {
	image, _, _ := made([]uint64{7, 5, 7}, []uint64{1})
	m, err := read(*image)
	require.NoError(t, err)
	require.Equal(t, []cache.Mapping{{Origin: 5, Block: 1}, {Origin: 7, Block: 0, State: cache.Disputed}}, m.Mappings)
}

func TestDamagedArrays(t *testing.T) {
	origins := make([]uint64, 1200)
	for i := range origins {
		origins[i] = uint64(i)
	}
	dirty := make([]uint64, (len(origins)+63)/64)
	dirty[3] = 1 << 5

	image, _, _ := made(origins, dirty)
	m, err := read(*image)
	require.NoError(t, err)
	require.Len(t, m.Mappings, 1200)
	for i, e := range m.Mappings {
		require.Equal(t, i == 3*64+5, e.State == cache.Dirty)
	}

	image.Block(2)[99] ^= 1 // the second block of mappings
	m, err = read(*image)
	require.NoError(t, err)
	require.Len(t, m.Mappings, 1200-509)
	require.Equal(t, int64(509), m.Lost)
	require.ErrorContains(t, m.Err, "metadata block 2 (byte 8192): array block.csum")

	image, array, bits := made(origins, dirty)
	clear(image.Block(bits))
	m, err = read(*image)
	require.NoError(t, err)
	require.NoError(t, m.Err)
	for _, e := range m.Mappings {
		require.Equal(t, cache.Dirty, e.State, "what may be dirty counts as dirty")
	}
	clear(image.Block(array))
	m, err = read(*image)
	require.NoError(t, err)
	require.Empty(t, m.Mappings)
	require.Equal(t, int64(1200), m.Lost)
}

func FuzzRead(f *testing.F) {
	image, array, _ := made([]uint64{7, 5, 7}, []uint64{1})
	f.Add(image.Block(0), image.Block(array-1), image.Block(array))
	b := realCache(f, "wb2")
	root := binary.LittleEndian.Uint64(b[192:])
	f.Add(b[:btree.BlockSize], b[btree.BlockSize:2*btree.BlockSize], b[root*btree.BlockSize:][:btree.BlockSize])
	f.Fuzz(func(t *testing.T, super, array, node []byte) {
		b := make([]byte, 3*btree.BlockSize)
		for i, part := range [][]byte{super, array, node} {
			copy(b[i*btree.BlockSize:(i+1)*btree.BlockSize], part)
		}
		image := pdata.Image(b)
		image.Seal(0, btree.CacheSuperblock)
		image.Seal(1, btree.ArrayBlock)
		image.Seal(2, btree.NodeBlock)
		m, err := read(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, int64(len(m.Mappings))+m.Lost, m.Blocks)
		for i := 1; i < len(m.Mappings); i++ {
			require.Less(t, m.Mappings[i-1].Origin, m.Mappings[i].Origin)
		}
	})
}
