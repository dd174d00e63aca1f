package activate_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// writeInto lays bytes on a disk, from extent pe on.
func writeInto(disk image, pe int64, b []byte) { copy(disk[pe0+pe*extent:], b) }

// set changes a field of the first segment of an LV.
func set(l *metadata.LV, key string, value metadata.Value) {
	for n := range l.Segments[0].Node.Children() {
		if n.Key == key {
			n.Values[0] = value
		}
	}
}

// letters is a picture of 64 KiB runs: one letter each.
func letters(picture string) string {
	var b strings.Builder
	for at := 0; at < len(picture); at += 128 {
		run := picture[at:min(at+128, len(picture))]
		if strings.Count(run, run[:1]) != len(run) {
			return picture
		}
		b.WriteByte(run[0])
	}
	return b.String()
}

// thinVG has the thin LV t, 4 chunks of 64 KiB, in pool p: chunk 1 is mapped to chunk 2 of
// the data on pv0, filled with 'A'; the metadata is on pv1. x is of one chunk of 'B'.
func thinVG() (*rebuild.VG, []image) {
	vg, disks := imageVG(
		with(lv("t", seg("thin", 0, 64, 0)), "thin_pool", "p", "transaction_id", 0, "device_id", 7),
		with(lv("p", seg("thin-pool", 0, 48, 0)), "metadata", "p_tmeta", "pool", "p_tdata", "transaction_id", 3, "chunk_size", 128),
		lv("p_tmeta", seg("striped", 0, 8, 0, "pv1", 0)),
		lv("p_tdata", seg("striped", 0, 48, 0, "pv0", 0)),
		lv("x", seg("striped", 0, 16, 0, "pv1", 20)))
	m := pdata.New()
	device := m.Tree(8, []pdata.Entry{pdata.Number(1, 2<<24)})
	root := m.Tree(8, []pdata.Entry{pdata.Number(7, device)})
	b := m.Block(0)
	pdata.Put(b, 32, uint64(27022010))
	pdata.Put(b, 40, uint32(2))
	pdata.Put(b, 48, uint64(3))
	pdata.Put(b, 320, root)
	pdata.Put(b, 336, uint32(128))
	pdata.Put(b, 340, uint32(8))
	m.Seal(0, btree.ThinSuperblock)
	writeInto(disks[1], 0, *m)
	return vg, disks
}

const zero = "\x00"

func TestThin(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, vg *rebuild.VG, disks []image, t1 *metadata.LV)
		want  string // a letter for each chunk
		notes string
		why   string // of an Error target
	}{
		{name: "whole", want: zero + "A" + zero + zero},
		{
			name: "the data are lost", want: zero + "." + zero + zero,
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image, _ *metadata.LV) {
				vg.PVs[0].Dev = block.NewBad(vg.PVs[0].Dev.Size(), "missing")
			},
		}, {
			name: "the metadata are doubtful", want: strings.Repeat("\x20", 1) + "a" + "\x20\x20",
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image, _ *metadata.LV) {
				vg.PVs[1].Dev = block.NewDoubtful(vg.PVs[1].Dev, "stale")
			},
		}, {
			name: "an external origin", want: "BA" + zero + zero,
			spoil: func(_ *testing.T, _ *rebuild.VG, _ []image, l *metadata.LV) { with(l, "external_origin", "x") },
		}, {
			name: "an external origin that is not there", want: "....",
			spoil: func(_ *testing.T, _ *rebuild.VG, _ []image, l *metadata.LV) { with(l, "external_origin", "y") },
			why:   `external origin: the metadata names "y"`,
		}, {
			name: "an external origin that is the LV", want: "....",
			spoil: func(_ *testing.T, _ *rebuild.VG, _ []image, l *metadata.LV) { with(l, "external_origin", "t") },
			why:   "external origin: LV t stands on itself",
		}, {
			name: "a merge to come", want: zero + "A" + zero + zero,
			spoil: func(_ *testing.T, _ *rebuild.VG, _ []image, l *metadata.LV) { with(l, "merge", "x") },
			notes: "t: when the VG is next activated, x is to become what t is now",
		}, {
			name: "an older transaction", want: " a  ",
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image, _ *metadata.LV) {
				pool, _ := vg.LV("p")
				set(pool, "transaction_id", metadata.MakeInt(5))
			},
			notes: "p: the pool's own metadata is at transaction 3, the VG's says 5: one of them is older, thin LVs made or removed in between may miss",
		}, {
			name: "metadata that a repair has put aside", want: " a  ",
			spoil: func(_ *testing.T, vg *rebuild.VG, disks []image, _ *metadata.LV) {
				m := pdata.New()
				m.Commit(pdata.Pool{Transaction: 3, Devices: []pdata.Device{{ID: 7, Root: m.Tree(8, []pdata.Entry{pdata.Mapping(1, 2, 0)}), Mapped: 1}}})
				writeInto(disks[1], 40, *m)
				clear(disks[1][pe0 : pe0+8*extent])
				vg.Meta.LVs = append(vg.Meta.LVs, lv("p_meta0", seg("striped", 0, 8, 0, "pv1", 40)))
			},
			notes: "p: the metadata of pool p is lost; what LV p_meta0 has of it is older",
		}, {
			name: "a device that the pool does not have", want: "....",
			spoil: func(_ *testing.T, _ *rebuild.VG, _ []image, l *metadata.LV) {
				set(l, "device_id", metadata.MakeInt(8))
			},
			why: "the metadata of pool p has no thin device 8",
		}, {
			name: "the superblock is damaged", want: " a  ",
			spoil: func(_ *testing.T, _ *rebuild.VG, disks []image, _ *metadata.LV) { disks[1][pe0+100]++ },
			notes: "p: the superblock cannot be used: metadata block 0 (byte 0): thin superblock.csum at byte 0: checksum is 0xbdf76c04, computed 0xb7a7ea02\n" +
				"p: the trees with their roots at metadata blocks 2 and 0 were taken, of 1 choice (0: none is left)\n" +
				"p: the details tree is damaged: how many mappings each thin device has is not known of all of them",
		}, {
			name: "the tree of devices is damaged", want: ".a..",
			spoil: func(_ *testing.T, _ *rebuild.VG, disks []image, _ *metadata.LV) { disks[1][pe0+2*extent+100]++ },
			notes: "p: the pool's space map is damaged: which metadata blocks are in use is not fully known\n" +
				"p: the details tree is damaged: how many mappings each thin device has is not known of all of them\n" +
				"t: thin device 7: the tree of devices is damaged where it tells of this one",
		}, {
			name: "the device's tree is damaged", want: "....",
			spoil: func(_ *testing.T, _ *rebuild.VG, disks []image, _ *metadata.LV) { disks[1][pe0+extent+100]++ },
			notes: "p: the pool's space map is damaged: which metadata blocks are in use is not fully known\n" +
				"p: the details tree is damaged: how many mappings each thin device has is not known of all of them",
		}, {
			name: "a pool of QNAP's", want: "....",
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image, _ *metadata.LV) {
				vg.Meta.LVs[1].Segments[0].Type = "tier-thin-pool"
			},
			why: "pool p is a tier-thin-pool, which only QNAP's LVM makes",
		}, {
			name: "no pool", want: "....",
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image, _ *metadata.LV) { vg.Meta.LVs[1].Name = "q" },
			why:   `the metadata has no pool "p" of one segment`,
		}, {
			name: "a pool on the LV itself", want: "....",
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image, _ *metadata.LV) {
				set(vg.Meta.LVs[1], "pool", metadata.MakeString("t"))
			},
			why: "data of pool p: LV t stands on itself",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			vg, disks := thinVG()
			if c.spoil != nil {
				c.spoil(t, vg, disks, vg.Meta.LVs[0])
			}
			p, dev := planned(t, vg, "t")
			require.Equal(t, c.want, letters(picture(t, dev)))
			require.Equal(t, c.notes, notes(p))
			if c.why != "" {
				require.Contains(t, p.Root.Segments[0].Target.(activate.Error).Why, c.why)
			}
		})
	}
}

// cacheVG has c, an origin of 4 chunks of 32 KiB of 'A' on pv0 of which the cachevol v, 'B'
// on pv1, holds chunk 1, dirty, and chunk 3. The cache was shut down cleanly.
func cacheVG(mode string) (*rebuild.VG, []image) {
	vg, disks := imageVG(
		with(lv("c", seg("cache", 0, 32, 0)), "cache_pool", "v", "origin", "c_corig", "chunk_size", 64, "cache_mode", mode,
			"metadata_start", 0, "metadata_len", 64, "data_start", 64, "data_len", 128),
		lv("c_corig", seg("striped", 0, 32, 0, "pv0", 0)),
		lv("v", seg("striped", 0, 24, 0, "pv1", 0)))
	vg.Meta.LVs[0].Segments[0].TypeFlags = []string{"CACHE_USES_CACHEVOL"}
	m := pdata.New()
	le := binary.LittleEndian
	b := m.Block(0)
	pdata.Put(b, 4, uint32(1))
	pdata.Put(b, 32, uint64(1623043))
	pdata.Put(b, 40, uint32(1))
	pdata.Put(b, 192, m.Array(8, le.AppendUint64(le.AppendUint64(nil, 1<<16|3), 3<<16|1)))
	b = m.Block(0)
	pdata.Put(b, 192, uint64(2))
	pdata.Put(b, 232, uint32(64))
	pdata.Put(b, 236, uint32(8))
	pdata.Put(b, 240, uint32(2))
	m.Seal(0, btree.CacheSuperblock)
	writeInto(disks[1], 0, *m)
	return vg, disks
}

func TestCache(t *testing.T) {
	unclean := func(disks []image) {
		disks[1][pe0+4] = 0
		b := disks[1][pe0:][:btree.BlockSize]
		binary.LittleEndian.PutUint32(b, btree.Sum(b, btree.CacheSuperblock))
	}
	lose := func(pv int) func(*rebuild.VG, []image) {
		return func(vg *rebuild.VG, _ []image) {
			vg.PVs[pv].Dev = block.NewBad(vg.PVs[pv].Dev.Size(), "missing")
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(vg *rebuild.VG, disks []image)
		want  map[string]string // by mode: a letter for each chunk
		notes map[string]string // a part
	}{
		{
			name: "whole",
			want: map[string]string{"writeback": "ABAB", "writethrough": "ABAB", "passthrough": "ABAA"},
		}, {
			name: "not shut down cleanly", spoil: func(_ *rebuild.VG, disks []image) { unclean(disks) },
			want:  map[string]string{"writeback": "ABAB", "writethrough": "ABAB", "passthrough": "AAAA"},
			notes: map[string]string{"writeback": "each of the 2 blocks that it holds counts as newer"},
		}, {
			name: "without the origin", spoil: lose(0),
			want: map[string]string{"writeback": ".B.B", "writethrough": ".B.B", "passthrough": ".B.B"},
		}, {
			name: "without the fast disk", spoil: lose(1),
			want:  map[string]string{"writeback": "aaaa", "writethrough": "AAAA", "passthrough": "AAAA"},
			notes: map[string]string{"writethrough": "being writethrough it holds nothing that the origin does not: missing (degraded)"},
		}, {
			name: "with metadata, without its data",
			spoil: func(vg *rebuild.VG, _ []image) {
				vg.PVs[1].Dev, _ = block.NewOverlay(vg.PVs[1].Dev, []block.Extent{{Off: pe0 + 64*512, Len: 64 << 10, State: block.Bad, Why: "scratch"}})
			},
			want: map[string]string{"writeback": "A.AA", "writethrough": "A.AA", "passthrough": "A.AA"},
		}, {
			name: "with metadata, without its data, not shut down cleanly",
			spoil: func(vg *rebuild.VG, disks []image) {
				unclean(disks)
				vg.PVs[1].Dev, _ = block.NewOverlay(vg.PVs[1].Dev, []block.Extent{{Off: pe0 + 64*512, Len: 64 << 10, State: block.Bad, Why: "scratch"}})
			},
			want: map[string]string{"writeback": "A.A.", "writethrough": "AAAA", "passthrough": "AAAA"},
		}, {
			name: "the mappings are damaged", spoil: func(_ *rebuild.VG, disks []image) { disks[1][pe0+extent+50]++ },
			want:  map[string]string{"writeback": "aaaa", "writethrough": "AAAA", "passthrough": "AAAA"},
			notes: map[string]string{"passthrough": "of 2 of the 2 blocks of the cache it is not known what they hold"},
		}, {
			name: "the text says chunks of another size",
			spoil: func(vg *rebuild.VG, _ []image) {
				set(vg.Meta.LVs[0], "chunk_size", metadata.MakeInt(128))
			},
			want: map[string]string{"writeback": "abab", "writethrough": "abab", "passthrough": "abaa"},
		}, {
			name: "the text places the data beyond the cachevol",
			spoil: func(vg *rebuild.VG, _ []image) {
				set(vg.Meta.LVs[0], "data_len", metadata.MakeInt(1<<53))
			},
			want: map[string]string{"writeback": "aaaa", "writethrough": "AAAA", "passthrough": "AAAA"},
		}, {
			name: "no cachevol", spoil: func(vg *rebuild.VG, _ []image) { vg.Meta.LVs[2].Name = "w" },
			want: map[string]string{"writeback": "aaaa", "writethrough": "AAAA", "passthrough": "AAAA"},
		}, {
			name: "no origin", spoil: func(vg *rebuild.VG, _ []image) { vg.Meta.LVs[1].Name = "o" },
			want: map[string]string{"writeback": "....", "writethrough": "....", "passthrough": "...."},
		},
	} {
		for mode, want := range c.want {
			t.Run(c.name+" "+mode, func(t *testing.T) {
				vg, disks := cacheVG(mode)
				if c.spoil != nil {
					c.spoil(vg, disks)
				}
				p, dev := planned(t, vg, "c")
				got := picture(t, dev)
				require.Len(t, got, 4*64)
				for chunk := range 4 {
					require.Equal(t, strings.Repeat(want[chunk:chunk+1], 64), got[64*chunk:][:64], "chunk %d", chunk)
				}
				require.Contains(t, notes(p), c.notes[mode])
			})
		}
	}
}

// TestCacheOfAPoolThatIsNotThere: what mode it had is not known, so the worst counts.
func TestCacheOfAPoolThatIsNotThere(t *testing.T) {
	vg, _ := imageVG(
		with(lv("c", seg("cache", 0, 1, 0)), "cache_pool", "v", "origin", "c_corig"),
		lv("c_corig", seg("striped", 0, 1, 0, "pv0", 0)))
	_, dev := planned(t, vg, "c")
	require.Equal(t, "aaaaaaaa", picture(t, dev))
}

// writecacheVG has w, an origin of 2 blocks of 'A' on pv0, of which the cache f, 'B' on pv1,
// holds block 1.
func writecacheVG() (*rebuild.VG, []image) {
	vg, disks := imageVG(
		with(lv("w", seg("writecache", 0, 2, 0)), "writecache", "f", "origin", "w_wcorig", "writecache_block_size", 4096),
		lv("w_wcorig", seg("striped", 0, 2, 0, "pv0", 0)),
		lv("f", seg("striped", 0, 4, 0, "pv1", 0)))
	head := make([]byte, 64+2*16)
	le := binary.LittleEndian
	le.PutUint32(head, 0x23489321)
	le.PutUint32(head[4:], 1)
	le.PutUint32(head[8:], 4096)
	le.PutUint64(head[16:], 2)
	le.PutUint64(head[24:], 5)
	le.PutUint64(head[64:], 8)
	le.PutUint64(head[72:], 4)
	le.PutUint64(head[88:], 5)
	writeInto(disks[1], 0, head)
	return vg, disks
}

func TestWritecache(t *testing.T) {
	const committed = "w: 1 blocks were on their way into the writecache when it stopped: as in the kernel they do not count"
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, vg *rebuild.VG, disks []image)
		want  string // its picture
		notes string
	}{
		{name: "whole", want: "AAAAAAAABBBBBBBB", notes: committed},
		{
			name: "without the cache", want: "aaaaaaaaaaaaaaaa",
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image) {
				vg.PVs[1].Dev = block.NewBad(vg.PVs[1].Dev.Size(), "missing")
			},
		}, {
			name: "without the origin", want: "........BBBBBBBB", notes: committed,
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image) {
				vg.PVs[0].Dev = block.NewBad(vg.PVs[0].Dev.Size(), "missing")
			},
		}, {
			name: "a scratch in the content", want: "AAAAAAAAB.BBBBBB", notes: committed,
			spoil: func(t *testing.T, vg *rebuild.VG, _ []image) {
				spoil(t, vg.PVs[1], extent+512, 512, block.Bad, "scratch")
			},
		}, {
			name: "zeros instead of a superblock", want: "aaaaaaaaaaaaaaaa",
			spoil: func(_ *testing.T, _ *rebuild.VG, disks []image) { clear(disks[1][pe0:][:64]) },
		}, {
			name: "an entry that cannot be", want: "aaaaaaaabbbbbbbb",
			spoil: func(_ *testing.T, _ *rebuild.VG, disks []image) {
				binary.LittleEndian.PutUint64(disks[1][pe0+80:], 7)
				binary.LittleEndian.PutUint64(disks[1][pe0+88:], 3)
			},
		}, {
			name: "the text says blocks of another size", want: "aaaaaaaabbbbbbbb", notes: committed,
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image) {
				set(vg.Meta.LVs[0], "writecache_block_size", metadata.MakeInt(512))
			},
		}, {
			name: "a cache that is doubtful", want: "aaaaaaaabbbbbbbb", notes: committed,
			spoil: func(_ *testing.T, vg *rebuild.VG, _ []image) {
				vg.PVs[1].Dev = block.NewDoubtful(vg.PVs[1].Dev, "stale")
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			vg, disks := writecacheVG()
			if c.spoil != nil {
				c.spoil(t, vg, disks)
			}
			p, dev := planned(t, vg, "w")
			require.Equal(t, c.want, picture(t, dev))
			require.Equal(t, c.notes, notes(p))
		})
	}
}
