package match

import (
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
	"github.com/lvrescue/lvrescue/scan/partition"
)

// guessed marks places that nothing tells of: only content can speak for them.
const guessed = "where nothing tells of a PV"

func nowhere(at *scan.PV) bool { return at.Where == guessed }

// starts are where PVs usually begin on a disk whose partition table is lost, besides its
// own start: old and new alignment of partitions, and the data of md arrays.
var starts = [...]int64{63 * 512, 1 << 20, 2 << 20, 128 << 20}

// maxPlaces bounds the places where one PV may lie.
const maxPlaces = 256

// places lists where a PV may lie: what was found without a label, or with that of a PV that
// nobody misses or that was made over this one; sources and partitions on which nothing was
// found; and where a PV would have to begin for its end, or for the content that was found,
// to be where it is.
func places(r *rebuild.Result, g *rebuild.Group, a rebuild.Absent, p *probe) []*scan.PV {
	ev := r.Used()
	var list []*scan.PV
	add := func(at *scan.PV) {
		switch {
		case slices.ContainsFunc(list, func(o *scan.PV) bool { return o.Source == at.Source && o.Offset == at.Offset }):
		case len(list) == maxPlaces:
			p.work.cut("PV %s of VG %s may lie on more than %d places, of which the rest was not looked at", a.PV.Key, g.Name(), maxPlaces)
		default:
			list = append(list, at)
		}
	}
	inUse := map[*scan.Source]bool{}
	for _, at := range ev.PVs {
		switch {
		case at.Label == nil, !knows(g, at.ID()) && (g.Carries(at) || !listed(r, at.ID())):
			add(at)
		case at.Offset == 0 || at.Where != "": // others lie inside of LVs
			inUse[at.Source] = true
		}
	}
	if a.Placed != nil {
		add(a.Placed)
	}
	for _, s := range ev.Sources {
		if s.Dev == nil || s.Foreign || inUse[s] {
			continue
		}
		size := s.Dev.Size()
		at := func(off int64, dev block.Device, where string) {
			add(&scan.PV{Source: s, Offset: off, Dev: dev, Where: where})
		}
		rest := func(off int64) block.Device { return block.NewSection(s.Dev, off, size-off, "") }
		at(0, rest(0), "")
		for _, part := range partition.Read(s.Dev, size).Partitions {
			at(part.Start, block.NewSection(s.Dev, part.Start, part.Size, "behind the end of "+s.Name), part.String())
		}
		lack := a.PV.DevSize*block.SectorSize - size // or, below 0, what is too much
		for _, off := range slices.Concat(p.bases(ev.Signs, s), starts[:], []int64{-lack}) {
			switch {
			case off > 0 && off < size:
				at(off, rest(off), guessed)
			case off < 0 && off > -min(scan.MaxLacking, a.PV.DevSize*block.SectorSize):
				at(off, block.NewPadded(s.Dev, -off, s.Name+" lacks the start of the disk"), guessed)
			}
		}
	}
	return list
}

// knows tells whether the group has, or had, a PV: then its disk is no other's.
func knows(g *rebuild.Group, id metadata.ID) bool {
	return slices.ContainsFunc(g.Versions, func(v *rebuild.Version) bool { return lists(v, id) })
}

// listed tells whether any group has a PV now.
func listed(r *rebuild.Result, id metadata.ID) bool {
	return slices.ContainsFunc(r.Groups, func(g *rebuild.Group) bool { return lists(g.Current, id) })
}

func lists(v *rebuild.Version, id metadata.ID) bool {
	return slices.ContainsFunc(v.Meta.PVs, func(p *metadata.PV) bool { return p.ID == id })
}
