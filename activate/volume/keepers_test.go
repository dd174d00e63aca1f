package volume

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/exstore"
	"github.com/lvrescue/lvrescue/scan/block"
)

// hiddenRounds is how often what stands on the hidden LVs of each corpus is damaged.
const hiddenRounds = 4

// TestDamagedKeepersNeverInventAByte damages sectors of what device-mapper keeps, most of it
// without a checksum, and holds what can still be read against the truth rule.
func TestDamagedKeepersNeverInventAByte(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, name := range append(slices.DeleteFunc(slices.Clone(layered), func(s string) bool { return s == "pvmove" || s == "mirror-log" }), "raid-levels", "raid-stale", "raid-sync", "raid-takeover", "raid10-layouts", "raid-reshape") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fixtures.Open(t, name)
			healthy := visible(t, c)
			sectors := keptSectors(t, c)
			require.NotEmpty(t, sectors)
			for seed := range uint64(hiddenRounds) {
				rnd := rand.New(rand.NewPCG(seed, 11))
				var what []string
				var undo []func()
				for range 1 + rnd.IntN(2) {
					w, u := spoilSector(t, rnd, sectors)
					what, undo = append(what, w), append(undo, u)
				}
				checkTruth(t, fmt.Sprintf("seed %d: %v", seed, what), c.Paths(), healthy)
				for i := range undo {
					undo[len(undo)-1-i]()
				}
			}
		})
	}
}

// visible reads all that is complete and not a part of another LV.
func visible(t *testing.T, c *fixtures.Corpus) map[string][]byte {
	healthy, _ := survey(t, c)
	each(t, c.Paths(), func(name string, plan *activate.Plan) {
		if !plan.LV.HasStatus("VISIBLE") {
			delete(healthy, name)
		}
	})
	return healthy
}

// sectorAt is a sector of a disk, what it is, and what it held.
type sectorAt struct {
	path, what string
	off        int64
	old        []byte
}

// keptSectors lists the sectors, not all zeros, of what the targets below visible LVs keep.
func keptSectors(t *testing.T, c *fixtures.Corpus) (list []sectorAt) {
	seen := map[string]bool{}
	add := func(what string, in activate.Input, off, n int64) {
		for at := off; at < off+n; at += block.SectorSize {
			s := sectorOf(t, in, at)
			if s == nil || seen[fmt.Sprint(s.path, s.off)] || len(bytes.TrimLeft(s.old, "\x00")) == 0 {
				continue
			}
			seen[fmt.Sprint(s.path, s.off)] = true
			s.what = what
			list = append(list, *s)
		}
	}
	each(t, c.Paths(), func(name string, plan *activate.Plan) {
		for _, lv := range plan.VG.Meta.LVs {
			if raid, ok := rmetas(plan, lv); ok {
				for _, v := range raid {
					add("the superblock", activate.Input{Volume: v}, 0, min(v.Size, 16<<10))
				}
			}
		}
		below(plan.Root, map[*activate.Volume]bool{}, func(target activate.Target) {
			switch target := target.(type) {
			case activate.Snapshot:
				add("a store's header", target.Store, 0, block.SectorSize)
				for i := range target.List.Areas {
					add("a store's list", target.Store, exstore.AreaOffset(i, target.ChunkSize), target.ChunkSize)
				}
			case activate.Mirror:
				if target.LogVolume != nil {
					add("a mirror's log", activate.Input{Volume: target.LogVolume}, 0, min(target.LogVolume.Size, 16<<10))
				}
			case activate.Cache:
				add("a cache's metadata", target.Metadata, 0, target.MetadataSize)
			case activate.Writecache:
				add("a writecache's entries", target.Cache, 0, target.Map.DataOffset())
			case activate.Thin:
				add("a pool's metadata", target.Metadata, 0, target.MetadataSize)
			case activate.Integrity:
				add("integrity", activate.Input{Volume: target.Meta}, 0, target.Meta.Size)
			}
		})
	})
	return list
}

// below visits the targets of a volume and of all that it stands on.
func below(v *activate.Volume, seen map[*activate.Volume]bool, visit func(activate.Target)) {
	if seen[v] {
		return
	}
	seen[v] = true
	for _, s := range v.Segments {
		visit(s.Target)
		for _, in := range s.Target.Inputs() {
			if in.Volume != nil {
				below(in.Volume, seen, visit)
			}
		}
	}
}

// rmetas plans the metadata LVs of an LV's arrays.
func rmetas(plan *activate.Plan, lv *metadata.LV) (metas []*activate.Volume, ok bool) {
	for _, s := range lv.Segments {
		r, err := s.RAID()
		if err != nil {
			continue
		}
		for _, leg := range r.Legs {
			meta, err := plan.VG.LV(leg.Meta)
			if err != nil {
				continue
			}
			if p, err := activate.New(plan.VG, meta, OpenVolume); err == nil {
				metas = append(metas, p.Root)
			}
		}
	}
	return metas, len(metas) > 0
}

// sectorOf finds the disk on which a sector of an input lies; nil when it lies on no one disk.
func sectorOf(t *testing.T, in activate.Input, at int64) *sectorAt {
	at += in.Off
	for in.Volume != nil {
		i := slices.IndexFunc(in.Volume.Segments, func(s activate.Segment) bool { return s.Off <= at && at < s.Off+s.Len })
		if i < 0 {
			return nil
		}
		s := in.Volume.Segments[i]
		lin, ok := s.Target.(activate.Linear)
		if !ok {
			return nil
		}
		in, at = lin.Input, at-s.Off+lin.Input.Off
	}
	if in.PV.Missing() {
		return nil
	}
	s := &sectorAt{path: in.PV.Found.Source.Name, off: in.PV.Found.Offset + at, old: make([]byte, block.SectorSize)}
	f, err := os.Open(s.path)
	require.NoError(t, err)
	defer f.Close()
	if n, _ := f.ReadAt(s.old, s.off); n < len(s.old) {
		return nil
	}
	return s
}

// spoilSector damages one sector, and gives the way back.
func spoilSector(t *testing.T, rnd *rand.Rand, sectors []sectorAt) (string, func()) {
	s := sectors[rnd.IntN(len(sectors))]
	fresh := bytes.Clone(s.old)
	kind := ""
	how := rnd.IntN(4)
	if s.what == "a store's list" || s.what == "a writecache's entries" {
		how = 1 // without a checksum nothing tells of less
	}
	switch how {
	case 0:
		kind = "zeroed"
		clear(fresh)
	case 1:
		kind = "noise"
		for i := range fresh {
			fresh[i] = byte(rnd.Uint32())
		}
	case 2:
		kind = "bit flipped"
		used := len(bytes.TrimRight(s.old, "\x00"))
		fresh[rnd.IntN(used)] ^= 1 << rnd.IntN(8)
	case 3:
		from := sectors[rnd.IntN(len(sectors))]
		kind = "filled from " + from.what
		copy(fresh, from.old)
	}
	put := func(b []byte) {
		f, err := os.OpenFile(s.path, os.O_RDWR, 0)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteAt(b, s.off)
		require.NoError(t, err)
	}
	put(fresh)
	return fmt.Sprintf("%s: sector at %d of %s %s", s.path, s.off, s.what, kind), func() { put(s.old) }
}

// TestOldLeafOfAllDevices: with this sector of a pool's metadata gone, an older leaf of the tree
// of all thin devices looks like one of mappings.
func TestOldLeafOfAllDevices(t *testing.T) {
	c := fixtures.Open(t, "stacked")
	healthy := visible(t, c)
	require.NoError(t, damage.Zero(c.Disk("c"), 6653952, block.SectorSize))
	checkTruth(t, "an old leaf is left", c.Paths(), healthy)
}
