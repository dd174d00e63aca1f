// Package guess proposes how a disk without any LVM metadata was laid out, by the filesystems
// on it: where their superblocks stand, how large they say that they are, and where the copies
// of their superblocks lie. What it proposes is an lvm2 text for the user to correct.
//
// All offsets and sizes are bytes.
package guess

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Sureness says how far a volume can be believed.
type Sureness string

// From the best to the worst.
const (
	Sure   Sureness = "sure"   // copies of the superblock stand where they must, or its end meets the next volume
	Likely Sureness = "likely" // the superblock is sound, and nothing speaks against its size
	Weak   Sureness = "weak"   // the size is not known, only copies were found, or something speaks against it
)

// Volume is a filesystem, or something else that fills an LV, of which some part was found.
type Volume struct {
	Name   string // made up, of the characters that lvm2 allows
	Sign   *scan.Sign
	Size   int64 // as the filesystem says, or, where it does not, up to what follows
	Pieces []Piece
	Copies int // of the superblock, that were found where they must be
	Sure   Sureness
	Notes  []string // what speaks for it and against it, in words

	Striping *Striping // of what does not lie in pieces, but in legs; else nil

	claimed         bool // the size is the filesystem's own
	proven, against int  // places that speak for a striping, and against it
}

// Piece is a part of a volume that lies in one piece on a source.
type Piece struct {
	Off, Len int64 // in the volume
	Source   *scan.Source
	At       int64 // in the source

	known int64 // how many bytes from its start on are certainly its own: up to its last superblock
}

// Layout is what a guess comes to: sources as PVs, volumes as LVs.
type Layout struct {
	ExtentSize int64
	Disks      []Disk
	Volumes    []*Volume
	Inside     []*Volume // within others: images in files, or left over from another time

	legs []*Volume // those of Volumes that have legs
	left int       // places that may still be looked at; see maxPlaces
}

// Disk is a source as a PV, which begins with the source.
type Disk struct {
	Source *scan.Source
	ID     metadata.ID
	Start  int64 // of the first extent
}

// maxExtent is the extent size that lvm2 takes unless told otherwise.
const maxExtent = 4 << 20

// minExtent is the smallest that is proposed: volumes begin at multiples of it.
const minExtent = 64 << 10

// Bounds of what a guess looks at.
const (
	maxVolumes = 1024
	maxCopies  = 256 // superblocks of one volume
)

// Guess works out a layout from the signs on some sources, sorted by source and offset.
func Guess(signs []*scan.Sign) *Layout {
	l := &Layout{ExtentSize: maxExtent, left: maxPlaces}
	for _, v := range volumes(l.stripes(l.arrays(signs))) {
		if len(l.Volumes) == maxVolumes {
			break
		}
		if l.within(v) {
			l.Inside = append(l.Inside, v)
		} else {
			l.Volumes = append(l.Volumes, v)
		}
	}
	l.join()
	l.measure()
	l.align()
	l.judge()
	l.twins()
	l.Volumes = append(l.Volumes, l.legs...)
	l.name()
	return l
}

// fills are the formats that fill a volume.
var fills = map[string]bool{"ext2": true, "ext3": true, "ext4": true, "XFS": true, "Btrfs": true, "GFS2": true, "VxFS": true,
	"swap": true, "LUKS1": true, "LUKS2": true, "FAT12": true, "FAT16": true, "FAT32": true, "exFAT": true, "NTFS": true}

// identity tells volumes apart: by UUID, or else by place.
type identity struct {
	format, uuid string
	size         int64
	source       *scan.Source
	begins       int64
}

// volumes groups signs by the volume that they tell of, each with the places that its parts
// must have; sorted by the first of these.
func volumes(found []*scan.Sign) []*Volume {
	byID := map[identity][]*scan.Sign{}
	var order []identity
	for _, s := range found {
		begins, ok := s.Begins()
		if !fills[s.Format] || !ok || s.Checksum == metadata.ChecksumInvalid || s.Size < 0 || s.Start > 0 && s.Size > 0 && s.Start >= s.Size {
			continue
		}
		id := identity{format: s.Format, uuid: s.UUID, size: s.Size}
		if s.UUID == "" || s.Size == 0 {
			id = identity{format: s.Format, source: s.Source, begins: begins}
		}
		if byID[id] == nil {
			order = append(order, id)
		}
		if len(byID[id]) < maxCopies {
			byID[id] = append(byID[id], s)
		}
	}
	var list []*Volume
	for _, id := range order {
		if len(list) < 2*maxVolumes {
			list = append(list, volume(byID[id])...)
		}
	}
	slices.SortStableFunc(list, func(a, b *Volume) int {
		return cmp.Or(cmp.Compare(a.Pieces[0].Source.Name, b.Pieces[0].Source.Name), cmp.Compare(a.Pieces[0].At, b.Pieces[0].At), cmp.Compare(b.Size, a.Size))
	})
	return list
}

// volume makes one volume of the signs of one UUID; or several, if there are several first
// superblocks: clones, and what is left of a volume that was moved.
func volume(found []*scan.Sign) []*Volume {
	var firsts, copies []*scan.Sign
	for _, s := range found {
		if s.Backup {
			copies = append(copies, s)
		} else {
			firsts = append(firsts, s)
		}
	}
	slices.SortStableFunc(copies, func(a, b *scan.Sign) int { return cmp.Compare(a.Start, b.Start) })
	firsts = slices.DeleteFunc(slices.Clone(firsts), func(s *scan.Sign) bool {
		return slices.ContainsFunc(firsts, func(o *scan.Sign) bool { // the journal has one, too
			return o.Source == s.Source && o.Offset < s.Offset && s.Offset-o.Offset < max(o.Size, 1)
		})
	})
	if len(firsts) == 0 {
		return []*Volume{assemble(copies[0], copies)}
	}
	var list []*Volume
	for _, first := range firsts {
		mine := copies
		if len(firsts) > 1 { // only what lies in one piece with it is certainly its own
			at, _ := first.Begins()
			mine = slices.DeleteFunc(slices.Clone(copies), func(c *scan.Sign) bool {
				begins, _ := c.Begins()
				return c.Source != first.Source || begins != at
			})
		}
		list = append(list, assemble(first, mine))
	}
	return list
}

// assemble lays out a volume by the places of its superblocks: where one is not as far from
// the one before as it must be, another piece begins. Where exactly is not known.
func assemble(first *scan.Sign, copies []*scan.Sign) *Volume {
	v := &Volume{Sign: first, Size: first.Size, claimed: first.Size > 0}
	begins, _ := first.Begins()
	last := Piece{Source: first.Source, At: begins}
	if begins < 0 || first.Backup {
		v.note("its start was not found, only copies of its superblock")
	}
	for _, c := range copies {
		at, _ := c.Begins()
		if c.Source == last.Source && at == last.At-last.Off {
			v.Copies++
			last.known = c.Start - last.Off
			continue
		}
		if c.Start <= last.Off || c.Source == last.Source && c.Offset == first.Offset {
			continue // the same place of the volume again: another copy of the disk, or of the journal
		}
		last.Len = c.Start - last.Off
		v.Pieces = append(v.Pieces, last)
		last = Piece{Off: c.Start, Source: c.Source, At: c.Offset}
	}
	last.Len = v.Size - last.Off
	v.Pieces = append(v.Pieces, last)
	if cut := v.Pieces[0]; cut.At < 0 { // what the source lacks
		v.Pieces[0].Off, v.Pieces[0].At, v.Pieces[0].Len = cut.Off-cut.At, 0, cut.Len+cut.At
	}
	return v
}

func (v *Volume) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// within tells whether a volume begins inside of one that was found before it.
func (l *Layout) within(v *Volume) bool {
	p := v.Pieces[0]
	for _, o := range l.Volumes {
		for _, q := range o.Pieces {
			if q.Source != p.Source || p.At <= q.At || p.At >= q.At+q.Len {
				continue
			}
			last := q.Off == o.Pieces[len(o.Pieces)-1].Off
			if last && !l.interrupts(o, q, v) || !last && p.At < q.At+q.known {
				return true
			}
		}
	}
	return false
}

// interrupts tells whether a volume that begins inside of a piece of another is there in its
// own right: the other has no copy of its superblock behind that place though it must, and
// this one has some.
func (l *Layout) interrupts(o *Volume, q Piece, v *Volume) bool {
	at := v.Pieces[0].At - q.At + q.Off
	if o.Copies > 0 && len(o.Pieces) == 1 || v.Copies == 0 || o.Sign.Group == 0 || at >= o.Sign.Size-o.Sign.Group {
		return false
	}
	o.note("another volume begins within it, at its byte %d, and no copies of its own superblock were found behind that", at)
	return true
}

// join decides where the pieces of a volume meet: where another volume begins in the stretch
// in which they must, or else as late as can be.
func (l *Layout) join() {
	for _, v := range l.Volumes {
		for i := range len(v.Pieces) - 1 {
			p, next := &v.Pieces[i], &v.Pieces[i+1]
			meet := p.Off + p.Len
			for _, o := range l.Volumes {
				if q := o.Pieces[0]; o != v && q.Source == p.Source && q.At > p.At+p.known && q.At < p.At+p.Len {
					meet = min(meet, p.Off+q.At-p.At)
				}
			}
			if at := l.nextLeg(p.Source, p.At+p.known); at < p.At+p.Len {
				meet = min(meet, p.Off+at-p.At)
			}
			if gap := next.Off - meet; gap > 0 && next.At >= gap {
				p.Len, next.Off, next.At, next.Len = meet-p.Off, meet, next.At-gap, next.Len+gap
				v.note("it goes on elsewhere from its byte %d on, since another volume begins there", meet)
			} else {
				v.note("it goes on elsewhere somewhere between its bytes %d and %d: where is not known", p.Off+p.known, next.Off)
			}
		}
	}
}

// measure gives volumes of unknown size all that is free behind them, and holds those of known
// size against what follows.
func (l *Layout) measure() {
	for _, v := range l.Volumes {
		i := len(v.Pieces) - 1
		p := &v.Pieces[i]
		next := min(p.Source.Dev.Size(), l.nextLeg(p.Source, p.At))
		for _, o := range l.Volumes {
			for _, q := range o.Pieces {
				if o != v && q.Source == p.Source && q.At > p.At {
					next = min(next, q.At)
				}
			}
		}
		switch {
		case !v.claimed:
			p.Len = next - p.At
			v.Size = p.Off + p.Len
			v.note("%s does not tell its size: all up to what follows was taken", v.Sign.Format)
		case p.At+p.Len > next:
			v.note("the last %d bytes lie behind the start of another volume, or the end of the source: they lie elsewhere", p.At+p.Len-next)
			p.Len = max(next-p.At, 0)
		case next-(p.At+p.Len) < maxExtent && next < p.Source.Dev.Size():
			v.note("it ends where the next volume begins")
		}
	}
	l.Volumes = slices.DeleteFunc(l.Volumes, func(v *Volume) bool { return v.Pieces[0].Len <= 0 })
}

// align finds the extent size, and for each disk where its extents begin.
func (l *Layout) align() {
	at := map[*scan.Source][]int64{}
	var sources []*scan.Source
	for _, v := range l.Volumes {
		for i, p := range v.Pieces {
			if i > 0 {
				continue // where the piece begins is not known
			}
			if at[p.Source] == nil {
				sources = append(sources, p.Source)
			}
			at[p.Source] = append(at[p.Source], p.At-p.Off)
		}
	}
	for _, v := range l.legs {
		for _, s := range v.spans() {
			if at[s.source] == nil {
				sources = append(sources, s.source)
			}
			at[s.source] = append(at[s.source], s.at)
		}
	}
	fits := func(list []int64) bool {
		return !slices.ContainsFunc(list, func(a int64) bool { return (a-list[0])%l.ExtentSize != 0 })
	}
	for _, s := range sources {
		for (!fits(at[s]) || l.overruns(s, at[s][0])) && l.ExtentSize > block.SectorSize {
			l.ExtentSize /= 2
		}
	}
	for _, v := range l.Volumes {
		for _, p := range v.Pieces {
			if at[p.Source] == nil {
				at[p.Source] = []int64{p.At - p.Off}
				sources = append(sources, p.Source)
			}
		}
	}
	for _, s := range sources {
		l.Disks = append(l.Disks, Disk{Source: s, ID: madeID(s.Name, s.Dev.Size()), Start: (at[s][0]%l.ExtentSize + l.ExtentSize) % l.ExtentSize})
	}
}

// overruns tells whether a volume would end behind the last extent of its disk, whose extents
// begin with a volume at byte at.
func (l *Layout) overruns(s *scan.Source, at int64) bool {
	for _, v := range l.Volumes {
		for _, p := range v.Pieces {
			extents := (p.At + p.Len - at + l.ExtentSize - 1) / l.ExtentSize
			if p.Source == s && v.claimed && p.At+p.Len <= s.Dev.Size() && at+extents*l.ExtentSize > s.Dev.Size() {
				return true
			}
		}
	}
	return false
}

// judge says how sure each volume is.
func (l *Layout) judge() {
	for _, v := range l.Volumes {
		weak := !v.claimed || v.Sign.Backup || len(v.Pieces) > 1 || v.Pieces[0].Off > 0
		for _, p := range v.Pieces {
			weak = weak || p.Len <= 0
		}
		if v.Pieces[len(v.Pieces)-1].Off+v.Pieces[len(v.Pieces)-1].Len < v.Size {
			weak = true
		}
		if v.Copies > 0 {
			v.note("%d of the copies of its superblock stand where they must", v.Copies)
		}
		switch {
		case weak, l.ExtentSize < minExtent:
			v.Sure = Weak
		case v.Copies > 0 || slices.Contains(v.Notes, "it ends where the next volume begins"):
			v.Sure = Sure
		default:
			v.Sure = Likely
		}
	}
}
