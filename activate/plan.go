// Package activate decides, once, how an LV is put together: a [Plan] is the tree of
// targets over the PVs of a VG that both engines follow, activate/volume in user space and
// activate/dm in the kernel.
//
// All offsets and lengths are bytes.
package activate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Plan says how one LV is put together.
type Plan struct {
	VG    *rebuild.VG
	LV    *metadata.LV
	Root  *Volume
	Notes []Note // what was decided on the way, and why

	// Places is how many segments and areas of the metadata it was put together from: a
	// measure of the memory that it takes.
	Places int
}

// Note is a decision that the user should know of: "leg 2 of vg/home is stale: events 41,
// the others have 57".
type Note struct {
	LV       string
	Degraded bool // redundancy is gone by it
	Text     string
}

// Degraded tells whether any part of the LV has lost its redundancy.
func (p *Plan) Degraded() bool {
	return slices.ContainsFunc(p.Notes, func(n Note) bool { return n.Degraded })
}

// Opener reads volumes while a plan is made: which legs of a RAID LV are stale stands in
// superblocks on its hidden LVs. activate/volume has one.
type Opener func(*Volume) block.Device

// Volume is an LV, visible or hidden, as a table of segments: sorted, gapless, and as long
// together as Size.
type Volume struct {
	LV       *metadata.LV
	Size     int64
	Segments []Segment

	pieces []int64 // see countPieces
}

// Segment is one line of a volume's table.
type Segment struct {
	Off, Len int64
	Target   Target
}

// Target is what a segment is made of: [Linear], [Striped], [Zero], [Error], or one of the
// kinds that have a file of their own: [RAID], [Mirror], [Snapshot], [Thin], [Cache],
// [Writecache], [Integrity], [VDO].
type Target interface {
	// Inputs lists what the target reads.
	Inputs() []Input
	// String names the target and its parameters.
	String() string
}

// Linear is one run of bytes of its input.
type Linear struct{ Input Input }

// Striped deals chunks of ChunkSize bytes to its inputs in turn. Each input gives the
// segment's length divided by the number of inputs.
// Source: lib/striped/striped.c, drivers/md/dm-stripe.c.
type Striped struct {
	ChunkSize int64
	Stripes   []Input
}

// Zero reads as zeros.
type Zero struct {
	Doubt string // why there may be something else; "" when there is not
}

// Error cannot be read, for the reason it gives.
type Error struct{ Why string }

// Input is a run of bytes of a PV or of another volume, of a length that the target knows.
type Input struct {
	PV     *rebuild.PV // one of PV and Volume is set
	Volume *Volume
	Off    int64 // in the PV or volume
}

func (t Linear) Inputs() []Input  { return []Input{t.Input} }
func (t Striped) Inputs() []Input { return t.Stripes }
func (Zero) Inputs() []Input      { return nil }
func (Error) Inputs() []Input     { return nil }

func (t Linear) String() string { return "linear" }
func (t Striped) String() string {
	return fmt.Sprintf("striped over %d, chunk %d", len(t.Stripes), t.ChunkSize)
}
func (Zero) String() string    { return "zero" }
func (t Error) String() string { return "error: " + t.Why }

func (in Input) String() string {
	if in.Volume != nil {
		return fmt.Sprintf("LV %s@%d", in.Volume.LV.Name, in.Off)
	}
	if in.PV.Missing() {
		return fmt.Sprintf("%s (missing)@%d", in.PV.Meta.Key, in.Off)
	}
	return fmt.Sprintf("%s (%s)@%d", in.PV.Meta.Key, in.PV.Found, in.Off)
}

// New plans an LV. Whatever is wrong with its metadata becomes an Error segment at its
// place, so that the rest can still be read; only an LV without any size is refused.
func New(vg *rebuild.VG, lv *metadata.LV, open Opener) (*Plan, error) {
	p := planner{vg: vg, open: open, done: map[string]*Volume{}}
	p.pvs, p.lvs = vg.Index()
	p.findSnapshots()
	root, err := p.view(lv)
	if err != nil {
		return nil, fmt.Errorf("LV %s/%s: %w", vg.Meta.Name, lv.Name, err)
	}
	return &Plan{VG: vg, LV: lv, Root: root, Notes: p.notes, Places: p.places}, nil
}

// maxDepth bounds how deep LVs may stand on LVs. lvm2's deepest stacks (a snapshot of a
// thin LV on a cached pool on RAID with integrity) need about ten.
const maxDepth = 32

// maxStripes bounds the stripes of a segment; lvm2 makes at most 128. maxAreas bounds what a
// segment of any type lists: legs of RAID are two areas each.
const (
	maxStripes = 1024
	maxAreas   = 2 * maxStripes
)

// maxPlaces bounds how many segments and areas a plan is put together from, and with that its
// memory.
const maxPlaces = 1 << 17

// planner keeps what New looks up again and again; of two of one name the first counts, as
// for lvm2.
type planner struct {
	vg        *rebuild.VG
	open      Opener
	pvs       map[string]*rebuild.PV
	lvs       map[string]*metadata.LV
	done      map[string]*Volume      // by LV name
	snapshots map[string]*metadata.LV // see findSnapshots
	merging   map[string]*metadata.LV
	notes     []Note
	places    int // see maxPlaces
}

// maxBytes bounds LVs and places on PVs: what is rounded up from there, as rows of arrays are,
// still fits into an int64.
const maxBytes = 1 << 62

// volume plans the bytes of an LV itself, which is what segments that name it mean: of the
// origin of a snapshot the origin, of a store of exceptions the store. [planner.view] is
// what its user sees. above lists the LVs that stand on it, to find loops.
func (p *planner) volume(lv *metadata.LV, above []string) (*Volume, error) {
	if v := p.done[lv.Name]; v != nil {
		return v, nil
	}
	if slices.Contains(above, lv.Name) {
		return nil, fmt.Errorf("LV %s stands on itself", lv.Name)
	}
	if len(above) >= maxDepth {
		return nil, fmt.Errorf("LVs are stacked more than %d deep", maxDepth)
	}
	es := p.vg.Meta.ExtentSize * block.SectorSize
	if es <= 0 {
		return nil, fmt.Errorf("the VG's extent size is %d sectors", p.vg.Meta.ExtentSize)
	}
	v := &Volume{LV: lv}
	segs := slices.Clone(lv.Segments)
	slices.SortStableFunc(segs, func(a, b *metadata.Segment) int { return cmp.Compare(a.StartExtent, b.StartExtent) })
	above = append(slices.Clone(above), lv.Name)
	for _, s := range segs {
		if s.StartExtent < 0 || s.ExtentCount <= 0 || s.ExtentCount > maxBytes/es-s.StartExtent {
			return nil, fmt.Errorf("segment %s: %d extents from extent %d on are more than there can be", s.Key, s.ExtentCount, s.StartExtent)
		}
		off, n := s.StartExtent*es, raidSize(s)*es
		if off > v.Size {
			v.add(off-v.Size, Error{"no segment of " + lv.Name + " in the metadata covers this" + because(lv.Damaged)})
		}
		if off < v.Size { // two segments claim the same extents: neither can be believed
			v.overlap(off, min(v.Size, off+n))
			if off+n <= v.Size {
				continue
			}
			v.add(off+n-v.Size, Error{"segments of " + lv.Name + " overlap in the metadata"})
			continue
		}
		v.add(n, p.target(lv, s, n, above))
	}
	if v.Size == 0 {
		return nil, fmt.Errorf("the metadata gives it no extents%s", because(lv.Damaged))
	}
	if err := v.countPieces(); err != nil {
		return nil, err
	}
	p.done[lv.Name] = v
	return v, nil
}

func because(damage string) string {
	if damage == "" {
		return ""
	}
	return ": " + damage
}

// add appends a segment of n bytes.
func (v *Volume) add(n int64, t Target) {
	v.Segments = append(v.Segments, Segment{Off: v.Size, Len: n, Target: t})
	v.Size += n
}

// overlap makes an error of every segment that touches [lo, hi).
func (v *Volume) overlap(lo, hi int64) {
	for i := len(v.Segments) - 1; i >= 0 && lo < v.Segments[i].Off+v.Segments[i].Len; i-- {
		if s := &v.Segments[i]; s.Off < hi {
			s.Target = Error{"segments of " + v.LV.Name + " overlap in the metadata"}
		}
	}
}

// target plans one segment of n bytes of an LV.
func (p *planner) target(lv *metadata.LV, s *metadata.Segment, n int64, above []string) Target {
	t, err := p.byType(lv, s, n, above)
	if err != nil {
		return Error{err.Error()}
	}
	return t
}

func (p *planner) byType(lv *metadata.LV, s *metadata.Segment, n int64, above []string) (Target, error) {
	if len(s.Areas) > maxAreas {
		return nil, fmt.Errorf("the metadata lists %d places, at most %d are read", len(s.Areas), maxAreas)
	}
	if p.places += 1 + len(s.Areas); p.places > maxPlaces {
		return nil, fmt.Errorf("the metadata makes LVs of more than %d places: this is behind the last that is read", maxPlaces)
	}
	if strings.HasPrefix(s.Type, "raid") { // flags of a reshape are its own to read
		return p.raid(lv, s, n, above)
	}
	if s.Type == "striped" && reshaped(s) {
		return p.striped(s, n, above)
	}
	switch s.Type { // these have flags that say nothing which their fields do not
	case "thin-pool":
		return p.thinPoolData(s, n, above)
	case "thin":
		return p.thin(lv, s, above)
	case "cache-pool":
		return nil, fmt.Errorf("a pool of a cache, which has no content of its own")
	case "cache":
		return p.cache(lv, s, n, above)
	case "writecache":
		return p.writecache(lv, s, n, above)
	}
	if len(s.TypeFlags) == 0 {
		switch s.Type {
		case "striped", "linear":
			return p.striped(s, n, above)
		case "mirror":
			return p.mirror(lv, s, n, above)
		case "integrity":
			return p.integrity(lv, s, n, above)
		case "snapshot":
			return p.snapshot(s, n, above)
		case "vdo":
			return p.vdo(s, above)
		case "vdo-pool":
			return p.vdoPoolData(s, n, above)
		case "zero":
			return Zero{p.vg.Doubt}, nil
		case "error":
			return nil, fmt.Errorf("an error segment: LVM itself reads nothing here")
		}
	}
	return nil, fmt.Errorf("segments of type %q are not read by this version of lvrescue", s.TypeName())
}

// striped plans linear and striped segments, which the text does not tell apart.
func (p *planner) striped(s *metadata.Segment, n int64, above []string) (Target, error) {
	stripes := int64(len(s.Areas))
	if stripes == 0 {
		return nil, fmt.Errorf("the metadata names no stripes")
	}
	if count, ok := s.Node.Int("stripe_count"); ok && count != stripes {
		return nil, fmt.Errorf("the metadata says %d stripes but lists %d", count, stripes)
	}
	if stripes > maxStripes {
		return nil, fmt.Errorf("the metadata says %d stripes, at most %d are read", stripes, maxStripes)
	}
	if stripes > 1 {
		chunk := s.StripeSize * block.SectorSize
		switch {
		case chunk <= 0:
			return nil, fmt.Errorf("%d stripes without a stripe size", stripes)
		case n%(stripes*chunk) != 0:
			return nil, fmt.Errorf("%d bytes cannot be dealt to %d stripes in chunks of %d", n, stripes, chunk)
		case s.ExtentCount%stripes != 0:
			return nil, fmt.Errorf("%d extents cannot be dealt to %d stripes", s.ExtentCount, stripes)
		}
	}
	in := make([]Input, stripes)
	for i, a := range s.Areas {
		var err error
		if in[i], err = p.input(a, n/stripes, above); err != nil {
			return nil, err
		}
	}
	if stripes == 1 {
		return Linear{in[0]}, nil
	}
	return Striped{ChunkSize: s.StripeSize * block.SectorSize, Stripes: in}, nil
}

// input finds the PV or LV that an area names. n is the length that will be read.
func (p *planner) input(a metadata.Area, n int64, above []string) (Input, error) {
	es := p.vg.Meta.ExtentSize * block.SectorSize
	if a.Start < 0 || a.Start > maxBytes/es-n/es-1 {
		return Input{}, fmt.Errorf("extent %d of %s is more than there can be", a.Start, a.Name)
	}
	off := a.Start * es
	if pv := p.pvs[a.Name]; pv != nil {
		if pv.Meta.PEStart > maxBytes/block.SectorSize {
			return Input{}, fmt.Errorf("the extents of PV %s begin at sector %d, which is more than there can be", a.Name, pv.Meta.PEStart)
		}
		if pv.Meta.PECount > 0 && off+n > pv.Meta.PECount*es {
			return Input{}, fmt.Errorf("extents %d-%d lie beyond the %d extents of PV %s", a.Start, a.Start+n/es-1, pv.Meta.PECount, a.Name)
		}
		return Input{PV: pv, Off: pv.Meta.PEStart*block.SectorSize + off}, nil
	}
	sub, err := p.named(a.Name, above)
	if err != nil {
		return Input{}, err
	}
	if off+n > sub.Size {
		return Input{}, fmt.Errorf("bytes %d-%d lie beyond the %d bytes of LV %s", off, off+n-1, sub.Size, a.Name)
	}
	return Input{Volume: sub, Off: off}, nil
}

// named plans the LV that a segment names.
func (p *planner) named(name string, above []string) (*Volume, error) {
	lv := p.lvs[name]
	if lv == nil {
		return nil, fmt.Errorf("the metadata names %q, which is neither a PV nor an LV of the VG", name)
	}
	return p.volume(lv, above)
}

// note tells, once, of a decision about an LV.
func (p *planner) note(lv *metadata.LV, degraded bool, format string, args ...any) {
	n := Note{LV: lv.Name, Degraded: degraded, Text: fmt.Sprintf(format, args...)}
	if !slices.Contains(p.notes, n) {
		p.notes = append(p.notes, n)
	}
}
