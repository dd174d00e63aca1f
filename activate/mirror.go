package activate

import (
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/dmmirror"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Mirror holds the same bytes on each leg, region by region, where the log says so.
// Elsewhere the first leg is right: what was written reached it first, and the others are
// copied from it. Source: lib/mirror/mirrored.c, drivers/md/dm-raid1.c.
type Mirror struct {
	Legs       []Input
	RegionSize int64         // bytes
	LogVolume  *Volume       // nil: the log is kept in memory only
	Log        *dmmirror.Log // what it says; nil: no region is known to be in sync

	// Unsynced says why bytes are doubtful that another leg than the first gives for a
	// region which is not known to be in sync.
	Unsynced string
}

// Inputs implements [Target].
func (t Mirror) Inputs() []Input {
	if t.LogVolume == nil {
		return t.Legs
	}
	return append(slices.Clone(t.Legs), Input{Volume: t.LogVolume})
}

func (t Mirror) String() string {
	if t.Log == nil {
		return fmt.Sprintf("mirror of %d legs, no log", len(t.Legs))
	}
	return fmt.Sprintf("mirror of %d legs, %d of %d regions of %d bytes in sync", len(t.Legs), t.Log.InSync(), t.Log.Regions(), t.RegionSize)
}

// maxLegs bounds the legs of a mirror; the kernel takes 9 at most (drivers/md/dm-raid1.c,
// MAX_NR_MIRRORS).
const maxLegs = 64

// mirror plans a mirror segment.
func (p *planner) mirror(lv *metadata.LV, s *metadata.Segment, n int64, above []string) (Target, error) {
	m, err := s.Mirror()
	if err != nil {
		return nil, err
	}
	if len(s.Areas) == 0 {
		return nil, fmt.Errorf("the metadata names no legs")
	}
	if len(s.Areas) > maxLegs {
		return nil, fmt.Errorf("the metadata says %d legs, at most %d are read", len(s.Areas), maxLegs)
	}
	if len(s.Areas) == 1 {
		in, err := p.input(s.Areas[0], n, above)
		return Linear{in}, err
	}
	legs := make([]Input, len(s.Areas))
	for i, a := range s.Areas {
		legs[i] = p.leg(a, n, above)
	}
	if lv.HasStatus("PVMOVE") || m.ExtentsMoved != nil {
		return p.pvmove(lv, s, m, legs, n)
	}
	t := Mirror{Legs: legs, RegionSize: m.RegionSize * block.SectorSize}
	switch {
	case lv.HasStatus("NOTSYNCED"):
		t.Unsynced = fmt.Sprintf("mirror %s was made without a first sync: its legs differ wherever nothing was written", lv.Name)
	case m.Log == "":
		t.Unsynced = fmt.Sprintf("mirror %s kept its log in memory: whether its legs were in sync is not known", lv.Name)
	default:
		t.Unsynced = fmt.Sprintf("mirror %s: not in sync where the primary leg is lost", lv.Name)
		if err := p.mirrorLog(&t, m.Log, n, above); err != nil {
			p.note(lv, false, "its log cannot be used, so only the primary leg is: %v", err)
		}
	}
	if t.Log != nil && t.Log.InSync() < t.Log.Regions() {
		p.note(lv, true, "%d of %d regions of the mirror were not in sync: they are read from %s", t.Log.Regions()-t.Log.InSync(), t.Log.Regions(), s.Areas[0].Name)
	}
	for i, leg := range legs {
		if lost := p.lost(leg, n); lost != "" {
			p.note(lv, true, "mirror leg %s: %s", s.Areas[i].Name, lost)
		}
	}
	return t, nil
}

// mirrorLog reads the log of a mirror of n bytes.
func (p *planner) mirrorLog(t *Mirror, name string, n int64, above []string) (err error) {
	if t.RegionSize <= 0 {
		return fmt.Errorf("the mirror's regions have %d bytes", t.RegionSize)
	}
	if t.LogVolume, err = p.named(name, above); err != nil {
		return err
	}
	if doubt := p.doubts(Input{Volume: t.LogVolume}, t.LogVolume.Size); doubt != "" {
		return fmt.Errorf("it is doubtful: %s", doubt)
	}
	t.Log, err = dmmirror.Read(p.open(t.LogVolume), (n-1)/t.RegionSize+1)
	return err
}

// pvmove plans a run of extents on its way from the first leg to the second. Until all of
// it is copied the first has everything, since writes go to both; from then on only the
// second is written. Source: lib/metadata/mirror.c, tools/pvmove_poll.c.
func (p *planner) pvmove(lv *metadata.LV, s *metadata.Segment, m metadata.Mirror, legs []Input, n int64) (Target, error) {
	if len(legs) != 2 {
		return nil, fmt.Errorf("a pvmove between %d places, want 2", len(legs))
	}
	from, to := legs[0], legs[1]
	if m.ExtentsMoved == nil || *m.ExtentsMoved < s.ExtentCount {
		return Linear{from}, nil
	}
	if p.lost(to, n) == "" {
		return Linear{to}, nil
	}
	p.note(lv, false, "what %s has lost of the extents moved there is read from their old place", s.Areas[1].Name)
	return Mirror{Legs: []Input{to, from}, Unsynced: fmt.Sprintf("the old place of extents that %s moved: what was written since is not there", lv.Name)}, nil
}

// leg is [planner.input] for one of several legs: a leg that cannot be planned is one that
// cannot be read.
func (p *planner) leg(a metadata.Area, n int64, above []string) Input {
	in, err := p.input(a, n, above)
	if err != nil {
		return broken(a.Name, n, err)
	}
	return in
}

// broken stands in for n bytes of an input that cannot be planned.
func broken(name string, n int64, err error) Input {
	v := &Volume{LV: &metadata.LV{Name: name}}
	v.add(n, Error{err.Error()})
	return Input{Volume: v}
}

// lost says why some of the n bytes of an input cannot be read; "" when all can.
func (p *planner) lost(in Input, n int64) string {
	v := &Volume{LV: &metadata.LV{}}
	v.add(n, Linear{in})
	for e := range p.open(v).Extents(0, n) {
		if e.State == block.Bad {
			return e.Why
		}
	}
	return ""
}
