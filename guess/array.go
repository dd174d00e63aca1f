package guess

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/metadata/signs"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Striping says how the legs of a volume hold its bytes.
type Striping struct {
	Type  string // the segment type: "striped", "raid5_ls"
	Chunk int64  // bytes; 0 for raid1
	Legs  []Leg  // by position

	layout dmraid.Layout
}

// Leg is a part of a striped volume or an array.
type Leg struct {
	Source *scan.Source // nil when it was not found
	At     int64        // of its data, in the source
	Len    int64
	Meta   int64 // of its superblock, in the source; -1 when it has none

	proofs int // of a stripe: how much tells of its place
}

// enough is how many proofs a stripe takes to be sure: the checksum of one may have 16 bits.
const enough = 2

// member is a leg that a superblock of device-mapper's tells of.
type member struct {
	sign *scan.Sign
	sb   *dmraid.Superblock
}

// geometry is what the legs of one array agree on.
type geometry struct {
	layout dmraid.Layout
	size   int64
}

// Bounds of the work on arrays.
const (
	maxMembers = 4096
	maxLegs    = 64
	maxTries   = 256     // combinations of members that are held against their content, of one geometry
	maxPlaces  = 1 << 20 // at which legs are held against each other, or looked for, in all
	samples    = 64      // of them, of an array
	sampleSize = 4 << 10 // bytes
)

// extentSizes are the sizes of extents that are tried, that of lvm2 first.
var extentSizes = [...]int64{4 << 20, 128 << 20, 64 << 20, 32 << 20, 16 << 20, 8 << 20, 2 << 20, 1 << 20, 512 << 10, 256 << 10, 128 << 10, 64 << 10}

// arrays makes volumes of the RAID legs whose superblocks are left, and returns the signs that
// are no part of them. lvm2 puts a leg's data right behind its superblock's extent.
func (l *Layout) arrays(found []*scan.Sign) []*scan.Sign {
	byGeometry := map[geometry][]member{}
	var order []geometry
	n := 0
	for _, s := range found {
		if m, ok := readMember(s); ok && n < maxMembers {
			g := geometry{m.sb.Layout, m.sb.ArraySize}
			if byGeometry[g] == nil {
				order = append(order, g)
			}
			byGeometry[g] = append(byGeometry[g], m)
			n++
		}
	}
	if len(order) == 0 {
		return found
	}
	best, score := []*Volume(nil), -1
	for _, es := range extentSizes {
		var list []*Volume
		proven := 0
		for _, g := range order {
			for _, v := range l.assembleArrays(g, byGeometry[g], es) {
				list = append(list, v)
				proven += v.proven
			}
		}
		if proven > score {
			best, score = list, proven
			l.ExtentSize = es
		}
	}
	slices.SortStableFunc(best, func(a, b *Volume) int { return cmp.Compare(b.proven-b.against, a.proven-a.against) })
	for _, v := range best {
		if v.against <= v.proven && !l.occupied(v) && len(l.legs) < maxVolumes {
			l.legs = append(l.legs, v)
		}
	}
	slices.SortStableFunc(l.legs, func(a, b *Volume) int {
		x, y := a.spans()[0], b.spans()[0]
		return cmp.Or(cmp.Compare(x.source.Name, y.source.Name), cmp.Compare(x.at, y.at))
	})
	return l.outside(found)
}

// readMember reads the superblock of a leg of an array that is not being reshaped.
func readMember(s *scan.Sign) (member, bool) {
	if s.Format != "dm-raid" || s.Source == nil || s.Source.Dev == nil {
		return member{}, false
	}
	b := make([]byte, dmraid.SuperblockSize)
	if n, _ := s.Source.Dev.ReadAt(b, s.Offset); n < len(b) {
		return member{}, false
	}
	sb, _, err := dmraid.ReadSuperblock(b)
	ok := err == nil && sb.Reshape == nil && sb.DataOffset == 0 && sb.ArraySize > 0 && sb.ArraySize < 1<<60 &&
		sb.Layout.Devices <= maxLegs && sb.Position < sb.Layout.Devices
	return member{s, sb}, ok
}

// assembleArrays puts together arrays of the members of one geometry, with extents of a size.
// Of several arrays that look alike, those legs belong together that fit each other.
func (l *Layout) assembleArrays(g geometry, members []member, es int64) []*Volume {
	legSize := g.layout.LegSize(g.size)
	if g.size%es != 0 || legSize <= 0 {
		return nil
	}
	legSize = (legSize + es - 1) / es * es
	byPosition := make([][]member, g.layout.Devices)
	for _, m := range members {
		if m.sign.Offset+es+legSize <= m.sign.Source.Dev.Size() {
			byPosition[m.sb.Position] = append(byPosition[m.sb.Position], m)
		}
	}
	for _, list := range byPosition {
		slices.SortStableFunc(list, func(a, b member) int { return -cmp.Compare(a.sb.Events, b.sb.Events) })
	}
	var list []*Volume
	tries := maxTries
	for {
		chosen := make([]int, g.layout.Devices)
		best := l.arrayOf(g, byPosition, chosen, es, legSize)
		if best == nil {
			return list
		}
		picked := slices.Clone(chosen)
		for p := range byPosition { // one position after the other: the rest is the best so far
			for i := 1; i < len(byPosition[p]) && tries > 0; i++ {
				tries--
				try := slices.Clone(picked)
				try[p] = i
				if v := l.arrayOf(g, byPosition, try, es, legSize); v != nil && v.score() > best.score() {
					best, picked = v, try
				}
			}
		}
		best.judgeArray()
		list = append(list, best)
		for p, i := range picked {
			if i < len(byPosition[p]) {
				byPosition[p] = slices.Delete(byPosition[p], i, i+1)
			}
		}
	}
}

// score weighs what speaks for a striping: little may speak against it, as where a write was
// under way.
func (v *Volume) score() int { return v.proven - 8*v.against }

// arrayOf makes an array of one member of each position; nil when too few are there.
func (l *Layout) arrayOf(g geometry, byPosition [][]member, chosen []int, es, legSize int64) *Volume {
	v := &Volume{Size: g.size, claimed: true, Striping: &Striping{Type: segmentType(g.layout), Chunk: g.layout.Chunk, layout: g.layout}}
	missing := 0
	var events uint64
	for p, list := range byPosition {
		leg := Leg{Len: legSize, Meta: -1}
		if chosen[p] >= len(list) {
			missing++
		} else {
			m := list[chosen[p]]
			leg = Leg{Source: m.sign.Source, At: m.sign.Offset + es, Len: legSize, Meta: m.sign.Offset}
			if v.Sign == nil || m.sb.Events > events {
				events = m.sb.Events
			}
			if v.Sign == nil {
				v.Sign = m.sign
			}
		}
		v.Striping.Legs = append(v.Striping.Legs, leg)
	}
	if most := max(g.layout.Parity(), g.layout.Copies()-1); missing > most || v.Sign == nil {
		return nil
	}
	if missing > 0 {
		v.note("%d of its %d legs were not found", missing, g.layout.Devices)
	}
	l.compare(v)
	v.content()
	return v
}

// compare counts the places at which the legs fit each other, and at which they do not.
func (l *Layout) compare(v *Volume) {
	s := v.Striping
	size := s.layout.LegSize(v.Size)
	bufs := make([][]byte, len(s.Legs))
	step := max(size/samples/sampleSize*sampleSize, sampleSize)
	for at := int64(0); at+sampleSize <= size && l.left > 0; at += step {
		l.left--
		whole := true
		for i, leg := range s.Legs {
			if leg.Source == nil {
				bufs[i] = nil
				continue
			}
			bufs[i] = make([]byte, sampleSize)
			n, _ := leg.Source.Dev.ReadAt(bufs[i], leg.At+at)
			whole = whole && n == sampleSize
		}
		if !whole {
			continue
		}
		switch s.fit(bufs, at) {
		case fits:
			v.proven++
		case differs:
			v.against++
		}
	}
}

type fitting int

const (
	tellsNothing fitting = iota
	fits
	differs
)

// fit holds what the legs have at a byte of each against each other. Zeros tell nothing.
func (s *Striping) fit(legs [][]byte, at int64) fitting {
	switch l := s.layout; {
	case l.Level == 1 || l.Level == 10 && !l.Spreads():
		return copiesFit(legs, l.Copies())
	case l.Parity() > 0:
		return parityFits(legs, l.Row(at/l.Chunk))
	}
	return tellsNothing
}

// copiesFit compares neighbours among so many copies beside each other.
func copiesFit(legs [][]byte, copies int) fitting {
	result := tellsNothing
	for i := 1; i < len(legs); i++ {
		if i%copies == 0 {
			continue
		}
		switch a, b := legs[i-1], legs[i]; {
		case a == nil || b == nil:
			return tellsNothing
		case !bytes.Equal(a, b):
			return differs
		case !block.AllZero(b):
			result = fits
		}
	}
	return result
}

// parityFits looks whether data and P of a row make up for each other.
func parityFits(legs [][]byte, row dmraid.Row) fitting {
	content := false
	for i, leg := range legs {
		if i == row.Q {
			continue
		}
		if leg == nil {
			return tellsNothing
		}
		content = content || !block.AllZero(leg)
	}
	sum := make([]byte, sampleSize)
	switch row.SyndromeP(sum, legs); {
	case !block.AllZero(sum):
		return differs
	case content:
		return fits
	}
	return tellsNothing
}

// place is where a byte of the volume lies: on which leg, and where on it.
func (s *Striping) place(off int64) (leg int, at int64) {
	l := s.layout
	if l.Level == 1 {
		return 0, off
	}
	chunk, n := off/s.Chunk, int64(l.Columns())
	row, column := chunk/n, int(chunk%n)
	at = row*s.Chunk + off%s.Chunk
	switch {
	case l.Level == 10:
		return column * l.Copies(), at
	case l.Spreads():
		return -1, 0
	}
	return l.Row(row).Device(column), at
}

// firstPlaces are where the first superblock of a filesystem stands in a volume.
var firstPlaces = [...]int64{0, 1024, 64 << 10}

// content looks for the filesystem that a volume with legs begins with.
func (v *Volume) content() {
	for _, off := range firstPlaces {
		n, at := v.Striping.place(off)
		if n < 0 || v.Striping.Legs[n].Source == nil {
			continue
		}
		leg := v.Striping.Legs[n]
		b := make([]byte, signs.Length)
		got, _ := leg.Source.Dev.ReadAt(b, leg.At+at)
		s := signs.Read(b[:got])
		if s == nil || s.Start != off || s.Backup || !fills[s.Format] || s.Checksum == metadata.ChecksumInvalid {
			continue
		}
		v.Sign = &scan.Sign{Source: leg.Source, Offset: leg.At + at, Sign: s}
		switch rest := v.Size - s.Size; {
		case rest < 0:
			v.against++
			v.note("%s of %d bytes begins it, which is more than it has", s.Format, s.Size)
		case s.Size > 0:
			v.proven++
			v.note("%s of %d bytes begins it", s.Format, s.Size)
		}
		return
	}
}

// judgeArray says how sure an array is.
func (v *Volume) judgeArray() {
	missing := slices.ContainsFunc(v.Striping.Legs, func(l Leg) bool { return l.Source == nil })
	if v.proven+v.against > 0 {
		v.note("its legs fit each other at %d of %d places that were looked at", v.proven, v.proven+v.against)
	} else {
		v.note("nothing on its legs tells whether they fit each other")
	}
	switch {
	case v.against > 0 || v.proven == 0 || missing:
		v.Sure = Weak
	case v.proven >= 8:
		v.Sure = Sure
	default:
		v.Sure = Likely
	}
}

// spans are the places of the sources that a volume with legs takes.
func (v *Volume) spans() (list []span) {
	for _, leg := range v.Striping.Legs {
		if leg.Source == nil {
			continue
		}
		list = append(list, span{leg.Source, leg.At, leg.At + leg.Len})
		if leg.Meta >= 0 {
			list = append(list, span{leg.Source, leg.Meta, leg.Meta + dmBlock})
		}
	}
	return list
}

// dmBlock is the least that a superblock of device-mapper's takes, in bytes.
const dmBlock = 4096

// span is a range of a source, from byte at to end.
type span struct {
	source  *scan.Source
	at, end int64
}

func (s span) overlaps(o span) bool { return s.source == o.source && s.at < o.end && o.at < s.end }

// occupied tells whether another volume has a place that a volume takes.
func (l *Layout) occupied(v *Volume) bool {
	for _, o := range l.legs {
		for _, s := range o.spans() {
			if slices.ContainsFunc(v.spans(), s.overlaps) {
				return true
			}
		}
	}
	return false
}

// outside are the signs that stand in none of the volumes with legs.
func (l *Layout) outside(found []*scan.Sign) []*scan.Sign {
	return slices.DeleteFunc(slices.Clone(found), l.holds)
}

// holds tells whether a sign stands in a volume with legs.
func (l *Layout) holds(s *scan.Sign) bool {
	return slices.ContainsFunc(l.legs, func(v *Volume) bool {
		return slices.ContainsFunc(v.spans(), func(o span) bool { return o.source == s.Source && s.Offset >= o.at && s.Offset < o.end })
	})
}

// nextLeg is where behind a byte of a source the first leg of a volume begins; far away if
// nowhere.
func (l *Layout) nextLeg(source *scan.Source, at int64) int64 {
	next := int64(math.MaxInt64)
	for _, v := range l.legs {
		for _, s := range v.spans() {
			if s.source == source && s.at > at {
				next = min(next, s.at)
			}
		}
	}
	return next
}

// segmentType is lvm2's name for a layout. What raid0 has is the same in stripes.
func segmentType(l dmraid.Layout) string {
	switch l.Level {
	case 0:
		return "striped"
	case 10:
		return "raid10"
	}
	return l.Name()
}
