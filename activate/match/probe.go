package match

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/signs"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// probe knows what must stand on a PV, by the LVs that lie on it.
type probe struct {
	whole *rebuild.VG // as it is; what is worked out of it serves all probes
	vg    *rebuild.VG // with the PV missing
	pv    *metadata.PV
	lvs   []*metadata.LV // those that have a part of it, visible or hidden
	work  *work
}

// maxLVs bounds how many LVs of a PV are looked at.
const maxLVs = 64

func newProbe(vg *rebuild.VG, pv *metadata.PV, w *work) *probe {
	p := &probe{whole: vg, vg: vg.Without(pv.ID), pv: pv, work: w}
	_, byName := vg.Index()
	on := map[*metadata.LV]bool{}
	var uses func(lv *metadata.LV, depth int) bool
	uses = func(lv *metadata.LV, depth int) bool {
		if hit, known := on[lv]; known || depth > 8 {
			return hit
		}
		on[lv] = false // for LVs made of each other
		for _, s := range lv.Segments {
			for _, a := range s.Areas {
				if a.Name == pv.Key && vg.PV(a.Name) != nil || byName[a.Name] != nil && uses(byName[a.Name], depth+1) {
					on[lv] = true
					return true
				}
			}
		}
		return false
	}
	for _, lv := range vg.Meta.LVs {
		if uses(lv, 0) && len(p.lvs) < maxLVs {
			p.lvs = append(p.lvs, lv)
		}
	}
	return p
}

// open plans an LV and opens it; nil when that fails, or was too much work.
func (p *probe) open(vg *rebuild.VG, lv *metadata.LV) block.Device {
	if !p.work.take(1) {
		return nil
	}
	plan, err := activate.New(vg, lv, volume.OpenVolume)
	if err != nil {
		p.work.take(len(lv.Segments))
		return nil
	}
	p.work.take(plan.Places)
	return &metered{volume.Open(plan), p.work, int(plan.Root.Widest())}
}

// judge collects what stands on a place that speaks for the PV or against it.
func (p *probe) judge(at *scan.PV) []Reason {
	if len(p.lvs) == 0 || !p.work.take((len(p.vg.PVs)+len(p.vg.Meta.LVs))/named) {
		return nil
	}
	with := p.vg.Suppose(p.pv.ID, at)
	var reasons []Reason
	add := func(weight int, at int64, format string, args ...any) {
		reasons = append(reasons, Reason{weight, true, fmt.Sprintf(format, args...), at})
	}
	shown := p.whole.Once(shownKey{}, func() any { return p.whole.Meta.Shown() }).(map[*metadata.LV]*metadata.LV)
	for _, lv := range p.lvs {
		before, after := p.open(p.vg, lv), p.open(with, lv)
		if before == nil || after == nil {
			continue
		}
		v := view{p, lv, before, after}
		moved := func(weight int, at int64, format string, args ...any) {
			if weight > fitting && p.wasElsewhere(lv, at) {
				weight, format = fitting, format+", as it did on another PV before the LV was moved"
			}
			add(weight, at, format, args...)
		}
		v.hidden(p, moved)
		if shown[lv] == lv {
			v.filesystem(moved)
		}
	}
	for _, lv := range p.lvs {
		for _, s := range lv.Segments {
			p.array(with, lv, s, add)
		}
	}
	return reasons
}

// wasElsewhere tells whether some version has a byte of the PV under the same byte of the LV on
// another PV: what a pvmove has left there looks like what it has moved.
func (p *probe) wasElsewhere(lv *metadata.LV, at int64) bool {
	off, ok := int64(0), false
	if at >= 0 {
		off, ok = lvByte(p.whole.Meta, lv, at, func(pv *metadata.PV) bool { return pv.ID == p.pv.ID })
	}
	if !ok {
		return false
	}
	for _, v := range p.whole.Group.Versions {
		if !p.work.take(1 + len(v.Meta.LVs)/named) {
			return true
		}
		for _, old := range v.Meta.LVs {
			if old.ID != lv.ID {
				continue
			}
			was, ok := lvByte(v.Meta, old, at, func(pv *metadata.PV) bool { return pv.ID != p.pv.ID })
			if ok && was == off {
				return true
			}
		}
	}
	return false
}

// lvByte is the byte of an LV that lies at byte at of a PV that counts; ok is false when there is
// none, or it is in stripes.
func lvByte(vg *metadata.VG, lv *metadata.LV, at int64, counts func(*metadata.PV) bool) (off int64, ok bool) {
	es := vg.ExtentSize * block.SectorSize
	for _, s := range lv.Segments {
		if len(s.Areas) != 1 {
			continue
		}
		i := slices.IndexFunc(vg.PVs, func(pv *metadata.PV) bool { return pv.Key == s.Areas[0].Name && counts(pv) })
		if i < 0 {
			continue
		}
		begins := vg.PVs[i].PEStart*block.SectorSize + s.Areas[0].Start*es
		if begins <= at && at-begins < s.ExtentCount*es {
			return s.StartExtent*es + at - begins, true
		}
	}
	return 0, false
}

// adder notes a reason: its weight, where on the PV it stands or -1, and the text.
type adder func(weight int, at int64, format string, args ...any)

// onPV is where on the PV a byte of an LV lies; -1 when it lies elsewhere, or within other LVs.
func (p *probe) onPV(lv *metadata.LV, off int64) int64 {
	es := p.vg.Meta.ExtentSize * block.SectorSize
	for _, s := range lv.Segments {
		start, n := s.StartExtent*es, int64(len(s.Areas))
		if off < start || off-start >= s.ExtentCount*es || n == 0 || s.TypeName() != "striped" && s.TypeName() != "linear" {
			continue
		}
		off -= start
		area := s.Areas[0]
		if chunk := s.StripeSize * block.SectorSize; n > 1 && chunk > 0 {
			area = s.Areas[off/chunk%n]
			off = off/chunk/n*chunk + off%chunk
		}
		if area.Name == p.pv.Key {
			return (p.pv.PEStart+area.Start*p.vg.Meta.ExtentSize)*block.SectorSize + off
		}
		return -1
	}
	return -1
}

// view is an LV as it reads with the PV missing, and with the place that is judged.
type view struct {
	p             *probe
	lv            *metadata.LV
	before, after block.Device
}

// sign reads what stands at a byte of the LV. new tells that it stands on the PV: without
// that there is nothing to be read.
func (v view) sign(off int64) (s *signs.Sign, new bool) {
	n := min(signs.Length, v.after.Size()-off)
	if n < block.SectorSize {
		return nil, false
	}
	for e := range v.before.Extents(off, n) {
		new = e.State == block.Bad
		break
	}
	b := make([]byte, n)
	got, _ := v.after.ReadAt(b, off)
	return signs.Read(b[:got]), new
}

// firstPlaces are where the first superblock of some format stands in a volume.
var firstPlaces = [...]int64{0, 1024, 8192, 64 << 10}

// filesystem looks for the superblocks of the filesystem on an LV: for the first one, and
// where there is one for its copies.
func (v view) filesystem(add adder) {
	var first *signs.Sign
	var isNew bool
	for _, off := range firstPlaces {
		if s, new := v.sign(off); s != nil && s.Start == off && !s.Backup && s.Array == nil {
			first, isNew = s, new
			break
		}
	}
	switch {
	case first == nil:
		return
	case !isNew:
	case first.Size > v.after.Size():
		add(opposing, -1, "%s of %d bytes stands at the start of LV %s, which has only %d", first.Format, first.Size, v.lv.Name, v.after.Size())
		return
	case first.Size > 0 && v.after.Size()-first.Size < max(first.Block, sizeSlack):
		add(identity, v.p.onPV(v.lv, first.Start), "%s of just its size stands at the start of LV %s", first.Format, v.lv.Name)
	case first.Checksum != metadata.ChecksumInvalid:
		add(fitting, v.p.onPV(v.lv, first.Start), "%s stands at the start of LV %s", first.Format, v.lv.Name)
	}
	v.copies(first, isNew, add)
}

// sizeSlack is how much larger than its filesystem an LV is, at most, that was made for it.
const sizeSlack = 64 << 10

// maxCopies bounds how many copies of a superblock are looked for.
const maxCopies = 64

// copies looks for copies of a superblock on other parts of the LV than the superblock.
func (v view) copies(first *signs.Sign, firstIsNew bool, add adder) {
	n, at := 0, int64(-1)
	if firstIsNew {
		at = v.p.onPV(v.lv, first.Start)
	}
	for _, off := range copyPlaces(first) {
		s, new := v.sign(off)
		if s == nil || s.Start != off || s.UUID != first.UUID || s.Format != first.Format {
			continue
		}
		if new != firstIsNew { // one of the two is on another disk
			n++
			if here := v.p.onPV(v.lv, off); here >= 0 && (at < 0 || here < at) {
				at = here
			}
		}
	}
	if n > 0 && first.UUID != "" {
		add(identity, at, "%s and copies of its superblock (%d), partly on other PVs, stand where LV %s has them", first.Format, n, v.lv.Name)
	}
}

// copyPlaces are the offsets of a filesystem at which copies of its superblock stand.
func copyPlaces(s *signs.Sign) []int64 {
	var list []int64
	switch {
	case s.Format == "Btrfs":
		return []int64{64 << 20, 256 << 30}
	case s.Group <= 0:
		return nil
	}
	shift := int64(0)
	if s.Format != "XFS" && s.Block == 1024 {
		shift = 1024
	}
	for n := int64(1); len(list) < maxCopies && n < s.Size/s.Group+1; n++ {
		if s.Format == "XFS" || sparse(n) {
			list = append(list, n*s.Group+shift)
		}
		if n > 1<<16 {
			break
		}
	}
	return list
}

// sparse tells whether a block group of an ext filesystem has a copy: 1 and the powers of
// 3, 5 and 7.
func sparse(n int64) bool {
	for _, base := range []int64{3, 5, 7} {
		m := n
		for m%base == 0 {
			m /= base
		}
		if m == 1 {
			return true
		}
	}
	return false
}

// stores are what stands at the start of hidden LVs, by the segment type that uses them.
var stores = map[string]string{"_tmeta": "thin pool", "_cmeta": "cache", "_vdata": "VDO"}

// hidden looks for the superblocks of device-mapper's own formats.
func (v view) hidden(p *probe, add adder) {
	s, new := v.sign(0)
	if s == nil || !new {
		return
	}
	if want, index, ok := p.leg(v.lv.Name); ok && s.Array != nil && s.Format == "dm-raid" {
		switch {
		case s.Array.Position == index:
			add(identity, v.p.onPV(v.lv, 0), "the superblock of leg %d of %s stands on it", index, want)
		default:
			add(opposing, -1, "the superblock of leg %d of an array stands where that of leg %d of %s must", s.Array.Position, index, want)
		}
		return
	}
	for suffix, format := range stores {
		if s.Format == format && bytes.HasSuffix([]byte(v.lv.Name), []byte(suffix)) {
			add(identity, v.p.onPV(v.lv, 0), "the superblock of the %s stands at the start of LV %s", format, v.lv.Name)
		}
	}
}

// leg finds the array that a metadata LV belongs to, and its position in it.
func (p *probe) leg(name string) (lv string, index int, ok bool) {
	type place struct {
		lv    string
		index int
	}
	all := p.whole.Once(legKey{}, func() any {
		places := map[string]place{}
		for _, lv := range p.whole.Meta.LVs {
			for _, s := range lv.Segments {
				r, err := s.RAID()
				if err != nil {
					continue
				}
				for i, l := range r.Legs {
					if _, known := places[l.Meta]; !known && l.Meta != "" {
						places[l.Meta] = place{lv.Name, i}
					}
				}
			}
		}
		return places
	}).(map[string]place)
	at, ok := all[name]
	return at.lv, at.index, ok
}

// Keys of what is worked out once for a VG.
type (
	legKey   struct{}
	shownKey struct{}
)
