package volume

import (
	"math"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

// raid opens an array of n bytes.
func (o opener) raid(t activate.RAID, n int64) block.Device {
	images := o.images(t)
	all := &table{size: n}
	for _, p := range t.Parts {
		array := openArray(p, openLegs(p, images), t.Unsynced)
		all.segs = append(all.segs, segment{off: p.Off, dev: block.NewSection(array, p.Off, p.Len, "the array ends here")})
	}
	if t.Doubt != "" {
		return block.NewDoubtful(all, t.Doubt)
	}
	return all
}

// OpenLegs opens the legs of a part of an array, each from the part's DataOffset on and as
// long as the array from its first byte to the part's last needs. What is not to be trusted
// of them is bad or doubtful.
func OpenLegs(t activate.RAID, p activate.Part) []block.Device {
	return openLegs(p, opener{}.images(t))
}

func (o opener) images(t activate.RAID) []block.Device {
	images := make([]block.Device, len(t.Legs))
	for i, leg := range t.Legs {
		images[i] = o.leg(leg)
	}
	return images
}

// leg opens an image with what is not to be trusted in it.
func (o opener) leg(l activate.Leg) block.Device {
	if l.Lost != "" {
		return block.NewBad(math.MaxInt64, l.Lost) // as large as is asked for
	}
	dev := o.input(l.Image, l.Size)
	if len(l.Marks) == 0 {
		return dev
	}
	marked, err := block.NewOverlay(dev, l.Marks)
	if err != nil {
		return block.NewBad(l.Size, err.Error())
	}
	return marked
}

func openLegs(p activate.Part, images []block.Device) []block.Device {
	legs := make([]block.Device, p.Layout.Devices)
	for i := range legs {
		legs[i] = block.NewSection(images[i], p.DataOffset, p.Layout.LegSize(p.Off+p.Len), "the images end here")
	}
	return legs
}

// openArray makes the array that has the layout of one part, from its first byte to the
// part's last.
func openArray(p activate.Part, legs []block.Device, unsynced []block.Extent) block.Device {
	size := p.Off + p.Len
	switch {
	case p.Layout.Spreads():
		return &spread{p.Layout.Name(), p.Layout.Spread(size), p.Layout.Chunk, legs, size, overlaid(size, unsynced)}
	case p.Layout.Copies() > 1 || p.Layout.Level == 1: // raid1 may be down to one leg
		return openMirrors(p.Layout, legs, size)
	}
	return &parity{layout: p.Layout, legs: legs, size: size, sync: overlaid(p.Layout.LegSize(size), unsynced)}
}

// overlaid is of size bytes and tells what of them is not in sync.
func overlaid(size int64, unsynced []block.Extent) block.Device {
	sync, err := block.NewOverlay(block.NewZero(size), unsynced)
	if err != nil {
		return block.NewDoubtful(block.NewZero(size), err.Error())
	}
	return sync
}

// openMirrors makes raid1 of all legs, or stripes over raid1 of those that stand side by
// side, which is what raid10 is.
func openMirrors(l dmraid.Layout, legs []block.Device, size int64) block.Device {
	var mirrors []block.Device
	for n := l.Copies(); len(legs) >= n; legs = legs[n:] {
		mirrors = append(mirrors, &copies{name: l.Name(), legs: legs[:n]})
	}
	if len(mirrors) == 1 {
		return mirrors[0]
	}
	return block.NewSection(newStriped(mirrors, l.Chunk), 0, size, "the array ends here")
}
