package carve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// childCase is set, to a case, when the test binary is to carve what it is given as an
// argument, and nothing else.
const childCase = "LVRESCUE_TEST_CASE"

func TestMain(m *testing.M) {
	dir := os.Getenv(childCase)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := childCarve(dir, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childCarve(dir, path string) error {
	ev, err := scan.Run(context.Background(), []string{path}, scan.Options{})
	if err != nil {
		return err
	}
	defer ev.Close()
	c, err := OpenToWrite(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Run(context.Background(), ev.Sources, Options{Workers: 3, Checkpoint: time.Millisecond})
	return err
}

// manyDisks is one image of the disks of several corpora, one behind the other.
func manyDisks(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "many.img")
	out, err := os.Create(path)
	require.NoError(t, err)
	defer out.Close()
	for _, name := range []string{"partitions", "ring-wrapped", "mda-two", "filesystems", "raid-levels", "removed"} {
		for _, disk := range fixtures.Open(t, name).Paths() {
			in, err := os.Open(disk)
			require.NoError(t, err)
			_, err = io.Copy(out, in)
			in.Close()
			require.NoError(t, err)
		}
	}
	return path
}

// However often a search is killed, whatever the map calls searched has all its finds in the
// case, and in the end the case is that of a search that was left alone.
func TestKilledAtAnyMoment(t *testing.T) {
	path, dir, fresh, rnd := manyDisks(t), t.TempDir(), t.TempDir(), fixtures.Rand(t)
	want := search(t, fresh, Options{}, path)[0]
	require.Greater(t, len(want.Finds), 100)
	self, err := os.Executable()
	require.NoError(t, err)
	killed := 0
	for round := range 40 {
		cmd := exec.Command(self, path)
		cmd.Env = append(os.Environ(), childCase+"="+dir)
		require.NoError(t, cmd.Start())
		if round < 39 {
			time.Sleep(time.Duration(rnd.IntN(30+20*round)) * time.Millisecond)
			_ = cmd.Process.Kill()
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if err == nil {
			break
		}
		require.ErrorAs(t, err, &exit)
		require.Equal(t, -1, exit.ExitCode(), "a search failed: %v", err)
		killed++
		requireFindsOfMap(t, dir, want.Finds)
	}
	t.Logf("killed %d times", killed)
	search(t, dir, Options{}, path)
	requireSameCase(t, fresh, dir)
}

// requireFindsOfMap wants all finds whose place the map calls searched.
func requireFindsOfMap(t *testing.T, dir string, want []*Find) {
	t.Helper()
	c, err := Open(dir)
	if err != nil || len(c.Sources) == 0 {
		return // it did not come so far
	}
	m, err := block.ReadMapfile(filepath.Join(c.Sources[0].dir, surfaceFile))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	finds, _, err := c.Sources[0].Finds()
	require.NoError(t, err)
	have := map[place]bool{}
	for _, f := range finds {
		have[place{f.Offset, f.Kind}] = true
		if f.SHA256 != "" {
			_, err := c.Text(f.SHA256)
			require.NoError(t, err)
		}
	}
	for _, b := range m.Blocks {
		for _, f := range want {
			if b.Status == block.Finished && f.Offset >= b.Off && f.Offset < b.End() && f.How == BySector {
				require.True(t, have[place{f.Offset, f.Kind}], "%s at %d", f.Kind, f.Offset)
			}
		}
	}
}

// dying is a disk that refuses a range, as a whole and each sector of it.
type dying struct {
	block.Device
	bad block.Extent
	ok  bool // it has recovered
}

func (d *dying) ReadAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); !d.ok && off < d.bad.End() && end > d.bad.Off {
		n, _ := d.Device.ReadAt(p[:max(d.bad.Off-off, 0)], off)
		lo := max(off, d.bad.Off)
		return n, &block.BadRangeError{Off: lo, Len: end - lo, Why: "medium error", Coarse: true}
	}
	return d.Device.ReadAt(p, off)
}

// TestDyingDisk goes around what the medium refuses, remembers it, and tries it again when
// it is told to.
func TestDyingDisk(t *testing.T) {
	path, dir, fresh := fixtures.Open(t, "linear").Disk("a"), t.TempDir(), t.TempDir()
	file, err := block.Open(path)
	require.NoError(t, err)
	defer file.Close()
	disk := &dying{Device: file, bad: block.Extent{Off: 4096, Len: 5120}}
	run := func(opt Options) *Outcome {
		c, err := OpenToWrite(dir)
		require.NoError(t, err)
		defer c.Close()
		o, err := c.Run(t.Context(), []*scan.Source{{Name: path, Kind: "file", Dev: disk}}, opt)
		require.NoError(t, err)
		return o[0]
	}
	o := run(Options{})
	require.Equal(t, int64(5120), o.Refused)
	require.Equal(t, o.Wanted-5120, o.Searched)
	require.Len(t, pick(o.Finds, Label), 1)
	require.Empty(t, pick(o.Finds, Area))
	disk.ok = true
	require.Equal(t, int64(5120), run(Options{}).Refused)
	o = run(Options{Retry: true})
	require.Zero(t, o.Refused)
	require.Len(t, pick(o.Finds, Area), 1)
	search(t, fresh, Options{}, path)
	require.Len(t, o.Finds, len(search(t, fresh, Options{}, path)[0].Finds))
}
