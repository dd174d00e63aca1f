package activate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// RAID is an array of legs: mirrors, stripes with parity, or mirrored stripes. It has one
// part, and two while a reshape is under way.
type RAID struct {
	Legs  []Leg // by position in the array
	Parts []Part
	Doubt string // why nothing of the array is certain; "" when it is

	// Unsynced lists ranges of the data of each leg, in bytes behind a part's DataOffset,
	// where parity may not fit the data: what has to be rebuilt there is doubtful. Of a raid10
	// that spreads its copies they are ranges of the array, where only first copies count.
	Unsynced []block.Extent
}

// Leg is a device of an array.
type Leg struct {
	Image Input // of Size bytes; unused when Lost
	Size  int64
	Lost  string // why there is no image; "" when there is one

	// Marks lists what of the image is not to be trusted: bad where it was never rebuilt,
	// doubtful where it is stale. Offsets are from the start of the image.
	Marks []block.Extent
}

// Part is a run of an array's bytes that has one layout.
type Part struct {
	Off, Len   int64
	Layout     dmraid.Layout // its devices are the first legs
	DataOffset int64         // where in each image the data of this layout begins
}

// Inputs lists the images that are there.
func (t RAID) Inputs() []Input {
	var in []Input
	for _, l := range t.Legs {
		if l.Lost == "" {
			in = append(in, l.Image)
		}
	}
	return in
}

func (t RAID) String() string {
	var s []string
	for _, p := range t.Parts {
		text := p.Layout.String()
		if p.DataOffset > 0 {
			text += fmt.Sprintf(", data from %d", p.DataOffset)
		}
		s = append(s, text)
	}
	return strings.Join(s, ", then ")
}

// raidSize is the number of LE that a RAID segment offers. The room that a reshape needs on
// each leg that holds data counts in the text, but is not for the user; in raid10 all legs
// do (lib/activate/dev_manager.c).
func raidSize(s *metadata.Segment) int64 {
	if !strings.HasPrefix(s.Type, "raid") || s.ReshapeCount <= 0 {
		return s.ExtentCount
	}
	r, err := s.RAID()
	if err != nil {
		return s.ExtentCount
	}
	data := int64(len(r.Legs)) - metadata.Parity(s.Type)
	if data < 1 || s.ReshapeCount > (s.ExtentCount-1)/data {
		return s.ExtentCount
	}
	return s.ExtentCount - data*s.ReshapeCount
}

// reshaped tells whether all flags of a segment's type are those by which lvm2 keeps its own
// record of a reshape (lib/format_text/flags.c). They stand on images too, whose bytes they
// do not move.
func reshaped(s *metadata.Segment) bool {
	return len(s.TypeFlags) > 0 && !slices.ContainsFunc(s.TypeFlags, func(flag string) bool {
		return !strings.HasPrefix(flag, "RESHAPE") && flag != "REMOVE_AFTER_RESHAPE"
	})
}

// raid plans a segment of n bytes of type raid0 to raid10.
func (p *planner) raid(lv *metadata.LV, s *metadata.Segment, n int64, above []string) (Target, error) {
	text, err := s.RAID()
	if err != nil {
		return nil, err
	}
	chunk := text.StripeSize * block.SectorSize
	asked, err := dmraid.LayoutOf(s.Type, len(text.Legs), int(min(text.DataCopies, math.MaxUint8)), chunk)
	if err != nil {
		return nil, err
	}
	a := &array{planner: p, lv: lv, moved: reshaped(s) || s.ReshapeCount > 0, size: n, asked: asked}
	for i, leg := range text.Legs {
		a.legs = append(a.legs, p.raidLeg(i, leg, above))
	}
	a.choose()
	a.arrange()
	if a.layout.Level == 0 && a.doubt == "" {
		if t, ok := a.stripes(); ok {
			return t, nil
		}
	}
	a.judge()
	t := RAID{Parts: a.parts(), Unsynced: a.unsynced, Doubt: a.doubt}
	for _, l := range a.order {
		t.Legs = append(t.Legs, l.leg())
	}
	a.tell()
	return t, nil
}

// stripes is raid0 over legs that are all there, which is nothing but stripes.
func (a *array) stripes() (Target, bool) {
	t := Striped{ChunkSize: a.layout.Chunk}
	row := a.layout.Chunk * int64(a.layout.Devices)
	if a.size%row != 0 {
		return nil, false
	}
	for _, l := range a.order {
		if l.image == nil || l.image.Size < a.size/int64(a.layout.Devices) {
			return nil, false
		}
		t.Stripes = append(t.Stripes, Input{Volume: l.image})
	}
	return t, true
}

// parts lays the layouts out over the array.
func (a *array) parts() []Part {
	now := Part{Len: a.size, Layout: a.layout, DataOffset: a.dataOffset}
	if a.fresh == nil || a.fresh.sb.Reshape == nil {
		return []Part{now}
	}
	r := a.fresh.sb.Reshape
	next := Part{Layout: r.Layout, DataOffset: r.DataOffset}
	at := min(r.Position, a.size)
	first, second := next, now
	if r.Backward {
		first, second = now, next
	}
	first.Off, first.Len = 0, at
	second.Off, second.Len = at, a.size-at
	return slices.DeleteFunc([]Part{first, second}, func(p Part) bool { return p.Len == 0 })
}

// leg is the decision about a leg.
func (l *raidLeg) leg() Leg {
	if l.image == nil {
		return Leg{Lost: cmp.Or(l.noImage, "it is not in the metadata")}
	}
	return Leg{Image: Input{Volume: l.image}, Size: l.image.Size, Marks: l.marks}
}
