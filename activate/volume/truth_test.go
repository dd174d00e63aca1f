package volume

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// damagesPerCorpus is how often each corpus is damaged, two places at a time.
const damagesPerCorpus = 12

// place is a range of a disk that metadata lies in.
type place struct {
	path   string
	off, n int64
}

// TestDamagedMetadataNeverInventsAByte breaks labels, headers and texts in every way that
// disks break, and holds what can still be read against the truth rule: each byte is the
// healthy LV's, or is called bad or doubtful. What then cannot be found is lost, not wrong.
func TestDamagedMetadataNeverInventsAByte(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fixtures.Open(t, name)
			healthy, places := survey(t, c)
			for seed := range uint64(damagesPerCorpus) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				var what []string
				var undo []func()
				for range 1 + rnd.IntN(2) {
					w, u := hurt(t, rnd, c, places)
					what, undo = append(what, w), append(undo, u)
				}
				checkTruth(t, fmt.Sprintf("seed %d: %v", seed, what), c.Paths(), healthy)
				for i := range undo {
					undo[len(undo)-1-i]()
				}
			}
		})
	}
}

// survey reads all that is complete of an undamaged corpus and tells where its metadata
// lies.
func survey(t *testing.T, c *fixtures.Corpus) (map[string][]byte, []place) {
	healthy := map[string][]byte{}
	ev := each(t, c.Paths(), func(name string, plan *activate.Plan) {
		dev := Open(plan)
		if h := Assess(plan, block.Summarise(dev)); h != Complete && h != Degraded || dev.Size() > 16<<20 {
			return
		}
		b := make([]byte, dev.Size())
		_, err := dev.ReadAt(b, 0)
		require.NoError(t, err)
		healthy[name] = b
	})
	var places []place
	for _, p := range ev.PVs {
		places = append(places, place{p.Source.Name, p.Offset, 4 * block.SectorSize})
		for _, a := range p.Areas {
			places = append(places, place{p.Source.Name, p.Offset + a.Offset, block.SectorSize})
			places = append(places, place{p.Source.Name, p.Offset + a.Offset, a.Size})
		}
	}
	for _, copied := range ev.Copies {
		n := int64(len(copied.Content.Raw))
		if a := copied.Area; a != nil { // a text that wraps goes on at the ring's start
			n = min(n, a.PV.Offset+a.Offset+a.Size-copied.Offset)
		}
		places = append(places, place{copied.Source.Name, copied.Offset, n})
	}
	return healthy, places
}

// each plans every LV of every VG on the disks.
func each(t *testing.T, paths []string, visit func(name string, plan *activate.Plan)) *scan.Evidence {
	ev, err := scan.Run(context.Background(), paths, scan.Options{})
	require.NoError(t, err)
	res, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	for _, g := range res.Groups {
		vg := g.At(nil)
		for i, lv := range vg.Meta.LVs {
			if plan, err := activate.New(vg, lv, OpenVolume); err == nil && i < 40 {
				visit(string(g.ID)+"/"+string(lv.ID), plan)
			}
		}
	}
	return ev
}

// hurt damages one place, or takes a whole disk back or short, and gives the way back.
func hurt(t *testing.T, rnd *rand.Rand, c *fixtures.Corpus, places []place) (string, func()) {
	p := places[rnd.IntN(len(places))]
	sectors := max(p.n/block.SectorSize, 1)
	off := p.off + rnd.Int64N(sectors)*block.SectorSize
	n := min(1+rnd.Int64N(sectors), 8) * block.SectorSize
	f, err := os.OpenFile(p.path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	n = min(n, (p.n+block.SectorSize-1)/block.SectorSize*block.SectorSize-(off-p.off), info.Size()-off)
	if n <= 0 {
		return "nothing", func() {}
	}
	old := make([]byte, n)
	_, err = f.ReadAt(old, off)
	require.NoError(t, err)
	fresh := bytes.Clone(old)
	var kind string
	switch rnd.IntN(7) {
	case 0:
		kind = "zeroed"
		clear(fresh)
	case 1:
		kind = "noise"
		for i := range fresh {
			fresh[i] = byte(rnd.Uint32())
		}
	case 2, 3:
		kind = "bits flipped"
		for range 1 + rnd.IntN(3) {
			at := rnd.Int64N(min(p.n, n))
			fresh[at] ^= 1 << rnd.IntN(8)
		}
	case 4:
		kind = "digit changed"
		for at := rnd.Int64N(n); at < n; at++ {
			if '0' <= fresh[at] && fresh[at] <= '9' {
				fresh[at] = '0' + byte(rnd.IntN(10))
				break
			}
		}
	case 5:
		kind = "filled from elsewhere"
		from := places[rnd.IntN(len(places))]
		g, err := os.Open(from.path)
		require.NoError(t, err)
		defer g.Close()
		_, _ = g.ReadAt(fresh, from.off) // a short read leaves the rest as it was
	case 6:
		if rnd.IntN(4) > 0 {
			kind = "shifted"
			copy(fresh, old[min(n, 1+rnd.Int64N(64)):])
			break
		}
		size := rnd.Int64N(info.Size())
		saved := p.path + ".cut"
		require.NoError(t, os.Rename(p.path, saved))
		copyStart(t, saved, p.path, size)
		return fmt.Sprintf("%s cut to %d", p.path, size), func() { require.NoError(t, os.Rename(saved, p.path)) }
	}
	_, err = f.WriteAt(fresh, off)
	require.NoError(t, err)
	return fmt.Sprintf("%s: %d bytes at %d %s", p.path, n, off, kind), func() {
		f, err := os.OpenFile(p.path, os.O_RDWR, 0)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteAt(old, off)
		require.NoError(t, err)
	}
}

// copyStart copies the first n bytes of a disk and leaves its holes holes.
func copyStart(t *testing.T, from, to string, n int64) {
	src, err := block.Open(from)
	require.NoError(t, err)
	defer src.Close()
	dst, err := os.Create(to)
	require.NoError(t, err)
	defer dst.Close()
	require.NoError(t, dst.Truncate(n))
	for e := range src.Extents(0, n) {
		if e.State == block.Data {
			_, err := io.Copy(io.NewOffsetWriter(dst, e.Off), io.NewSectionReader(src, e.Off, e.Len))
			require.NoError(t, err)
		}
	}
}

// checkTruth reads what can be read and wants no byte that is neither right nor marked.
func checkTruth(t *testing.T, what string, paths []string, healthy map[string][]byte) {
	t.Helper()
	each(t, paths, func(name string, plan *activate.Plan) {
		want, ok := healthy[name]
		dev := Open(plan)
		if !ok || dev.Size() > 16<<20 {
			return
		}
		got := make([]byte, dev.Size())
		var marks []block.Extent
		require.NoError(t, block.ReadRange(dev, got, 0, func(e block.Extent) { marks = append(marks, e) }), what)
		for _, e := range marks {
			if e.State == block.Bad || e.State == block.Doubtful {
				continue
			}
			end := min(e.End(), int64(len(want)))
			if e.End() > int64(len(want)) || !bytes.Equal(want[e.Off:end], got[e.Off:end]) {
				require.Failf(t, "invented bytes", "LV %s, bytes %d-%d (%s) after %s", plan.LV.Name, e.Off, e.End()-1, e.State, what)
			}
		}
	})
}
