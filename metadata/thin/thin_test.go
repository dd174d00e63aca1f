package thin_test

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
)

// realPool is the metadata device of a pool with 9 devices, 2 MiB, as the kernel left it.
func realPool(t testing.TB) []byte {
	t.Helper()
	b, err := corpus.ReadPacked("testdata/tmeta.zst")
	require.NoError(t, err)
	return b
}

func open(b []byte) (*thin.Pool, error) {
	return thin.Open(bytes.NewReader(b), int64(len(b)))
}

// dump is what thin_dump says of testdata/tmeta.zst.
type dump struct {
	Time        uint32 `xml:"time,attr"`
	Transaction uint64 `xml:"transaction,attr"`
	Chunk       int64  `xml:"data_block_size,attr"` // sectors
	DataBlocks  uint64 `xml:"nr_data_blocks,attr"`
	Devices     []struct {
		ID          uint32 `xml:"dev_id,attr"`
		Mapped      uint64 `xml:"mapped_blocks,attr"`
		Transaction uint64 `xml:"transaction,attr"`
		Created     uint32 `xml:"creation_time,attr"`
		Snapped     uint32 `xml:"snap_time,attr"`
		Singles     []struct {
			Block uint64 `xml:"origin_block,attr"`
			Data  uint64 `xml:"data_block,attr"`
			Time  uint32 `xml:"time,attr"`
		} `xml:"single_mapping"`
		Ranges []struct {
			Block uint64 `xml:"origin_begin,attr"`
			Data  uint64 `xml:"data_begin,attr"`
			Len   uint64 `xml:"length,attr"`
			Time  uint32 `xml:"time,attr"`
		} `xml:"range_mapping"`
	} `xml:"device"`
}

// TestRealPoolAsThinDumpReadsIt compares every mapping with what thin_dump 0.9.0 prints.
func TestRealPoolAsThinDumpReadsIt(t *testing.T) {
	text, err := os.ReadFile("testdata/tmeta.xml")
	require.NoError(t, err)
	var want dump
	require.NoError(t, xml.Unmarshal(text, &want))
	require.Len(t, want.Devices, 9)

	p, err := open(realPool(t))
	require.NoError(t, err)
	require.Equal(t, want.Time, p.Time)
	require.Equal(t, want.Transaction, p.TransactionID)
	require.Equal(t, want.Chunk*512, p.ChunkSize)
	require.Equal(t, want.DataBlocks, p.DataBlocks)
	require.Equal(t, uint64(512), p.MetadataBlocks)
	require.NotZero(t, p.HeldRoot)
	require.False(t, p.NeedsCheck)
	for _, dev := range want.Devices {
		details, ok, err := p.Details(dev.ID)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, thin.Details{Mapped: dev.Mapped, TransactionID: dev.Transaction, Created: dev.Created, Snapped: dev.Snapped}, details)

		mapped := map[uint64][2]uint64{}
		for _, m := range dev.Singles {
			mapped[m.Block] = [2]uint64{m.Data, uint64(m.Time)}
		}
		for _, m := range dev.Ranges {
			for i := range m.Len {
				mapped[m.Block+i] = [2]uint64{m.Data + i, uint64(m.Time)}
			}
		}
		d, ok, err := p.Device(dev.ID)
		require.NoError(t, err)
		require.True(t, ok)
		const last = 5000
		next := uint64(0)
		for r := range d.Runs(0, last) {
			require.Equal(t, next, r.First)
			next = r.Last + 1
			require.NotEqual(t, thin.Lost, r.State)
			for b := r.First; b <= r.Last; b++ {
				m, ok := mapped[b]
				require.Equal(t, ok, r.State == thin.Mapped, "device %d block %d", dev.ID, b)
				if ok {
					require.Equal(t, m, [2]uint64{r.Data + b - r.First, uint64(r.Time)})
				}
				delete(mapped, b)
			}
		}
		require.Equal(t, uint64(last+1), next)
		require.Empty(t, mapped)
	}
	_, ok, err := p.Device(77)
	require.NoError(t, err)
	require.False(t, ok)
	_, ok, err = p.Details(77)
	require.NoError(t, err)
	require.False(t, ok)
}

// seal makes a superblock's checksum right again.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, btree.Sum(b[:btree.BlockSize], btree.ThinSuperblock))
	return b
}

func TestSuperblockDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte)
		err    string
	}{
		{"torn", func(b []byte) { clear(b[512:4096]); b[300] ^= 1 }, "metadata block 0 (byte 0): thin superblock.csum at byte 0"},
		{"at another place", func(b []byte) { b[8] = 1; seal(b) }, "thin superblock.blocknr at byte 8: says it is block 1, found as block 0"},
		{"magic", func(b []byte) { b[32]++; seal(b) }, "thin_disk_superblock.magic at byte 32: magic is 27022011, expected 27022010"},
		{"version 0", func(b []byte) { b[40] = 0; seal(b) }, "version is 0"},
		{"version 3", func(b []byte) { b[40] = 3; seal(b) }, "version is 3"},
		{"metadata blocks of another size", func(b []byte) { b[340] = 16; seal(b) }, "metadata blocks have 16 sectors, expected 8"},
		{"chunks of no size", func(b []byte) { b[336] = 0; seal(b) }, "data blocks have 0 sectors"},
		{"chunks of an odd size", func(b []byte) { b[336]++; seal(b) }, "data blocks have 129 sectors"},
		{"chunks beyond the limit", func(b []byte) { b[339] = 0xff; seal(b) }, "data blocks have"},
		{"unknown features", func(b []byte) { b[360] = 4; seal(b) }, "features 0x4 are not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := realPool(t)
			c.change(b)
			_, err := open(b)
			require.ErrorContains(t, err, c.err)
		})
	}
	b := realPool(t)
	b[4] |= 1
	seal(b)
	p, err := open(b)
	require.NoError(t, err)
	require.True(t, p.NeedsCheck)
	_, err = open(nil)
	require.ErrorContains(t, err, "lies beyond the 0 blocks")
}

const devices, lastBlock = 9, 1023 // of realPool

// mappings reads all devices: for each (id, block) its data block, 0 for a hole, lost for
// what is not known.
func mappings(t *testing.T, p *thin.Pool, lost uint64) (all [devices][lastBlock + 1]uint64) {
	for id := range all {
		d, ok, err := p.Device(uint32(id + 1))
		require.Equal(t, err == nil, ok)
		if err != nil {
			for b := range all[id] {
				all[id][b] = lost
			}
			continue
		}
		for r := range d.Runs(0, lastBlock) {
			for b := r.First; b <= r.Last; b++ {
				switch r.State {
				case thin.Mapped:
					all[id][b] = 1 + r.Data + b - r.First
				case thin.Lost:
					all[id][b] = lost
				}
			}
		}
	}
	return all
}

// TestEveryBlockDamaged breaks each block of the device in turn: what is then read is what
// was there before, or lost.
func TestEveryBlockDamaged(t *testing.T) {
	const lost = 1 << 50
	b := realPool(t)
	p, err := open(b)
	require.NoError(t, err)
	want := mappings(t, p, lost)
	costly := 0
	for at := btree.BlockSize; at < len(b); at += btree.BlockSize {
		b[at+2000] ^= 0x40
		p, err := open(b)
		require.NoError(t, err)
		got := mappings(t, p, lost)
		b[at+2000] ^= 0x40
		if got == want {
			continue
		}
		costly++
		for id := range got {
			for block, v := range got[id] {
				if v != lost && v != want[id][block] {
					t.Fatalf("metadata block %d damaged: device %d block %d is at %d, was at %d", at/btree.BlockSize, id+1, block, v, want[id][block])
				}
			}
		}
	}
	require.Equal(t, 8, costly, "the root, and 7 trees of 9 devices: two pairs share theirs")
}

// million is a pool of one device of 1,000,000 mappings, no two of them neighbours in the
// data device.
func million() ([]byte, uint64) {
	m := pdata.New()
	entries := make([]pdata.Entry, 1e6)
	for i := range entries {
		entries[i] = pdata.Number(uint64(i), uint64(i)*7919%1e6<<24|5)
	}
	root := m.Tree(8, entries)
	return *m, root
}

// BenchmarkMillionMappings reads them all, from a device whose nodes are not known yet.
func BenchmarkMillionMappings(b *testing.B) {
	image, root := million()
	src := bytes.NewReader(image)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for r := range thin.NewDevice(btree.NewReader(src, int64(len(image))), root).Runs(0, 1e6-1) {
			if r.State != thin.Mapped {
				b.Fatal(r)
			}
			n += int(r.Last - r.First + 1)
		}
		if n != 1e6 {
			b.Fatal(n)
		}
	}
}

func FuzzPool(f *testing.F) {
	whole := realPool(f)
	p, err := open(whole)
	require.NoError(f, err)
	f.Add(whole[:btree.BlockSize], whole[p.MappingRoot*btree.BlockSize:][:btree.BlockSize], uint32(1))
	f.Add(whole[:btree.BlockSize], whole[p.DetailsRoot*btree.BlockSize:][:btree.BlockSize], uint32(2))
	f.Fuzz(func(t *testing.T, super, node []byte, id uint32) {
		b := make([]byte, 3*btree.BlockSize)
		copy(b[:btree.BlockSize], super)
		copy(b[btree.BlockSize:2*btree.BlockSize], node)
		seal(b)
		binary.LittleEndian.PutUint64(b[btree.BlockSize+8:], 1)
		binary.LittleEndian.PutUint32(b[btree.BlockSize:], btree.Sum(b[btree.BlockSize:2*btree.BlockSize], btree.NodeBlock))
		p, err := open(b)
		if err != nil {
			return
		}
		_, _, _ = p.Details(id)
		d, ok, err := p.Device(id)
		if !ok || err != nil {
			d = thin.NewDevice(p.Reader, 1)
		}
		next := uint64(0)
		for r := range d.Runs(0, 1<<40) {
			require.Equal(t, next, r.First)
			require.GreaterOrEqual(t, r.Last, r.First)
			next = r.Last + 1
		}
		require.Equal(t, uint64(1<<40+1), next)
	})
}
