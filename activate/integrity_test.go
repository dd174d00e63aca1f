package activate_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// integrityVG has leg, 16 sectors of 'A', with its checksums on pv1. There is no journal.
func integrityVG(mode, hash string) (*rebuild.VG, image) {
	leg := with(lv("leg", seg("integrity", 0, 2, 0)), "origin", "leg_iorig", "data_sectors", 16, "mode", mode,
		"tag_size", 4, "block_size", 512, "internal_hash", hash, "meta_dev", "leg_imeta")
	vg, disks := imageVG(leg,
		lv("leg_iorig", seg("striped", 0, 2, 0, "pv0", 0)),
		lv("leg_imeta", seg("striped", 0, 3, 0, "pv1", 0)))
	m := disks[1][pe0:]
	clear(m[:512])
	copy(m, "integrt\x00\x02")
	m[10], m[16] = 4, 16
	for s := range uint64(16) {
		block := append(binary.LittleEndian.AppendUint64(nil, s), disks[0][:512]...)
		binary.LittleEndian.PutUint32(m[4096+4*s:], crc32.Checksum(block, crc32.MakeTable(crc32.Castagnoli)))
	}
	return vg, m
}

func TestIntegrity(t *testing.T) {
	for _, c := range []struct {
		name, mode, hash string
		spoil            func(t *testing.T, vg *rebuild.VG, meta image)
		want             string // the picture
		notes            string
	}{
		{name: "whole", mode: "J", want: "AAAAAAAAAAAAAAAA"},
		{
			name: "a wrong checksum", mode: "J", want: "AAA.AAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) { meta[4096+13]++ },
		}, {
			name: "another hash", mode: "J", hash: "sha1", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) { meta[4096+13]++ },
			notes: "leg_imeta: checksums by sha1 are not checked",
		}, {
			name: "the journal's superblock lost", mode: "J", want: "aaaaaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) { meta[0]++ },
			notes: `leg: its checksums cannot be used: leg_imeta: superblock.magic at byte 0: is "jntegrt\x00", want "integrt\x00"`,
		}, {
			name: "the bitmap's superblock lost", mode: "B", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) { spoil(t, vg.PVs[1], 0, 512, block.Bad, "scratch") },
			notes: "leg: its checksums cannot be used: the superblock on leg_imeta cannot be read: scratch",
		}, {
			name: "a journal that is none", mode: "J", want: "aaaaaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) { meta[12] = 1 },
			notes: "leg: its checksums cannot be used: leg_imeta: the metadata of 8192 bytes of data takes 94272 bytes, but it has 12288",
		}, {
			name: "blocks that do not divide the data", mode: "B", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) {
				meta[28] = 3
				vg.Meta.ExtentSize = 4
				vg.PVs[0].Meta.PECount = 200
				for _, l := range vg.Meta.LVs[:2] {
					l.Segments[0].ExtentCount = 3
				}
				vg.Meta.LVs[2].Segments[0].ExtentCount = 6
			},
			notes: "leg: its checksums cannot be used: leg_imeta: 6144 bytes are no whole number of blocks of 4096",
		}, {
			name: "the text has lost the metadata", mode: "B", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) { vg.Meta.LVs[2].Name = "other" },
			notes: `leg: its checksums cannot be used: the metadata names "leg_imeta", which is neither a PV nor an LV of the VG`,
		}, {
			name: "the text has lost the data", mode: "B", want: "................",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) { vg.Meta.LVs[1].Name = "other" },
		}, {
			name: "tags among the data", mode: "J", want: "................",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) {
				vg.Meta.LVs[0] = with(lv("leg", seg("integrity", 0, 2, 0)), "origin", "leg_iorig", "mode", "J")
			},
		}, {
			name: "a sector of the data lost", mode: "J", want: "AAAA.AAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) {
				spoil(t, vg.PVs[0], 4*512, 512, block.Bad, "scratch")
			},
		}, {
			name: "a sector of tags lost", mode: "J", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, meta image) {
				meta[4096+13]++
				spoil(t, vg.PVs[1], 4096, 512, block.Bad, "scratch")
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.hash == "" {
				c.hash = "crc32c"
			}
			vg, meta := integrityVG(c.mode, c.hash)
			if c.spoil != nil {
				c.spoil(t, vg, meta)
			}
			p, dev := planned(t, vg, "leg")
			want := c.want
			if n := int(dev.Size() / block.SectorSize); n < len(want) {
				want = want[:n]
			}
			require.Equal(t, want, picture(t, dev))
			require.Equal(t, c.notes, notes(p))
		})
	}
}
