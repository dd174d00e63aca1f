package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata/integrity"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// checked makes a device of random blocks with tags, some of them wrong or not known, some
// superseded by the journal, and the model of what must be read from it.
func checked(t *testing.T, rnd *rand.Rand, blockSize int64) (*verified, model) {
	blocks := 1 + rnd.Int64N(40)
	size := blocks * blockSize
	sb := integrity.Superblock{
		TagSize: 4, BlockSize: blockSize, DataSize: size, Sections: 1,
		Tagged: rnd.Int64N(blocks+1) * blockSize, BitSize: 2 * blockSize, DirtyBitmap: rnd.IntN(2) == 0,
	}
	data, meta := make(memory, size), make(memory, sb.MetadataSize())
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	m := model{bytes.Clone(data), make([]block.State, size), make([]string, size)}
	var journal []integrity.Entry
	for b := range blocks {
		off := b * blockSize
		at, mask := sb.BitOffset(off)
		trusted := off+blockSize <= sb.Tagged && !(sb.DirtyBitmap && meta[at]&mask != 0)
		if sb.DirtyBitmap && b%2 == 0 && rnd.IntN(4) == 0 {
			meta[at] |= mask
			trusted = false
		}
		content, tag := data[off:off+blockSize], meta[sb.TagOffset(b):][:4]
		if rnd.IntN(5) == 0 { // its place in the journal does not matter here
			e := integrity.Entry{Off: off, At: sb.TagOffset(0) - blockSize*(1+int64(len(journal))), Tag: make([]byte, 4)}
			if e.At > 8192 {
				content, tag, trusted = meta[e.At:e.At+blockSize], e.Tag, true
				for i := range content {
					content[i] = byte(rnd.Uint32())
				}
				for s := int64(512); s <= blockSize; s += 512 {
					e.LastBytes = append(e.LastBytes, content[s-8:s]...)
				}
				copy(m.bytes[off:], content)
				journal = append(journal, e)
			}
		}
		sum := crc32.Checksum(append(binary.LittleEndian.AppendUint64(nil, uint64(off/512)), content...), crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(tag, sum)
		if len(journal) > 0 && journal[len(journal)-1].Off == off {
			for s := int64(512); s <= blockSize; s += 512 {
				clear(content[s-8 : s]) // commit ids stand there
			}
		}
		if rnd.IntN(6) == 0 {
			tag[rnd.IntN(4)]++
			for i := off; trusted && i < off+blockSize; i++ {
				m.state[i], m.why[i] = block.Bad, WrongChecksum
			}
		}
	}
	return &verified{replayed{data, meta, journal, blockSize}, sb}, m
}

func TestIntegrityAgainstModel(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		d, m := checked(t, rnd, 512<<rnd.IntN(4))
		for range 20 {
			off := rnd.Int64N(d.Size())
			checkRead(t, d, m, off, rnd.Int64N(d.Size()-off)+1)
		}
		checkRead(t, d, m, 0, d.Size())
		require.Equal(t, 1, count(d.Extents(0, d.Size())))
	}
}

// TestIntegrityGivesSectorsOfBrokenBlocks: what of a block can be read is given, though it
// cannot be checked.
func TestIntegrityGivesSectorsOfBrokenBlocks(t *testing.T) {
	sb := integrity.Superblock{TagSize: 4, BlockSize: 4096, DataSize: 3 * 4096, Sections: 1, BitSize: 4096}
	data := memory(bytes.Repeat([]byte("data"), 3*1024))
	d := &verified{replayed{disk{data, map[int64]bool{10: true}}, make(memory, sb.MetadataSize()), nil, 4096}, sb}
	p := make([]byte, d.Size())
	var bad []block.Extent
	require.NoError(t, block.ReadRange(d, p, 0, func(e block.Extent) {
		if e.State == block.Bad {
			bad = append(bad, e)
		}
	}))
	require.Equal(t, []block.Extent{{Off: 10 * 512, Len: 512, State: block.Bad, Why: "medium error"}}, bad)
	require.Equal(t, []byte(data[:5120]), p[:5120])
	require.Equal(t, []byte(data[5632:]), p[5632:])
}

// TestIntegrityTellsTheLegThatLies flips bits of legs without the disk noticing. The bitmap
// of "bitmap" calls all of its tags out of date, so that one is not among them.
func TestIntegrityTellsTheLegThatLies(t *testing.T) {
	for _, lv := range []string{"vgi/small", "vgi/parity", "vgi/calm"} {
		t.Run(lv, func(t *testing.T) {
			c := fixtures.Open(t, "integrity")
			flip(t, c, lv+"_rimage_0_iorig", 33*4096+77)
			flip(t, c, lv+"_rimage_1_iorig", 50*4096)
			dev := openLV(t, c, lv)
			content, doubtful := make([]byte, dev.Size()), int64(0)
			require.NoError(t, block.ReadRange(dev, content, 0, func(e block.Extent) {
				require.NotEqual(t, block.Bad, e.State, e.Why)
				if e.State == block.Doubtful {
					doubtful += e.Len
				}
			}))
			require.Equal(t, c.Golden[lv].SHA256, sha256.Sum256(content))
			if lv == "vgi/parity" { // its bitmap calls regions dirty: parity need not fit there
				require.LessOrEqual(t, doubtful, int64(2*4096))
			} else {
				require.Zero(t, doubtful)
			}

			for _, leg := range []string{"_rimage_0_iorig", "_rimage_1_iorig", "_rimage_2_iorig"} {
				if vg, sub, err := find(t, c, lv+leg, rebuild.Options{}); err == nil && vg != nil && sub != nil {
					flip(t, c, lv+leg, 60*4096+9)
				}
			}
			dev = openLV(t, c, lv)
			var lost int64
			require.NoError(t, block.ReadRange(dev, make([]byte, dev.Size()), 0, func(e block.Extent) {
				if e.State == block.Bad {
					lost += e.Len
				}
			}))
			require.Positive(t, lost)
			require.LessOrEqual(t, lost, int64(2*4096))
		})
	}
}

// openLV opens an LV of a corpus.
func openLV(t *testing.T, c *fixtures.Corpus, key string) block.Device {
	t.Helper()
	vg, lv, err := find(t, c, key, rebuild.Options{})
	require.NoError(t, err)
	plan, err := activate.New(vg, lv, OpenVolume)
	require.NoError(t, err)
	return Open(plan)
}

// flip changes a bit of a linear LV of one segment, behind LVM's back.
func flip(t *testing.T, c *fixtures.Corpus, key string, off int64) {
	t.Helper()
	vg, lv, err := find(t, c, key, rebuild.Options{})
	require.NoError(t, err)
	plan, err := activate.New(vg, lv, OpenVolume)
	require.NoError(t, err)
	in := plan.Root.Segments[0].Target.(activate.Linear).Input
	f, err := os.OpenFile(in.PV.Found.Source.Name, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	var b [1]byte
	at := in.PV.Found.Offset + in.Off + off
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
}

// TestTheJournalIsNeeded: the corpus is one whose leg is out of date without it.
func TestTheJournalIsNeeded(t *testing.T) {
	c := fixtures.Open(t, "integrity-journal")
	head := func(key string) []byte {
		b := make([]byte, 2<<20)
		_, err := openLV(t, c, key).ReadAt(b, 0)
		require.NoError(t, err)
		return b
	}
	require.False(t, bytes.Equal(head("vgj/log_rimage_0"), head("vgj/log_rimage_0_iorig")))
}

func BenchmarkIntegrity(b *testing.B) {
	sb := integrity.Superblock{TagSize: 4, BlockSize: 4096, DataSize: 16 << 20, Sections: 1, BitSize: 4096, Tagged: 16 << 20}
	meta := make(memory, sb.MetadataSize())
	for i := sb.TagOffset(0); i < meta.Size(); i++ {
		meta[i] = 0xf6 // as of discarded blocks: fits any data, but the sum is made all the same
	}
	d := &verified{replayed{make(memory, 16<<20), meta, nil, 4096}, sb}
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		if _, err := d.ReadAt(p, int64(i)%16<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTagsAmongTheData flips a bit in the middle of each LV of which the tags stand among the
// data: the block is refused, and nothing else.
func TestTagsAmongTheData(t *testing.T) {
	c := fixtures.Open(t, "integrity-tags")
	for _, key := range []string{"vgt/small", "vgt/large", "vgt/bits", "vgt/calm"} {
		t.Run(key[4:], func(t *testing.T) {
			p, dev := found(t, c, key)
			healthy := content(t, dev)
			target := p.Root.Segments[0].Target.(activate.Integrity)
			const off = 300 << 12
			at, _ := target.Superblock.DataOffset(off)
			undo := under(t, activate.Input{Volume: target.Meta}).change(t, at, 1, func(b []byte) { b[0] ^= 1 })
			_, dev = found(t, c, key)
			got := make([]byte, dev.Size())
			var bad []block.Extent
			require.NoError(t, block.ReadRange(dev, got, 0, func(e block.Extent) {
				if e.State == block.Bad {
					bad = append(bad, e)
				}
			}))
			require.Equal(t, []block.Extent{{Off: off, Len: target.Superblock.BlockSize, State: block.Bad, Why: WrongChecksum}}, bad)
			copy(got[off:], healthy[off:][:target.Superblock.BlockSize])
			require.Equal(t, healthy, got)
			undo()

			under(t, activate.Input{Volume: target.Meta}).change(t, 0, 512, func(b []byte) { clear(b) })
			_, dev = found(t, c, key)
			require.Equal(t, dev.Size(), block.Summarise(dev).Bad)
			p, _ = found(t, c, key)
			require.Contains(t, p.Root.Segments[0].Target.String(), "without the superblock nothing can be found")
			require.NotEmpty(t, p.Root.Segments[0].Target.Inputs(), "for there is something to be read yet")
		})
	}
}
