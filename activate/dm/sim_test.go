package dm

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// errIO is what a read of a lost sector gives.
var errIO = errors.New("input/output error")

// read does what the kernel does with the tables of a stack, for the targets that need no
// state: sector by sector, from the images. ok is false if there are others.
func read(t *testing.T, d *Device, sector int64, p []byte) (ok bool, err error) {
	for _, line := range d.Table {
		if sector < line.Start || sector >= line.Start+line.Len {
			continue
		}
		in := sector - line.Start
		args := line.Args
		switch line.Type {
		case "error":
			return true, errIO
		case "zero":
			clear(p)
			return true, nil
		case "striped":
			n, chunk := value(t, args[0]), value(t, args[1])
			leg := in / chunk % n
			in = in/chunk/n*chunk + in%chunk
			args = args[2+2*leg:]
		case "linear":
		default:
			return false, nil
		}
		at := value(t, args[1]) + in
		switch on := args[0].On.(type) {
		case *Device:
			return read(t, on, at, p)
		case *Source:
			f, err := os.Open(on.Path)
			require.NoError(t, err)
			defer f.Close()
			_, err = f.ReadAt(p, on.Off+at*block.SectorSize)
			return true, err
		}
	}
	require.Fail(t, "no line for a sector", "%d of %s", sector, d.Name)
	return false, nil
}

func value(t *testing.T, a Arg) int64 {
	n, err := strconv.ParseInt(a.Text, 10, 64)
	require.NoError(t, err)
	return n
}

// planned is an LV of some sources.
type planned struct {
	plan *activate.Plan
	dev  block.Device
}

// plans gives every LV that is shown of every VG on the sources.
func plans(t testing.TB, paths []string, maps map[string]string) (list []planned) {
	t.Helper()
	ev, err := scan.Run(context.Background(), paths, scan.Options{Maps: maps})
	require.NoError(t, err)
	t.Cleanup(func() { ev.Close() })
	res, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	for _, g := range res.Groups {
		vg := g.At(nil)
		shown := vg.Meta.Shown()
		for _, lv := range vg.Meta.LVs {
			if shown[lv] == nil {
				continue
			}
			if p, err := activate.New(vg, lv, volume.OpenVolume); err == nil {
				list = append(list, planned{p, volume.Open(p)})
			}
		}
	}
	return list
}

// states is what is known of a device, without reasons: bytes, or none.
func states(dev block.Device) func(func(block.Extent) bool) {
	return block.Merge(func(yield func(block.Extent) bool) {
		for e := range dev.Extents(0, dev.Size()) {
			if e.Why = ""; e.State == block.Doubtful || e.State == block.Zero {
				e.State = block.Data
			}
			if !yield(e) {
				return
			}
		}
	})
}

// simulate compares the tables of a stack with user space. It samples sectors of every line
// and at every change of state; ok is false if the stack has targets that only the kernel
// knows.
func simulate(t *testing.T, s *Stack, dev block.Device) (ok bool) {
	t.Helper()
	top := s.Top()
	require.Equal(t, dev.Size(), top.Size)
	at := map[int64]bool{}
	end := int64(0)
	for _, line := range top.Table {
		require.Equal(t, end, line.Start, "no gaps")
		require.Positive(t, line.Len)
		end = line.Start + line.Len
		for _, sector := range []int64{line.Start, line.Start + line.Len/2, line.Start + line.Len/3, end - 1} {
			at[sector] = true
		}
	}
	require.Equal(t, dev.Size(), end*block.SectorSize)
	bad := map[int64]bool{}
	for e := range states(dev) {
		for _, off := range []int64{e.Off - 1, e.Off, e.Off + e.Len/2, e.End() - 1, e.End()} {
			if off >= 0 && off < dev.Size() {
				at[off/block.SectorSize] = true
			}
		}
		if e.State == block.Bad {
			for s := range at {
				lo := s * block.SectorSize
				bad[s] = bad[s] || lo < e.End() && lo+block.SectorSize > e.Off
			}
		}
	}
	for e := range states(dev) { // sectors of later extents too
		for s := range at {
			if lo := s * block.SectorSize; e.State == block.Bad && lo < e.End() && lo+block.SectorSize > e.Off {
				bad[s] = true
			}
		}
	}
	got, want := make([]byte, block.SectorSize), make([]byte, block.SectorSize)
	for sector := range at {
		ok, err := read(t, top, sector, got)
		if !ok {
			return false
		}
		if bad[sector] {
			require.ErrorIs(t, err, errIO, "sector %d", sector)
			continue
		}
		require.NoError(t, err, "sector %d", sector)
		_, err = dev.ReadAt(want, sector*block.SectorSize)
		require.NoError(t, err)
		require.Equal(t, want, got, "sector %d", sector)
	}
	return true
}

// compiled is the stack of a plan; why says for what reason there is none.
func compiled(t *testing.T, p *activate.Plan) (s *Stack, why string) {
	t.Helper()
	s, err := Compile(p, Options{Open: volume.OpenVolume}, Sources{})
	var cannot *CannotError
	if errors.As(err, &cannot) {
		return nil, cannot.Why
	}
	require.NoError(t, err)
	return s, ""
}

func shownName(p *activate.Plan) string { return p.VG.Meta.Name + "/" + p.LV.Name }
