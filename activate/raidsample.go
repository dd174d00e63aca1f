package activate

import (
	"bytes"
	"fmt"

	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan/block"
)

const (
	sampleCount = 64   // about so many places, or twice that, or all where there are fewer
	sampleSize  = 4096 // bytes of each leg
)

// judgeWithoutSuperblocks decides when no superblock is left. The text then says how the
// legs are put together; a look at some rows tells whether they fit.
func (a *array) judgeWithoutSuperblocks() {
	for _, l := range a.order {
		if l.rebuild && l.image != nil {
			a.mark(l, block.Bad, l.name+" was never rebuilt", everything)
		}
	}
	if a.layout.Level == 0 {
		return
	}
	const none = "no RAID superblock is left: the metadata text alone says how the legs are put together"
	if a.moved { // parity fits wherever the data begins
		a.doubt = none + ", and after a reshape it does not say where on the legs the data begins"
		return
	}
	n, err := a.sample()
	if err != nil {
		a.doubt = fmt.Sprintf("%s, and %v", none, err)
		return
	}
	a.note(a.lv, false, "%s; parity or copies fit in all %d samples that were looked at, lvrescue verify compares all", none, n)
}

// sample looks whether parity or copies fit in n places spread over the array. No error means
// that they do, and that not all of them were zeros.
func (a *array) sample() (n int, err error) {
	legs := make([]block.Device, len(a.order))
	for i, l := range a.order {
		if !l.trusted() {
			return 0, fmt.Errorf("without leg %d nothing can confirm it", i)
		}
		legs[i] = a.open(l.image)
	}
	if a.layout.Spreads() {
		return a.sampleSpread(legs)
	}
	size := a.layout.LegSize(a.size)
	chunk := a.layout.Chunk
	if chunk == 0 {
		chunk = sampleSize
	}
	rows := max(size/chunk, 1)
	chunks := make([][]byte, len(legs))
	for i := range chunks {
		chunks[i] = make([]byte, min(sampleSize, chunk))
	}
	zeros := true
	for row := int64(0); row < rows; row += max(rows/sampleCount, 1) {
		n++
		for i, leg := range legs {
			if n, err := leg.ReadAt(chunks[i], row*chunk); n < len(chunks[i]) {
				return 0, fmt.Errorf("leg %d cannot be read to confirm it: %w", i, err)
			}
			zeros = zeros && block.AllZero(chunks[i])
		}
		if !fits(a.layout, row, chunks) {
			return 0, fmt.Errorf("the legs do not fit together %d bytes behind their start", row*chunk)
		}
	}
	if zeros {
		return 0, fmt.Errorf("the legs hold nothing but zeros to confirm it")
	}
	return n, nil
}

// sampleSpread is sample for a raid10 whose copies are spread.
func (a *array) sampleSpread(legs []block.Device) (n int, err error) {
	layout, zeros := a.layout.Spread(a.size), true
	for c := int64(0); c < layout.Chunks(); c += max(layout.Chunks()/sampleCount, 1) {
		n++
		var first []byte
		for _, p := range layout.Places(c) {
			b := make([]byte, min(sampleSize, a.layout.Chunk))
			if n, err := legs[p.Device].ReadAt(b, p.Off); n < len(b) {
				return 0, fmt.Errorf("leg %d cannot be read to confirm it: %w", p.Device, err)
			}
			if first == nil {
				first = b
			}
			if !bytes.Equal(first, b) {
				return 0, fmt.Errorf("the copies of chunk %d are not the same", c)
			}
			zeros = zeros && block.AllZero(b)
		}
	}
	if zeros {
		return 0, fmt.Errorf("the legs hold nothing but zeros to confirm it")
	}
	return n, nil
}

// alike tells whether samples of a leg of raid1 are those of the freshest, where both can be
// read.
func (a *array) alike(l *raidLeg) bool {
	if a.fresh.image == nil {
		return true
	}
	x, y := a.open(l.image), a.open(a.fresh.image)
	bx, by := make([]byte, sampleSize), make([]byte, sampleSize)
	for row := int64(0); row < a.size/sampleSize; row += max(a.size/sampleSize/sampleCount, 1) {
		n, _ := x.ReadAt(bx, a.dataOffset+row*sampleSize)
		m, _ := y.ReadAt(by, a.dataOffset+row*sampleSize)
		if n == sampleSize && m == sampleSize && !bytes.Equal(bx, by) {
			return false
		}
	}
	return true
}

// fits tells whether parity or copies agree in one row of chunks.
func fits(l dmraid.Layout, row int64, chunks [][]byte) bool {
	if l.Copies() > 1 || l.Level == 1 {
		return copiesFit(l, chunks)
	}
	sum := make([]byte, len(chunks[0]))
	r := l.Row(row)
	if r.SyndromeP(sum, chunks); !block.AllZero(sum) {
		return false
	}
	if r.Q < 0 {
		return true
	}
	r.SyndromeQ(sum, chunks)
	return block.AllZero(sum)
}

// copiesFit compares the legs of raid1, or of raid10 those that stand side by side.
func copiesFit(l dmraid.Layout, chunks [][]byte) bool {
	for i, c := range chunks {
		if !bytes.Equal(c, chunks[i-i%l.Copies()]) {
			return false
		}
	}
	return true
}
