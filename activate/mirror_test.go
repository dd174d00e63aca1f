package activate_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// mirrorVG has m, 16 regions of a sector, with legs of 'A' and of 'B', and a log on pv1 that
// calls all but regions 4 to 7 in sync.
func mirrorVG() (*rebuild.VG, []image) {
	vg, disks := imageVG(
		with(lv("m", seg("mirror", 0, 2, 0, "m_mimage_0", 0, "m_mimage_1", 0)), "mirror_log", "m_mlog", "region_size", 1),
		lv("m_mimage_0", seg("striped", 0, 2, 0, "pv0", 0)),
		lv("m_mimage_1", seg("striped", 0, 2, 0, "pv1", 0)),
		lv("m_mlog", seg("striped", 0, 1, 0, "pv1", 2)))
	log := disks[1][pe0+2*extent:]
	for i, v := range []uint32{0x4d695272, 2, 16, 0} {
		binary.LittleEndian.PutUint32(log[4*i:], v)
	}
	copy(log[1024:], []byte{0x0f, 0xff})
	return vg, disks
}

const notSynced = "m: 4 of 16 regions of the mirror were not in sync: they are read from m_mimage_0 (degraded)"

func TestMirror(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, vg *rebuild.VG, disks []image)
		want  string // its picture
		notes string
	}{
		{name: "whole", want: "AAAAAAAAAAAAAAAA", notes: notSynced},
		{
			name: "the first leg is lost", want: "BBBBbbbbBBBBBBBB",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.PVs[0].Dev = block.NewBad(vg.PVs[0].Dev.Size(), "missing")
			},
			notes: notSynced + "\nm: mirror leg m_mimage_0: missing (degraded)",
		}, {
			name: "the first leg is doubtful", want: "BBBBaaaaBBBBBBBB",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.PVs[0].Dev = block.NewDoubtful(vg.PVs[0].Dev, "stale")
			},
			notes: notSynced,
		}, {
			name: "the other leg and the log are lost", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.PVs[1].Dev = block.NewBad(vg.PVs[1].Dev.Size(), "missing")
			},
			notes: "m: its log cannot be used, so only the primary leg is: 16 bytes at byte 0 of the mirror log: bytes 0-1040383 cannot be read: missing\n" +
				"m: mirror leg m_mimage_1: missing (degraded)",
		}, {
			name: "scratches on both", want: "AABAbA..AAAA.AAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				spoil(t, vg.PVs[0], 2*512, 512, block.Bad, "scratch")
				spoil(t, vg.PVs[0], 4*512, 512, block.Bad, "scratch")
				spoil(t, vg.PVs[0], 6*512, 1024, block.Bad, "scratch")
				spoil(t, vg.PVs[0], 12*512, 512, block.Bad, "scratch")
				spoil(t, vg.PVs[1], 6*512, 1024, block.Bad, "scratch")
				spoil(t, vg.PVs[1], 12*512, 512, block.Bad, "scratch")
			},
			notes: notSynced + "\nm: mirror leg m_mimage_0: scratch (degraded)\nm: mirror leg m_mimage_1: scratch (degraded)",
		}, {
			name: "the log is damaged, the first leg scratched", want: "AAbAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				disks[1][pe0+2*extent]++
				spoil(t, vg.PVs[0], 2*512, 512, block.Bad, "scratch")
			},
			notes: "m: its log cannot be used, so only the primary leg is: log_header.magic at byte 0: is 0x4d695273, want 0x4d695272\n" +
				"m: mirror leg m_mimage_0: scratch (degraded)",
		}, {
			name: "the log is doubtful, the first leg scratched", want: "AAbAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				spoil(t, vg.PVs[0], 2*512, 512, block.Bad, "scratch")
				marked, err := block.NewOverlay(vg.PVs[1].Dev, []block.Extent{{Off: pe0 + 2*extent, Len: 512, State: block.Doubtful, Why: "old"}})
				require.NoError(t, err)
				vg.PVs[1].Dev = marked
			},
			notes: "m: its log cannot be used, so only the primary leg is: it is doubtful: old\nm: mirror leg m_mimage_0: scratch (degraded)",
		}, {
			name: "made without a sync, the first leg scratched", want: "AAbAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.Meta.LVs[0].Status = []string{"NOTSYNCED"}
				spoil(t, vg.PVs[0], 2*512, 512, block.Bad, "scratch")
			},
			notes: "m: mirror leg m_mimage_0: scratch (degraded)",
		}, {
			name: "the text has lost a leg", want: "BBBBbbbbBBBBBBBB",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { vg.Meta.LVs[1].Name = "other" },
			notes: notSynced + "\n" + `m: mirror leg m_mimage_0: the metadata names "m_mimage_0", which is neither a PV nor an LV of the VG (degraded)`,
		}, {
			name: "one leg", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.Meta.LVs[0].Segments[0].Areas = vg.Meta.LVs[0].Segments[0].Areas[:1]
			},
		}, {
			name: "no legs", want: "................",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { vg.Meta.LVs[0].Segments[0].Areas = nil },
		}, {
			name: "the text has lost the region size", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.Meta.LVs[0] = with(lv("m", seg("mirror", 0, 2, 0, "m_mimage_0", 0, "m_mimage_1", 0)), "mirror_log", "m_mlog")
			},
			notes: "m: its log cannot be used, so only the primary leg is: the mirror's regions have 0 bytes",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			vg, disks := mirrorVG()
			if c.spoil != nil {
				c.spoil(t, vg, disks)
			}
			p, dev := planned(t, vg, "m")
			require.Equal(t, c.want, picture(t, dev))
			require.Equal(t, c.notes, notes(p))
		})
	}
}

func TestPvmove(t *testing.T) {
	moving := func(name string, areas []any, fields ...any) *metadata.LV {
		l := with(lv(name, seg("mirror", 0, 2, 0, areas...)), fields...)
		l.Status = []string{"PVMOVE", "LOCKED"}
		return l
	}
	places := []any{"pv0", 0, "pv1", 4}
	for _, c := range []struct {
		name  string
		lv    *metadata.LV
		lost  int // the PV that is missing; -1 for none
		want  string
		notes string
	}{
		{name: "not begun", lv: moving("pvmove0", places, "extents_moved", 0), lost: -1, want: "AAAAAAAAAAAAAAAA"},
		{name: "not begun, and the new place lost", lv: moving("pvmove0", places, "extents_moved", 0), lost: 1, want: "AAAAAAAAAAAAAAAA"},
		{name: "not begun, and the old place lost", lv: moving("pvmove0", places, "extents_moved", 0), lost: 0, want: "................"},
		{name: "the text does not say how far", lv: moving("pvmove0", places), lost: -1, want: "AAAAAAAAAAAAAAAA"},
		{name: "done", lv: moving("pvmove0", places, "extents_moved", 2), lost: -1, want: "BBBBBBBBBBBBBBBB"},
		{name: "done, and the old place lost", lv: moving("pvmove0", places, "extents_moved", 2), lost: 0, want: "BBBBBBBBBBBBBBBB"},
		{
			name: "done, and the new place lost", lv: moving("pvmove0", places, "extents_moved", 2), lost: 1, want: "aaaaaaaaaaaaaaaa",
			notes: "pvmove0: what pv1 has lost of the extents moved there is read from their old place",
		},
		{name: "between three places", lv: moving("pvmove0", append([]any{"pv0", 9}, places...), "extents_moved", 0), lost: -1, want: "................"},
	} {
		t.Run(c.name, func(t *testing.T) {
			moved := lv("moved", seg("striped", 0, 2, 0, "pvmove0", 0))
			moved.Status = []string{"LOCKED"}
			vg, _ := imageVG(moved, c.lv)
			if c.lost >= 0 {
				vg.PVs[c.lost].Dev = block.NewBad(vg.PVs[c.lost].Dev.Size(), "missing")
			}
			p, dev := planned(t, vg, "moved")
			require.Equal(t, c.want, picture(t, dev))
			require.Equal(t, c.notes, notes(p))
		})
	}
}

func TestMirrorOfTooManyLegs(t *testing.T) {
	vg, _ := mirrorVG()
	s := vg.Meta.LVs[0].Segments[0]
	for len(s.Areas) <= 64 {
		s.Areas = append(s.Areas, s.Areas[1])
	}
	p, err := activate.New(vg, vg.Meta.LVs[0], nil)
	require.NoError(t, err)
	require.Contains(t, p.Root.Segments[0].Target.String(), "65 legs, at most 64")
}
