package guess

import (
	"bytes"

	"github.com/lvrescue/lvrescue/scan/block"
)

// twins tells of filesystems that begin in several places: legs of a mirror whose superblocks are
// lost, or clones.
func (l *Layout) twins() {
	for i, v := range l.Volumes {
		for _, o := range l.Volumes[i+1:] {
			if v.Sign.UUID == "" || v.Sign.Format != o.Sign.Format || v.Sign.UUID != o.Sign.UUID || v.Sign.Backup || o.Sign.Backup {
				continue
			}
			same, all := l.alike(v.Pieces[0], o.Pieces[0])
			what := "a clone, or a leg of a mirror that was away"
			if same == all && all > 0 {
				what = "legs of a mirror, or a clone"
			}
			for _, t := range [][2]*Volume{{v, o}, {o, v}} {
				p := t[1].Pieces[0]
				t[0].note("the same filesystem begins at byte %d of %s: %s; they agree at %d of %d places", p.At-p.Off, p.Source.Name, what, same, all)
			}
		}
	}
}

// alike counts the places at which two pieces are the same, of those that hold anything.
func (l *Layout) alike(a, b Piece) (same, all int) {
	size := min(a.Len, b.Len)
	step := max(size/samples/sampleSize*sampleSize, sampleSize)
	x, y := make([]byte, sampleSize), make([]byte, sampleSize)
	for at := int64(0); at+sampleSize <= size && a.Off == b.Off; at += step {
		if l.left--; l.left < 0 {
			break
		}
		n, _ := a.Source.Dev.ReadAt(x, a.At+at)
		m, _ := b.Source.Dev.ReadAt(y, b.At+at)
		if n < sampleSize || m < sampleSize || block.AllZero(x) && block.AllZero(y) {
			continue
		}
		all++
		if bytes.Equal(x, y) {
			same++
		}
	}
	return same, all
}
