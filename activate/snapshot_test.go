package activate_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// store writes an exception store of chunks of 512 bytes at the first extent of a disk:
// header, area, and exceptions given as old and new chunk in turn.
func store(disk image, valid uint32, exceptions ...uint64) {
	b := disk[pe0:]
	for i, v := range []uint32{0x70416e53, valid, 1, 1} {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	clear(b[512:1024])
	for i, v := range exceptions {
		binary.LittleEndian.PutUint64(b[512+8*i:], v)
	}
}

// snapshotVG has origin, 16 chunks of 'A', and snap, whose store is of 'B'. Chunks 2 and 3
// of origin have copies.
func snapshotVG(storeKey string) (*rebuild.VG, []image) {
	vg, disks := imageVG(
		lv("origin", seg("striped", 0, 2, 0, "pv0", 0)),
		lv("snap", seg("striped", 0, 3, 0, "pv1", 0)),
		with(lv("snapshot0", seg("snapshot", 0, 2, 0)), "chunk_size", 1, "origin", "origin", storeKey, "snap"))
	store(disks[1], 1, 2, 2, 3, 3)
	return vg, disks
}

func TestSnapshot(t *testing.T) {
	const (
		plain  = "cow_store"
		merged = "merging_store"
	)
	for _, c := range []struct {
		name  string
		kind  string
		spoil func(t *testing.T, vg *rebuild.VG, disks []image)
		lv    string
		want  string // its picture
		notes string
		why   string
	}{
		{name: "valid", kind: plain, lv: "snap", want: "AABBAAAAAAAAAAAA"},
		{name: "its origin", kind: plain, lv: "origin", want: "AAAAAAAAAAAAAAAA"},
		{name: "by the name that only the text has", kind: plain, lv: "snapshot0", want: "AABBAAAAAAAAAAAA"},
		{
			name: "invalidated", kind: plain, lv: "snap", want: "aaBBaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { store(disks[1], 0, 2, 2, 3, 3) },
			notes: "snap: the snapshot was invalidated; only the 2 chunks in its store are sure",
			why:   "snapshot snap was invalidated, its store being full or failed: what origin has overwritten since is not kept",
		}, {
			name: "never used", kind: plain, lv: "snap", want: "AAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { clear(disks[1][pe0 : pe0+4096]) },
		}, {
			name: "the header was lost", kind: plain, lv: "snap", want: "aabbaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { disks[1][pe0]++ },
			notes: "snap: the header of its exception store is lost (the exception store: disk_header.magic at byte 0: is 0x70416e54, want 0x70416e53); the chunk size is taken from LVM's metadata",
		}, {
			name: "the header reads as zeros", kind: plain, lv: "snap", want: "aabbaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { clear(disks[1][pe0 : pe0+512]) },
			notes: "snap: the header of its exception store is lost (it is all zeros, though a list follows); the chunk size is taken from LVM's metadata",
		}, {
			name: "the header cannot be read", kind: plain, lv: "snap", want: "aabbaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { spoil(t, vg.PVs[1], 0, 512, block.Bad, "scratch") },
			notes: "snap: the header of its exception store is lost (the exception store cannot be read: scratch); the chunk size is taken from LVM's metadata",
		}, {
			name: "the list cannot be read", kind: plain, lv: "snap", want: "................",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				spoil(t, vg.PVs[1], 512, 512, block.Bad, "scratch")
			},
			why: "which chunks of origin have changed is lost: bytes 512-1023 of the exception list: bytes 512-1023 cannot be read: scratch",
		}, {
			name: "an entry of the list is damaged", kind: plain, lv: "snap", want: "aaBaaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { disks[1][pe0+512+16+7] = 9 },
			notes: "snap: the list of copied chunks is not complete: exception at byte 528: old chunk 648518346341351427 is beyond the 16 of the origin",
		}, {
			name: "the list contradicts itself", kind: plain, lv: "snap", want: "aabbaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { store(disks[1], 1, 2, 2, 3, 2) },
			notes: "snap: its exception store contradicts itself: chunk 2 of the store is given as the copy of chunk 2 and of chunk 3",
		}, {
			name: "the store's disk is doubtful", kind: plain, lv: "snap", want: "aabbaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.PVs[1].Dev = block.NewDoubtful(vg.PVs[1].Dev, "clone")
			},
			notes: "snap: its exception store is doubtful: clone",
		}, {
			name: "a copy is lost", kind: plain, lv: "snap", want: "AAB.AAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				spoil(t, vg.PVs[1], 3*512, 512, block.Bad, "scratch")
			},
			why: "scratch",
		}, {
			name: "the origin is lost", kind: plain, lv: "snap", want: "..BB............",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.PVs[0].Dev = block.NewBad(vg.PVs[0].Dev.Size(), "missing")
			},
			why: "missing",
		}, {
			name: "the text has lost the origin", kind: plain, lv: "snap", want: "..BB............",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { vg.Meta.LVs = vg.Meta.LVs[1:] },
			why:   `the metadata names "origin", which is neither a PV nor an LV of the VG`,
		}, {
			name: "the text has lost the store", kind: plain, lv: "snapshot0", want: "................",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { vg.Meta.LVs[1].Name = "other" },
			why:   `the metadata names "snap", which is neither a PV nor an LV of the VG`,
		}, {
			name: "merging", kind: merged, lv: "origin", want: "AABBAAAAAAAAAAAA",
			notes: "snap: is being merged into origin; 2 chunks are still to be merged, and are read from the store",
		}, {
			name: "merging into an origin that has grown", kind: merged, lv: "origin", want: "AABBAAAAAAAAAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { vg.Meta.LVs[0].Segments[0].ExtentCount = 3 },
			notes: "snap: is being merged into origin; 2 chunks are still to be merged, and are read from the store",
		}, {
			name: "failed while merging", kind: merged, lv: "origin", want: "AAbbAAAAAAAAAAAA",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) { store(disks[1], 0, 2, 2, 3, 3) },
			notes: "snap: failed while it was merged into origin; 2 chunks were not merged",
			why:   "snapshot snap failed while it was merged into origin",
		}, {
			name: "lost while merging", kind: merged, lv: "origin", want: "aaaaaaaaaaaaaaaa",
			spoil: func(t *testing.T, vg *rebuild.VG, disks []image) {
				vg.PVs[1].Dev = block.NewBad(vg.PVs[1].Dev.Size(), "missing")
			},
			notes: "snap: was being merged into origin, and what was not merged yet is lost: the exception store cannot be read: missing",
			why:   "snap was being merged into origin, and what was not merged yet is lost: the exception store cannot be read: missing",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			vg, disks := snapshotVG(c.kind)
			if c.spoil != nil {
				c.spoil(t, vg, disks)
			}
			p, dev := planned(t, vg, c.lv)
			require.Equal(t, c.want, picture(t, dev))
			require.Equal(t, c.notes, notes(p))
			if c.why != "" {
				causes := block.Summarise(dev).Causes()
				require.Len(t, causes, 1)
				require.Equal(t, c.why, causes[0].Why)
			}
		})
	}
}

// TestSnapshotChunkSizeLost: header and text are both of no use.
func TestSnapshotChunkSizeLost(t *testing.T) {
	vg, disks := snapshotVG("cow_store")
	disks[1][pe0]++
	vg.Meta.LVs[2] = with(lv("snapshot0", seg("snapshot", 0, 2, 0)), "chunk_size", 3, "origin", "origin", "cow_store", "snap")
	_, dev := planned(t, vg, "snap")
	require.Equal(t, strings.Repeat(".", 16), picture(t, dev))
}

// TestSnapshotOnItself: hostile texts.
func TestSnapshotOnItself(t *testing.T) {
	for _, fields := range [][]any{
		{"chunk_size", 1, "origin", "snapshot0", "cow_store", "snap"},
		{"chunk_size", 1, "origin", "origin", "cow_store", "snapshot0"},
		{"chunk_size", 1, "origin", "origin", "cow_store", "origin"},
		{"chunk_size", 1, "origin", "origin", "merging_store", "origin"},
		{"chunk_size", 1, "origin", "origin"},
	} {
		vg, _ := snapshotVG("cow_store")
		vg.Meta.LVs[2] = with(lv("snapshot0", seg("snapshot", 0, 2, 0)), fields...)
		for _, l := range vg.Meta.LVs {
			_, dev := planned(t, vg, l.Name)
			require.Len(t, picture(t, dev), int(dev.Size()/block.SectorSize))
			require.Positive(t, dev.Size())
		}
	}
}

// TestReferencesMeanTheLVItself: a segment that names the origin of a merge means its own
// bytes, not what the merge makes of them.
func TestReferencesMeanTheLVItself(t *testing.T) {
	vg, _ := snapshotVG("merging_store")
	vg.Meta.LVs = append(vg.Meta.LVs, lv("above", seg("striped", 0, 2, 0, "origin", 0)))
	_, dev := planned(t, vg, "above")
	require.Equal(t, strings.Repeat("A", 16), picture(t, dev))
}
