package match

import (
	"bytes"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Samples of the legs of an array.
const (
	samples    = 64
	sampleSize = 16 << 10
	enough     = 4 // samples that are no zeros and fit
)

// array compares an array's leg on the PV with the other legs, at some places: copies must
// be equal, and parity must be that of the others.
func (p *probe) array(with *rebuild.VG, lv *metadata.LV, s *metadata.Segment, add adder) {
	if !p.work.take(1 + len(s.Areas)/named) {
		return
	}
	r, err := s.RAID()
	if err != nil {
		return
	}
	_, byName := with.Index()
	var legs []block.Device
	var onPV []int
	for i, l := range r.Legs {
		image := byName[l.Image]
		if image == nil {
			return
		}
		if slices.Contains(p.lvs, image) {
			onPV = append(onPV, i)
		}
		dev := p.open(with, image)
		if dev == nil {
			return
		}
		legs = append(legs, dev)
	}
	if len(onPV) != 1 {
		return
	}
	peers := peersOf(s.Type, onPV[0], legs)
	if len(peers) == 0 {
		return
	}
	fit, differ, first := compare(legs[onPV[0]], peers)
	switch {
	case differ == 0 && fit >= enough:
		add(identity, p.onPV(byName[r.Legs[onPV[0]].Image], first), "leg %d of %s fits the others in %d places", onPV[0], lv.Name, fit)
	case differ > fit:
		add(opposing, -1, "leg %d of %s does not fit the others in %d of %d places", onPV[0], lv.Name, differ, fit+differ)
	}
}

// peersOf are the legs of which the exclusive or is what a leg must hold; none if that is not
// so simple.
func peersOf(segType string, leg int, legs []block.Device) []block.Device {
	switch {
	case segType == "raid1":
		for i, l := range legs {
			if i != leg {
				return []block.Device{l}
			}
		}
	case segType == "raid4", strings.HasPrefix(segType, "raid5"):
		return slices.Delete(slices.Clone(legs), leg, leg+1)
	case segType == "raid10" && len(legs)%2 == 0: // copies lie side by side
		return []block.Device{legs[leg^1]}
	}
	return nil
}

// compare counts the places in which a leg is, and is not, the exclusive or of others, and
// gives the first that is. Zeros do not count, and neither does what cannot be read.
func compare(leg block.Device, peers []block.Device) (fit, differ int, first int64) {
	size := leg.Size() / sampleSize
	if size == 0 {
		return 0, 0, 0
	}
	zero := make([]byte, sampleSize)
	b := make([]byte, sampleSize)
	for i := range min(samples, size) {
		off := i * size / min(samples, size) * sampleSize
		if n, _ := leg.ReadAt(b, off); n < sampleSize {
			continue
		}
		sum, ok := slices.Clone(zero), true
		for _, p := range peers {
			other := make([]byte, sampleSize)
			n, _ := p.ReadAt(other, off)
			ok = ok && n == sampleSize
			for j := range sum {
				sum[j] ^= other[j]
			}
		}
		switch {
		case !ok, bytes.Equal(b, zero) && bytes.Equal(sum, zero):
		case bytes.Equal(b, sum):
			if fit++; fit == 1 {
				first = off
			}
		default:
			differ++
		}
	}
	return fit, differ, first
}
