package match

import (
	"cmp"
	"maps"
	"slices"

	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// maxBases is how many starts of a PV that follow from content are looked at.
const maxBases = 8

// bases lists where the PV would have to begin for the superblocks that were found all over
// a source to be at the start of one of its LVs, or for copies of them to be within one that
// has just the size of their filesystem; those that fit the most of them first.
func (p *probe) bases(found []*scan.Sign, s *scan.Source) []int64 {
	firsts := map[int64]int{} // where on the PV an LV begins: how many do
	for _, lv := range p.lvs {
		for _, seg := range lv.Segments {
			if seg.StartExtent == 0 && len(seg.Areas) > 0 && seg.Areas[0].Name == p.pv.Key {
				firsts[(p.pv.PEStart+seg.Areas[0].Start*p.vg.Meta.ExtentSize)*block.SectorSize]++
				break
			}
		}
	}
	votes := map[int64]int{}
	for _, sign := range found {
		begins, ok := sign.Begins()
		if sign.Source != s || !ok || len(votes) > 1<<16 {
			continue
		}
		if sign.Backup {
			p.within(sign, votes)
			continue
		}
		for first, n := range firsts {
			votes[begins-first] += n
		}
	}
	list := slices.SortedFunc(maps.Keys(votes), func(a, b int64) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(a, b))
	})
	return list[:min(len(list), maxBases)]
}

// within votes for where the PV would begin for a copy of a superblock to be where it should
// in an LV of the filesystem's size.
func (p *probe) within(sign *scan.Sign, votes map[int64]int) {
	for _, lv := range p.lvs {
		rest := lv.Extents()*p.vg.Meta.ExtentSize*block.SectorSize - sign.Size
		if rest < 0 || rest >= max(sign.Block, sizeSlack) || !p.work.take(1+len(lv.Segments)/named) {
			continue
		}
		if at := p.onPV(lv, sign.Start); at >= 0 {
			votes[sign.Offset-at]++
		}
	}
}
