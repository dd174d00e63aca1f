package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

// base is a device in a file, with some ranges of it bad, and its bytes.
func base(t testing.TB, size int64, bad ...block.Extent) (block.Device, []byte) {
	t.Helper()
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{3}).Read(content)
	path := filepath.Join(t.TempDir(), "base")
	require.NoError(t, os.WriteFile(path, content, 0o444))
	f, err := block.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() {
		f.Close()
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, now), "the device below has changed")
	})
	for i := range bad {
		bad[i].State, bad[i].Why = block.Bad, "bad"
	}
	dev, err := block.NewOverlay(f, bad)
	require.NoError(t, err)
	return dev, bytes.Clone(content)
}

func open(t testing.TB, dir string, dev block.Device) *Overlay {
	t.Helper()
	o, err := Open(dir, "lv", "this one", dev)
	require.NoError(t, err)
	return o
}

// crash leaves the files as a kill does.
func crash(o *Overlay) { o.closeFiles() }

func requireAll(t *testing.T, o *Overlay, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := o.ReadAt(got, 0)
	require.NoError(t, err)
	if !bytes.Equal(want, got) {
		i := 0
		for want[i] == got[i] {
			i++
		}
		require.Fail(t, "other bytes", "the first at %d", i)
	}
}

// TestModel writes, zeroes and discards at random, and closes and reopens in between; the
// same is done to plain bytes.
func TestModel(t *testing.T) {
	for _, size := range []int64{5<<20 + 512, 100<<10 + 100, 512, 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dev, want := base(t, size)
			dir := t.TempDir()
			rnd := rand.New(rand.NewPCG(uint64(size), 1))
			o := open(t, dir, dev)
			written := make([]bool, size)
			for range 300 {
				off := rnd.Int64N(size)
				n := min(rnd.Int64N(1<<(1+rnd.IntN(22)))+1, size-off)
				if rnd.IntN(2) == 0 {
					off, n = off/512*512, min((n+511)/512*512, size-off/512*512)
				}
				switch rnd.IntN(8) {
				case 0:
					require.NoError(t, o.Zero(off, n))
					clear(want[off : off+n])
				case 1: // what was written reads as zeros or as before, sector by sector
					require.NoError(t, o.Discard(off, n))
					for s := (off + 511) / 512 * 512; s+512 <= off+n; s += 512 {
						if written[s] {
							clear(want[s : s+512])
						}
					}
					continue
				case 2:
					require.NoError(t, o.Close())
					o = open(t, dir, dev)
					continue
				default:
					p := make([]byte, n)
					for i := range p {
						p[i] = byte(rnd.Uint32())
					}
					m, err := o.WriteAt(p, off)
					require.NoError(t, err)
					require.EqualValues(t, n, m)
					copy(want[off:], p)
				}
				for s := off / 512 * 512; s < off+n; s++ {
					written[s] = true
				}
			}
			requireAll(t, o, want)
			for _, r := range [][2]int64{{-1, 1}, {size, 1}, {0, size + 1}, {size - 1, 2}} {
				_, err := o.WriteAt(make([]byte, max(r[1], 0)), r[0])
				require.Error(t, err)
				require.Error(t, o.Zero(r[0], r[1]))
				require.Error(t, o.Discard(r[0], r[1]))
			}
			require.NoError(t, o.Close())
		})
	}
}

// TestCrashes kills runs at random. Each sector then reads as at the last Sync, or as it was
// written since; never anything else.
func TestCrashes(t *testing.T) {
	const size = 1 << 20
	dev, now := base(t, size)
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		o := open(t, dir, dev)
		requireAll(t, o, now)
		may := make([][][]byte, size/512) // what each sector may read as
		for s := range may {
			may[s] = [][]byte{bytes.Clone(now[s*512 : s*512+512])}
		}
		for range 40 {
			s := rnd.IntN(len(may) - 8)
			n := 1 + rnd.IntN(8)
			p := make([]byte, n*512)
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			if rnd.IntN(4) == 0 {
				clear(p)
				require.NoError(t, o.Zero(int64(s)*512, int64(len(p))))
			} else {
				_, err := o.WriteAt(p, int64(s)*512)
				require.NoError(t, err)
			}
			for i := range n {
				may[s+i] = append(may[s+i], p[i*512:i*512+512])
			}
			if rnd.IntN(8) == 0 {
				require.NoError(t, o.Sync())
				for s := range may {
					may[s] = may[s][len(may[s])-1:]
				}
			}
		}
		crash(o)
		o = open(t, dir, dev)
		_, err := o.ReadAt(now, 0)
		require.NoError(t, err)
		for s := range may {
			at := now[s*512 : s*512+512]
			require.True(t, slices.ContainsFunc(may[s], func(p []byte) bool { return bytes.Equal(p, at) }), "round %d: sector %d", round, s)
		}
		require.NoError(t, o.Close())
	}
}

func TestBadBelow(t *testing.T) {
	dev, want := base(t, 64<<10, block.Extent{Off: 4096, Len: 1024})
	o := open(t, t.TempDir(), dev)
	defer o.Close()
	states := func() (all []block.Extent) {
		for e := range block.Merge(o.Extents(0, o.Size())) {
			all = append(all, e)
		}
		return all
	}
	_, err := o.ReadAt(make([]byte, 8192), 0)
	var bad *block.BadRangeError
	require.ErrorAs(t, err, &bad)
	require.EqualValues(t, 4096, bad.Off)

	// Part of a bad sector cannot be written, and nothing is changed by the attempt.
	_, err = o.WriteAt([]byte("some"), 4096+500)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, block.Bad, states()[1].State)

	_, err = o.WriteAt(bytes.Repeat([]byte{'x'}, 512), 4096)
	require.NoError(t, err)
	require.Equal(t, []block.Extent{{Off: 0, Len: 4608}, {Off: 4608, Len: 512, State: block.Bad, Why: "bad"}, {Off: 5120, Len: 64<<10 - 5120}}, states())
	require.NoError(t, o.Zero(4608, 512))
	require.Equal(t, []block.Extent{{Off: 0, Len: 64 << 10}}, states())
	copy(want[4096:], bytes.Repeat([]byte{'x'}, 512))
	clear(want[4608:5120])
	requireAll(t, o, want)
}

func TestSideBySide(t *testing.T) {
	dev, want := base(t, 4<<20)
	o := open(t, t.TempDir(), dev)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() { // every eighth run of 1000 bytes: they share sectors
			for off := int64(i) * 1000; off+1000 <= int64(len(want)); off += 8000 {
				p := bytes.Repeat([]byte{byte(i)}, 1000)
				if _, err := o.WriteAt(p, off); err != nil {
					t.Error(err)
				}
				copy(want[off:], p)
				if off%100_000 == 0 && o.Sync() != nil {
					t.Error("sync failed")
				}
			}
		})
	}
	all.Wait()
	requireAll(t, o, want)
	require.NoError(t, o.Close())
}

func TestOpenRefuses(t *testing.T) {
	dev, _ := base(t, 64<<10)
	small, _ := base(t, 32<<10)
	data, bits := Files("", "lv")
	made := func(t *testing.T) string {
		dir := t.TempDir()
		o := open(t, dir, dev)
		_, err := o.WriteAt(make([]byte, 512), 0)
		require.NoError(t, err)
		require.NoError(t, o.Close())
		return dir
	}
	tests := map[string]struct {
		hurt func(t *testing.T, dir string)
		dev  block.Device
		id   string
		want string
	}{
		"another identity": {nil, dev, "another", "was made over"},
		"another size":     {nil, small, "this one", "was made over"},
		"data gone":        {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, data))) }, dev, "this one", "no such file"},
		"data cut":         {func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, data), 100)) }, dev, "this one", "has been cut"},
		"bits cut":         {func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, bits), 4100)) }, dev, "this one", "has been cut"},
		"bits gone":        {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, bits))) }, dev, "this one", "nothing says what it is"},
		"no overlay": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, bits), []byte("precious"), 0o666))
		}, dev, "this one", "no overlay made by lvrescue"},
		"a link": {func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, data), filepath.Join(dir, "x")))
			require.NoError(t, os.Symlink("x", filepath.Join(dir, data)))
		}, dev, "this one", "symbolic links"},
		"a damaged header": {func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, bits), os.O_RDWR, 0)
			require.NoError(t, err)
			defer f.Close()
			_, err = f.WriteAt([]byte{1}, 100)
			require.NoError(t, err)
		}, dev, "this one", "checksum"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := made(t)
			if test.hurt != nil {
				test.hurt(t, dir)
			}
			before := listing(t, dir)
			_, err := Open(dir, "lv", test.id, test.dev)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, before, listing(t, dir))
		})
	}
	t.Run("in use", func(t *testing.T) {
		dir := t.TempDir()
		o := open(t, dir, dev)
		defer o.Close()
		_, err := Open(dir, "lv", "this one", dev)
		require.ErrorContains(t, err, "another lvrescue is writing it")
	})
	t.Run("killed while it was made", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, open(t, dir, dev).Close())
		require.NoError(t, os.Remove(filepath.Join(dir, data)))
		require.NoError(t, open(t, dir, dev).Close())
	})
}

// listing is what a directory holds.
func listing(t *testing.T, dir string) (files []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err == nil {
			files = append(files, e.Name()+" "+string(text))
		}
	}
	return files
}

// TestHugeDevice takes a device of 8 TiB: neither time nor memory may follow its size.
func TestHugeDevice(t *testing.T) {
	dev := block.NewZero(8 << 40)
	o := open(t, t.TempDir(), dev)
	_, err := o.WriteAt(make([]byte, 4096), 7<<40)
	require.NoError(t, err)
	require.NoError(t, o.Zero(1<<40, 4<<30))
	require.NoError(t, o.Sync())
	require.LessOrEqual(t, len(o.pages), 4<<30/(pageSectors*sector)+1)
	n := 0
	for range block.Merge(o.Extents(0, o.Size())) {
		n++
	}
	require.Equal(t, 5, n)
	used, _, _, err := o.Space()
	require.NoError(t, err)
	require.Less(t, used, int64(4<<20))
	require.NoError(t, o.Close())
}

// FuzzOpen opens overlays of which the bits are anything at all.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	dev, _ := base(f, 3<<20)
	o := open(f, dir, dev)
	o.WriteAt(make([]byte, 1<<20), 4096)
	if err := o.Close(); err != nil {
		f.Fatal(err)
	}
	data, bits := Files(dir, "lv")
	good, err := os.ReadFile(bits)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:headerSize])
	f.Add([]byte{})
	long := bytes.Clone(good)
	binary.LittleEndian.PutUint32(long[24:], 1<<32-1)
	f.Add(long)
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if err := os.WriteFile(bits, bytes, 0o666); err != nil {
			t.Fatal(err)
		}
		if len(bytes) == 0 {
			os.Remove(data)
		}
		o, err := Open(dir, "lv", "this one", dev)
		if err != nil {
			return
		}
		defer o.Close()
		if _, err := o.ReadAt(make([]byte, 3<<20), 0); err != nil {
			t.Fatal(err)
		}
		if err := o.Zero(100, 1<<20); err != nil {
			t.Fatal(err)
		}
	})
}
