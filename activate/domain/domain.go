// Package domain finds the way back from an LV to the disks: which bytes of each source it
// needs, and which of these the source does not hold yet. ddrescue takes the answer as a
// domain mapfile (ddrescue -m), so that a dying disk is asked only for what matters.
//
// All offsets and lengths are bytes.
package domain

import (
	"slices"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/vdo"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Need is what is needed of one source, in whole sectors.
type Need struct {
	Source *scan.Source
	Needed Ranges
	Unread Ranges // what of Needed the source does not hold
}

// Absent is what is needed of a PV that no source holds.
type Absent struct {
	PV     *rebuild.PV
	Needed Ranges // of the PV
}

// OfLVs tells what the plans of one or more LVs read: from each source in the order in
// which the plans come to it, and from PVs that are missing.
func OfLVs(plans ...*activate.Plan) ([]Need, []Absent) {
	w := walker{volumes: map[*activate.Volume]*Ranges{}}
	for _, p := range plans {
		w.volume(p.Root, Range{0, p.Root.Size})
	}
	for i := range w.needs {
		w.needs[i].Unread = unread(w.needs[i].Source, w.needs[i].Needed)
	}
	return w.needs, w.absent
}

// walker follows plans down to the PVs.
type walker struct {
	needs   []Need
	absent  []Absent
	volumes map[*activate.Volume]*Ranges // what has been walked of each: none is walked twice
}

// volume wants a range of a volume.
func (w *walker) volume(v *activate.Volume, r Range) {
	seen := w.volumes[v]
	if seen == nil {
		seen = &Ranges{}
		w.volumes[v] = seen
	}
	for _, part := range seen.Add(r) {
		for _, s := range v.Segments {
			if lo, hi := max(s.Off, part.Off), min(s.Off+s.Len, part.End()); lo < hi {
				w.target(s, lo-s.Off, hi-s.Off)
			}
		}
	}
}

// target wants the bytes [lo, hi) of a segment.
func (w *walker) target(s activate.Segment, lo, hi int64) {
	switch t := s.Target.(type) {
	case activate.Linear:
		w.input(t.Input, lo, hi)
	case activate.Striped: // whole rows: more than is wanted by a chunk of each leg at most
		row := t.ChunkSize * int64(len(t.Stripes))
		for _, in := range t.Stripes {
			w.input(in, lo/row*t.ChunkSize, (hi-1)/row*t.ChunkSize+t.ChunkSize)
		}
	case activate.Mirror:
		for _, in := range t.Legs {
			w.input(in, lo, hi)
		}
		if t.LogVolume != nil {
			w.volume(t.LogVolume, Range{0, t.LogVolume.Size})
		}
	case activate.Integrity:
		w.input(t.Data, lo, hi)
		if t.Meta != nil {
			w.volume(t.Meta, Range{0, t.Meta.Size})
		}
	case activate.Snapshot: // its store is not in the order of the origin
		w.input(t.Origin, lo, hi)
		w.input(t.Store, 0, t.StoreSize)
	case activate.Thin: // its chunks may be anywhere in the pool's data
		w.input(t.Metadata, 0, t.MetadataSize)
		w.input(t.Data, 0, t.DataSize)
		if t.External != nil {
			w.input(*t.External, 0, t.ExternalSize)
		}
	case activate.Cache:
		w.input(t.Origin, lo, hi)
		w.cache(t.Metadata, t.MetadataSize)
		w.cache(t.Data, t.DataSize)
	case activate.Writecache:
		w.input(t.Origin, lo, hi)
		w.cache(t.Cache, t.CacheSize)
	case activate.VDO: // its blocks may be anywhere behind the index, which nobody needs
		if t.Volume == nil {
			w.input(t.Data, 0, t.DataSize)
			break
		}
		w.input(t.Data, 0, vdo.BlockSize)
		w.input(t.Data, t.Volume.Offset(t.Volume.DataStart), t.DataSize)
	default: // how far such a target reads is not known here: at most its own length
		for _, in := range t.Inputs() {
			w.input(in, 0, s.Len)
		}
	}
}

// cache wants all of a part of a cache: also of one that cannot be used so far, perhaps
// because this is not read yet. A part that the VG does not have is not set.
func (w *walker) cache(in activate.Input, size int64) {
	if in.Volume != nil {
		w.input(in, 0, size)
	}
}

// input wants the bytes [lo, hi) of what a target reads.
func (w *walker) input(in activate.Input, lo, hi int64) {
	r := Range{in.Off + lo, hi - lo}
	switch {
	case in.Volume != nil:
		w.volume(in.Volume, r)
	case in.PV.Missing():
		i := slices.IndexFunc(w.absent, func(a Absent) bool { return a.PV == in.PV })
		if i < 0 {
			i = len(w.absent)
			w.absent = append(w.absent, Absent{PV: in.PV})
		}
		w.absent[i].Needed.Add(r)
	default:
		r.Off += in.PV.Found.Offset
		if r.Off < 0 { // what the source lacks cannot be read from it
			r.Off, r.Len = 0, r.Len+r.Off
		}
		if r.Len <= 0 {
			return
		}
		need(&w.needs, in.PV.Found.Source).Needed.Add(r.sectors())
	}
}

// need finds the entry of a source, or makes one.
func need(needs *[]Need, s *scan.Source) *Need {
	i := slices.IndexFunc(*needs, func(n Need) bool { return n.Source == s })
	if i < 0 {
		i = len(*needs)
		*needs = append(*needs, Need{Source: s})
	}
	return &(*needs)[i]
}

// edge is how much of a disk's start and end OfMetadata asks for: partition tables and
// labels, and the metadata areas at their usual places, lie there.
const edge = 1 << 20

// labelWindow is where a PV's label may be (lib/label/label.h, LABEL_SCAN_SECTORS).
const labelWindow = 4 * block.SectorSize

// OfMetadata tells what finding and reading LVM's metadata needs: the first and last MiB
// of every source, and the label and metadata areas of every PV.
func OfMetadata(ev *scan.Evidence) []Need {
	var needs []Need
	for _, s := range ev.Sources {
		if s.Dev == nil {
			continue
		}
		n := need(&needs, s)
		n.clip(0, edge)
		n.clip(s.Dev.Size()-edge, edge)
	}
	for _, p := range ev.PVs {
		n := need(&needs, p.Source)
		n.clip(p.Offset, labelWindow)
		for _, a := range p.Areas {
			n.clip(p.Offset+a.Offset, a.Size)
		}
	}
	for i := range needs {
		needs[i].Unread = unread(needs[i].Source, needs[i].Needed)
	}
	return needs
}

// clip wants what the source has of a range that comes from the disk.
func (n *Need) clip(off, length int64) {
	if lo, hi := block.Clip(n.Source.Dev.Size(), off, length); lo < hi {
		n.Needed.Add(Range{lo, hi - lo}.sectors())
	}
}

// unread lists what of the needed ranges is still to be read. An image holds what it has,
// but for what its mapfile says, and nothing for sure when that cannot be used: then all of it
// is doubtful. A disk without a mapfile has not been read at all.
func unread(s *scan.Source, needed Ranges) Ranges {
	if s.Kind == "block device" && s.Mapfile == "" {
		return slices.Clone(needed)
	}
	var rest Ranges
	for _, r := range needed {
		for e := range s.Dev.Extents(r.Off, r.Len) {
			if !e.State.Sure() {
				rest.Add(Range{e.Off, e.Len}.sectors())
			}
		}
		if lo := max(r.Off, s.Dev.Size()); lo < r.End() {
			rest.Add(Range{lo, r.End() - lo}.sectors())
		}
	}
	return rest
}

// Mapfile is the domain mapfile of what is unread: finished blocks are the domain.
func (n Need) Mapfile() *block.Mapfile {
	m := &block.Mapfile{Status: byte(block.Finished), Pass: 1}
	for _, r := range n.Unread {
		m.Add(r.Off-m.End(), block.NonTried)
		m.Add(r.Len, block.Finished)
	}
	return m
}
