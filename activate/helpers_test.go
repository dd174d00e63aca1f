package activate_test

import (
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// image is a disk of bytes, all of them data.
type image []byte

func (m image) Size() int64 { return int64(len(m)) }

func (m image) ReadAt(p []byte, off int64) (int, error) {
	p, eof := block.ClipRead(m.Size(), p, off)
	return copy(p, m[min(off, m.Size()):]), eof
}

func (m image) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		if lo, hi := block.Clip(m.Size(), off, n); lo < hi {
			yield(block.Extent{Off: lo, Len: hi - lo})
		}
	}
}

// extent is the size of a test VG's extents in bytes.
const extent = 4096

// imageVG is testVG on two disks of bytes: pv0 has 'A' everywhere, pv1 'B'.
func imageVG(lvs ...*metadata.LV) (*rebuild.VG, []image) {
	vg := testVG(lvs...)
	disks := make([]image, len(vg.PVs))
	for i, pv := range vg.PVs {
		disks[i] = image(strings.Repeat(string(rune('A'+i)), 4096*block.SectorSize))
		pv.Dev = disks[i]
	}
	return vg, disks
}

// spoil marks a range of a PV, given from its extent 0 on.
func spoil(t *testing.T, pv *rebuild.PV, off, n int64, state block.State, why string) {
	t.Helper()
	dev, err := block.NewOverlay(pv.Dev, []block.Extent{{Off: pe0 + off, Len: n, State: state, Why: why}})
	require.NoError(t, err)
	pv.Dev = dev
}

// with adds fields to the first segment of an LV: names and values in turn.
func with(l *metadata.LV, fields ...any) *metadata.LV {
	for i := 0; i < len(fields); i += 2 {
		v, isInt := fields[i+1].(int)
		value := metadata.MakeInt(int64(v))
		if !isInt {
			value = metadata.MakeString(fields[i+1].(string))
		}
		l.Segments[0].Node.Append(metadata.NewAssignment(fields[i].(string), value))
	}
	return l
}

// planned plans an LV and opens it.
func planned(t *testing.T, vg *rebuild.VG, name string) (*activate.Plan, block.Device) {
	t.Helper()
	l, err := vg.LV(name)
	require.NoError(t, err)
	p, err := activate.New(vg, l, volume.OpenVolume)
	require.NoError(t, err)
	return p, volume.Open(p)
}

// picture shows a device as one letter for each 512 bytes: the first byte of what it gives,
// '.' where it is bad, and lower case where it is doubtful.
func picture(t *testing.T, dev block.Device) string {
	t.Helper()
	data := make([]byte, dev.Size())
	text := make([]byte, 0, dev.Size()/block.SectorSize)
	require.NoError(t, block.ReadRange(dev, data, 0, func(e block.Extent) {
		for at := e.Off; at < e.End(); at += block.SectorSize {
			c := data[at]
			switch e.State {
			case block.Bad:
				c = '.'
			case block.Doubtful:
				c += 'a' - 'A'
			}
			text = append(text, c)
		}
	}))
	return string(text)
}

// notes lists what a plan tells, a line a note.
func notes(p *activate.Plan) string {
	var lines []string
	for _, n := range p.Notes {
		text := n.LV + ": " + n.Text
		if n.Degraded {
			text += " (degraded)"
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n")
}
