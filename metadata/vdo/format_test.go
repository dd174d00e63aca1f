package vdo

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGeometry(t *testing.T) {
	g, err := ParseGeometry(realCrash(t).blocks[0])
	require.NoError(t, err)
	require.Equal(t, uint64(679128), g.DataStart, "an index of 256 MiB of memory")
	require.Zero(t, g.BioOffset)
	for _, version := range []uint32{4, 5} {
		g, err := ParseGeometry(geometryBlock(version))
		require.NoError(t, err)
		require.Equal(t, Geometry{Nonce: nonce, UUID: [16]byte([]byte("the volume's uui")), DataStart: superAt}, g)
	}
}

// damage is a way to break a record.
type damage struct {
	name   string
	change func(b []byte)
	err    string
}

func TestGeometryDamage(t *testing.T) {
	mend := func(b []byte) { binary.LittleEndian.PutUint32(b[97:], checksum(b[:97])) }
	for _, c := range []damage{
		{"zeros", func(b []byte) { clear(b) }, `vdo.geometry_block.magic_number at byte 0`},
		{"component", func(b []byte) { b[8] = 4 }, "component is 4, expected 5"},
		{"version", func(b []byte) { b[12] = 6 }, "version is 6.0, expected 4.0 or 5.0"},
		{"size", func(b []byte) { b[20] = 93 }, "size is 93, expected 101"},
		{"a flipped bit", func(b []byte) { b[40] ^= 1 }, "vdo.geometry_block.checksum at byte 97"},
		{"bio_offset", func(b []byte) { b[56] = 9; mend(b) }, "blocks are moved by 9"},
		{"region", func(b []byte) { b[76] = 3; mend(b) }, "region 3 begins at block 2, expected region 1"},
		{"start", func(b []byte) { b[87] = 9; mend(b) }, "vdo.geometry_block.regions[1] at byte 76"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := geometryBlock(5)
			c.change(b)
			_, err := ParseGeometry(b)
			require.ErrorContains(t, err, c.err)
		})
	}
	_, err := ParseGeometry(geometryBlock(5)[:50])
	require.ErrorContains(t, err, "size is 101")
}

func TestSuperBlock(t *testing.T) {
	sb, err := ParseSuperBlock(realCrash(t).blocks[679128])
	require.NoError(t, err)
	require.Equal(t, SuperBlock{
		State: Dirty, Recoveries: 1, LogicalBlocks: realLogical, PhysicalBlocks: realSize / BlockSize, Nonce: sb.Nonce,
		Journal: Range{1277888, 32768}, JournalStart: 4, BlockMapPages: 12,
		SlabBlocks: 32768, SlabDataBlocks: 32535, FirstSlab: 679189, EndOfSlabs: 1269013,
		RootOrigin: 679129, Roots: 60,
	}, sb)
	require.True(t, sb.IsData(679189))
	require.False(t, sb.IsData(679188))
	require.False(t, sb.IsData(679189+32535), "reference counts")
	require.True(t, sb.IsData(679189+32768))
	require.False(t, sb.IsData(1269013))
}

func TestSuperBlockDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     int // byte to change
		to     byte
		err    string
		broken bool // the checksum is not mended
	}{
		{"component", 0, 1, "vdo.super_block.id at byte 0: component is 1", false},
		{"version", 4, 13, "version is 13.0, expected 12.0", false},
		{"size", 12, 0, "vdo.super_block.size at byte 12", false},
		{"flipped bit", 60, 1, "vdo.super_block.checksum at byte 434", true},
		{"volume version", 24, 66, "vdo.super_block.volume_version at byte 24: version is 66.0", false},
		{"component version", 32, 40, "vdo.super_block.component_version at byte 32", false},
		{"logical size", 67, 1, "vdo.super_block.logical_blocks at byte 60", false},
		{"physical size", 75, 1, "vdo.super_block.physical_blocks at byte 68", false},
		{"layout", 108, 9, "vdo.layout.id at byte 108", false},
		{"partitions", 144, 5, "there are 5 partitions", false},
		{"partition twice", 145, 1, "partition 1 is unknown or there twice", false},
		{"partition unknown", 145, 7, "partition 7 is unknown", false},
		{"journal size in the layout", 187, 4, "the recovery journal has 4 blocks, expected 8", false},
		{"journal size", 84, 7, "the recovery journal has 8 blocks, expected 7", false},
		{"journal start", 174, 9, "vdo.super_block.recovery_journal_size at byte 84", false},
		{"journal", 245, 3, "vdo.recovery_journal.id at byte 245", false},
		{"depot", 289, 2, "vdo.slab_depot.id at byte 289", false},
		{"no slabs", 309, 0, "slabs of 0 blocks hold 90", false},
		{"too much data", 317, 101, "slabs of 100 blocks hold 101", false},
		{"first slab", 365, 0, "vdo.slab_depot.first_block at byte 365", false},
		{"last slab", 374, 1, "slabs reach from block 5 to", false},
		{"block map", 382, 3, "vdo.block_map.id at byte 382", false},
		{"roots", 426, 0, "vdo.block_map.root_count at byte 426", false},
		{"many roots", 427, 4, "vdo.block_map.root_count at byte 426", false},
		{"root origin", 424, 1, "roots from block", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newDisk().blocks[superAt]
			require.NotEqual(t, c.to, b[c.at])
			b[c.at] = c.to
			if !c.broken {
				binary.LittleEndian.PutUint32(b[434:], checksum(b[:434]))
			}
			_, err := ParseSuperBlock(b)
			require.ErrorContains(t, err, c.err)
		})
	}
	_, err := ParseSuperBlock(make([]byte, 100))
	require.ErrorContains(t, err, "has 100 bytes")
}

func TestOpenDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(d *disk)
		err    string
	}{
		{"nothing", func(d *disk) { clear(d.blocks) }, "VDO geometry block at byte 0: vdo.geometry_block.magic_number"},
		{"geometry unreadable", func(d *disk) { d.lost[0] = true }, "VDO geometry block at byte 0: scratched"},
		{"cut off", func(d *disk) { d.size = 2 * BlockSize }, "the super block is at byte 8192, behind the end of 8192 bytes"},
		{"super block unreadable", func(d *disk) { d.lost[superAt] = true }, "VDO super block at byte 8192: scratched"},
		{"super block lost", func(d *disk) { delete(d.blocks, superAt) }, "VDO super block at byte 8192: vdo.super_block.version"},
		{"of two volumes", func(d *disk) {
			d.blocks[superAt] = newDisk(func(sb *SuperBlock) { sb.Nonce++ }).blocks[superAt]
		}, "its nonce is 78, the geometry block's 77"},
		{"journal unreadable", func(d *disk) {
			d.blocks[superAt] = newDisk(dirty).blocks[superAt]
			for p := range uint64(8) {
				d.lost[journalAt+p] = true
			}
		}, "VDO recovery journal at byte 839680: no block of the recovery journal can be used: block 205: scratched"},
		{"journal longer than its place", func(d *disk) {
			d.blocks[superAt] = newDisk(dirty).blocks[superAt]
			d.journalBlock(20, 12, data(0, 10))
		}, "goes from block 12 to 20, but has room for 8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk()
			c.change(d)
			_, err := Open(d, d.size)
			require.ErrorContains(t, err, c.err)
		})
	}
}

func TestStates(t *testing.T) {
	require.Equal(t, "dirty", Dirty.String())
	require.Equal(t, "to be rebuilt for an upgrade", RebuildForUpgrade.String())
	require.Equal(t, "state 9", State(9).String())
	for s := range State(10) {
		require.Equal(t, s == ReadOnly || s == ForceRebuild || s >= RebuildForUpgrade, s.Damaged(), s)
	}
}

func TestCompressedBlock(t *testing.T) {
	for _, pbn := range []uint64{679215, 679216} {
		b := realCrash(t).blocks[pbn]
		found := 0
		for slot := range fragments {
			off, n, err := FragmentRange(b, slot)
			if err != nil {
				require.ErrorContains(t, err, "has 0 bytes")
				continue
			}
			got := make([]byte, BlockSize)
			require.NoError(t, Decompress(got, b[off:off+n]))
			require.Contains(t, string(got), "of the lab content;\nvgw/v2")
			found++
			require.ErrorContains(t, Decompress(got, b[off:off+n/2]), "decompress")
		}
		require.Greater(t, found, 1)
	}
}

func TestCompressedBlockDamage(t *testing.T) {
	real := realCrash(t).blocks[679215]
	for _, c := range []damage{
		{"zeros", func(b []byte) { clear(b) }, "version 0.0, expected 1.0"},
		{"minor version", func(b []byte) { b[4] = 2 }, "version 1.2"},
		{"too long", func(b []byte) { b[11] = 0xff }, "fragment 1 of the compressed block has"},
		{"before it too long", func(b []byte) { b[9] = 0xff }, "fragment 1 of the compressed block has"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(real)
			c.change(b)
			_, _, err := FragmentRange(b, 1)
			require.ErrorContains(t, err, c.err)
		})
	}
	for _, slot := range []int{-1, 14} {
		_, _, err := FragmentRange(real, slot)
		require.ErrorContains(t, err, "cannot be")
	}
	_, _, err := FragmentRange(real[:30], 0)
	require.ErrorContains(t, err, "cannot be")
	short := []byte{0x40, 'a', 'b', 'c', 'd'} // four literals and nothing else
	require.ErrorContains(t, Decompress(make([]byte, BlockSize), short), "to 4 bytes, expected 4096")
}
