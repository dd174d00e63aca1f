package export

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

func TestExportWhole(t *testing.T) {
	for name, c := range map[string]struct {
		size int64
		opts Options
	}{
		"empty":          {0, Options{}},
		"one byte":       {1, Options{}},
		"odd size":       {3*mib + 12345, Options{}},
		"one worker":     {3 * mib, Options{Workers: 1}},
		"many workers":   {9 * mib, Options{Workers: 16, ChunkSize: 128 << 10}},
		"smallest chunk": {mib + 1, Options{ChunkSize: 4096}},
	} {
		t.Run(name, func(t *testing.T) {
			out := output(t)
			c.opts.Hashes = []string{"sha256", "md5"}
			sum := export(t, &disk{size: c.size}, out, c.opts)
			image := want(c.size, FillZero, nil)
			requireImage(t, image, out)
			require.NoFileExists(t, out+".map")
			require.Equal(t, "", sum.Map)
			require.Equal(t, c.size, sum.Size)
			require.Equal(t, c.size, sum.Totals.Data)
			require.True(t, sum.Totals.Whole())
			require.Equal(t, sha(image), hex.EncodeToString(sum.Hashes[0].Sum))
			md := md5.Sum(image)
			require.Equal(t, Hash{"md5", md[:]}, sum.Hashes[1])
		})
	}
}

func TestExportDamaged(t *testing.T) {
	const size = 8*mib + 777
	for _, fill := range []Fill{FillZero, FillPattern} {
		t.Run(string(fill), func(t *testing.T) {
			out := output(t)
			dev, lost := damaged(t, size)
			sum := export(t, dev, out, Options{Fill: fill, Hashes: []string{"sha256"}, Identity: "vg/lv\nat 5"})
			image := want(size, fill, lost)
			requireImage(t, image, out)
			require.Equal(t, sha(image), hex.EncodeToString(sum.Hashes[0].Sum), "the hash is that of the image as delivered")
			require.Equal(t, lost, slices.Collect(sum.Lost))
			require.Equal(t, []block.Cause{
				{State: block.Bad, Why: "disk missing", Bytes: 3 * mib, Ranges: 1},
				{State: block.Bad, Why: "medium error", Bytes: 512, Ranges: 1},
				{State: block.Bad, Why: "scratch", Bytes: 100, Ranges: 1},
				{State: block.Doubtful, Why: "old leg", Bytes: 512, Ranges: 1},
			}, sum.Totals.Causes())

			require.Equal(t, out+".map", sum.Map)
			require.Equal(t, withoutWhy(lost), mapOf(t, sum.Map, size))
			text, err := os.ReadFile(sum.Map)
			require.NoError(t, err)
			require.Contains(t, string(text), "# 0x00200000  0x00300000  bad: disk missing\n")
			require.Contains(t, string(text), "# Of: vg/lv at 5\n")
			require.Contains(t, ddrescuelog(t, "-t", sum.Map), "non-scraped:      512 B,  in      1 area(s)")
			require.Contains(t, ddrescuelog(t, "-t", sum.Map), "bad-sector:    3146 kB,  in      3 area(s)")
		})
	}
}

func TestExportIsSparse(t *testing.T) {
	out := output(t)
	const size = 64 * mib
	dev := marked(t, block.NewZero(size), block.Extent{Off: 32 * mib, Len: 8 * mib, State: block.Bad, Why: "gone"})
	sum := export(t, dev, out, Options{})
	require.Zero(t, sum.Written)
	info, err := os.Stat(out)
	require.NoError(t, err)
	require.Equal(t, int64(size), info.Size())
	require.Zero(t, info.Sys().(*syscall.Stat_t).Blocks)
	require.Equal(t, int64(56*mib), sum.Totals.Zero)

	// Zeros that are only found by reading are left out too.
	sum = export(t, &disk{size: size}, output(t), Options{})
	require.Equal(t, int64(48*mib), sum.Written)
}

func TestExportLeavesNoStaleMap(t *testing.T) {
	out := output(t)
	dev, lost := damaged(t, 6*mib)
	export(t, dev, out, Options{})
	require.FileExists(t, out+".map")
	_, err := Run(context.Background(), dev, out, Options{})
	require.ErrorContains(t, err, "lv.img exists")

	export(t, &disk{size: 6 * mib}, out, Options{Force: true})
	requireImage(t, want(6*mib, FillZero, nil), out)
	require.NoFileExists(t, out+".map")

	export(t, dev, out, Options{Force: true})
	require.Equal(t, withoutWhy(lost), mapOf(t, out+".map", 6*mib))
	require.NoError(t, os.Remove(out))
	export(t, &disk{size: 6 * mib}, out, Options{})
	require.NoFileExists(t, out+".map", "the map of an image that is gone may go too")
}

func TestExportRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
		return path
	}
	file("exists.img")
	require.NoError(t, os.Truncate(file("finished.img"), mib))
	file("maps.img.map")
	file("parts.img.part")
	file("partmaps.img.part.map")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "isdir.img.part"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(dir, "nothing"), filepath.Join(dir, "dangling.img")))
	require.NoError(t, os.Symlink(file("target"), filepath.Join(dir, "linked.img.part")))
	for name, c := range map[string]struct {
		out, want string
		opts      Options
	}{
		"directory":         {dir, "is a directory", Options{Force: true}},
		"device":            {"/dev/loop0", "export to a file", Options{Force: true}},
		"null":              {"/dev/null", "is a device", Options{Force: true}},
		"existing":          {dir + "/exists.img", "exists; choose another name", Options{Resume: true}},
		"finished":          {dir + "/finished.img", "finished.img is finished", Options{Resume: true}},
		"foreign map":       {dir + "/maps.img", "maps.img.map exists and is not from an export", Options{}},
		"foreign part map":  {dir + "/partmaps.img", "partmaps.img.part.map exists and is not from an export", Options{}},
		"part":              {dir + "/parts.img", "--resume goes on with it, --force starts over", Options{}},
		"part without map":  {dir + "/parts.img", "parts.img.part.map, which says how far the export came, is not there", Options{Resume: true}},
		"part is directory": {dir + "/isdir.img", "in the way", Options{Force: true}},
		"part is a link":    {dir + "/linked.img", "in the way", Options{Force: true}},
		"dangling link":     {dir + "/dangling.img", "a link to nothing", Options{Force: true}},
		"no directory":      {dir + "/no/lv.img", "there is no directory", Options{}},
		"fill":              {dir + "/a.img", `unknown fill "ones"`, Options{Fill: "ones"}},
		"hash":              {dir + "/a.img", `unknown hash "crc32"`, Options{Hashes: []string{"crc32"}}},
		"chunk":             {dir + "/a.img", "chunk size of 1000 bytes", Options{ChunkSize: 1000}},
		"identity":          {dir + "/a.img", "identity of 5000 bytes", Options{Identity: string(make([]byte, 5000))}},
	} {
		t.Run(name, func(t *testing.T) {
			before := listing(t, dir)
			sum, err := Run(context.Background(), &disk{size: mib}, c.out, c.opts)
			require.ErrorContains(t, err, c.want)
			require.Nil(t, sum)
			require.Equal(t, before, listing(t, dir), "nothing is touched")
		})
	}
}

// listing is what lies in a directory, with its content.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	list := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list[e.Name()] = e.Type().String()
		if e.Type().IsRegular() {
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			require.NoError(t, err)
			list[e.Name()] = string(text)
		}
	}
	return list
}

func TestExportRefusesSources(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "disk.img")
	require.NoError(t, os.WriteFile(source, []byte("precious"), 0o600))
	id, err := block.Identify(source)
	require.NoError(t, err)
	for _, name := range []string{"a.img", "b.img.part", "c.img.part.map", "d.img.map", "f.img.map.tmp", "g.img.part.map.tmp"} {
		require.NoError(t, os.Link(source, filepath.Join(dir, name)))
	}
	require.NoError(t, os.Symlink(source, filepath.Join(dir, "e.img")))
	for _, name := range []string{"disk.img", "a.img", "b.img", "c.img", "d.img", "e.img", "f.img", "g.img"} {
		_, err := Run(context.Background(), &disk{size: mib}, filepath.Join(dir, name), Options{Force: true, Sources: []block.Identity{id}})
		require.ErrorContains(t, err, "disk.img: refusing to write to it", name)
	}
	kept, err := os.ReadFile(source)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))
}

func TestExportFailsAndResumes(t *testing.T) {
	const size = 24 * mib
	dev, lost := damaged(t, size)
	broken := marked(t, &disk{size: size, refuses: lost[3:], err: errors.New("cable pulled"), errAt: 20 * mib}, lost[:3]...)
	out := output(t)
	opts := Options{Hashes: []string{"sha256"}, Identity: "vg/lv", Workers: 2}
	sum, err := Run(context.Background(), broken, out, opts)
	require.ErrorContains(t, err, "cable pulled")
	require.ErrorContains(t, err, "lv.img.part; a resumed export goes on from there")
	require.Nil(t, sum)
	require.NoFileExists(t, out)

	_, err = Run(context.Background(), dev, out, opts)
	require.ErrorContains(t, err, "--resume goes on with it")

	opts.Resume = true
	other := opts
	other.Identity = "vg/other"
	_, err = Run(context.Background(), dev, out, other)
	require.ErrorContains(t, err, "Unfinished image of: vg/other")
	other = opts
	other.Fill = FillPattern
	_, err = Run(context.Background(), dev, out, other)
	require.ErrorContains(t, err, "Fill: pattern")
	_, err = Run(context.Background(), &disk{size: size + 1}, out, opts)
	require.ErrorContains(t, err, "Size: 25165825")

	sum = export(t, dev, out, opts)
	image := want(size, FillZero, lost)
	requireImage(t, image, out)
	require.Equal(t, sha(image), hex.EncodeToString(sum.Hashes[0].Sum))
	require.Positive(t, sum.Resumed)
	require.Equal(t, lost, slices.Collect(sum.Lost))
}

// What has been read once stays, even if the disk then dies: only what is missing is
// asked for again.
func TestResumeKeepsWhatADyingDiskGave(t *testing.T) {
	const size = 8 * mib
	lost := []block.Extent{{Off: 3*mib + 512, Len: 512, State: block.Bad, Why: "medium error"}}
	broken := &disk{size: size, refuses: lost, err: errors.New("cable pulled"), errAt: 6 * mib}
	out := output(t)
	_, err := Run(context.Background(), broken, out, Options{Workers: 1})
	require.ErrorContains(t, err, "cable pulled")

	dead := block.NewBad(size, "dead")
	sum := export(t, dead, out, Options{Resume: true, Hashes: []string{"sha256"}})
	image := want(size, FillZero, []block.Extent{lost[0], {Off: 6 * mib, Len: 2 * mib, State: block.Bad}})
	requireImage(t, image, out)
	require.Equal(t, sha(image), hex.EncodeToString(sum.Hashes[0].Sum))
	require.Equal(t, int64(6*mib-512), sum.Resumed)
	require.Equal(t, []block.Extent{
		{Off: 3*mib + 512, Len: 512, State: block.Bad, Why: "dead"},
		{Off: 6 * mib, Len: 2 * mib, State: block.Bad, Why: "dead"},
	}, slices.Collect(sum.Lost))
}

// faulty is a disk with a part that its reader cannot cope with.
type faulty struct{ disk }

func (d *faulty) ReadAt(p []byte, off int64) (int, error) {
	if off >= 6*mib {
		panic("a fault of the reader")
	}
	return d.disk.ReadAt(p, off)
}

// A panic in a worker is an error as others are: what has been read stays.
func TestFaultInAWorker(t *testing.T) {
	const size = 8 * mib
	gone := block.Extent{Off: mib, Len: 2 * mib, State: block.Bad, Why: "not connected"}
	out := output(t)
	_, err := Run(context.Background(), marked(t, &faulty{disk{size: size}}, gone), out, Options{Workers: 1})
	var fault *block.Fault
	require.ErrorAs(t, err, &fault)
	require.ErrorContains(t, err, "a fault of the reader (6291456 of 8388608 bytes are in")
	require.Contains(t, string(fault.Stack), "(*faulty).ReadAt")

	sum := export(t, &disk{size: size}, out, Options{Resume: true})
	require.Equal(t, int64(4*mib), sum.Resumed)
	requireImage(t, want(size, FillZero, nil), out)
}

// What was bad is tried again, and what the file has there gives way to zeros.
func TestResumeTriesBadRangesAgain(t *testing.T) {
	const size = 8 * mib
	bad := block.Extent{Off: mib, Len: 2 * mib, State: block.Bad, Why: "not connected"}
	out := output(t)
	opts := Options{Fill: FillPattern, Workers: 1}
	_, err := Run(context.Background(), marked(t, &disk{size: size, err: errors.New("cable pulled"), errAt: 6 * mib}, bad), out, opts)
	require.ErrorContains(t, err, "cable pulled")

	opts.Resume = true
	sum := export(t, &disk{size: size}, out, opts)
	requireImage(t, want(size, FillZero, nil), out)
	require.True(t, sum.Totals.Whole())
	require.NoFileExists(t, out+".map")
}

func TestResumeWithNothingToResume(t *testing.T) {
	out := output(t)
	sum := export(t, &disk{size: mib}, out, Options{Resume: true})
	require.Zero(t, sum.Resumed)
	requireImage(t, want(mib, FillZero, nil), out)
}

func TestResumeRefusesACutPart(t *testing.T) {
	out := output(t)
	_, err := Run(context.Background(), &disk{size: 8 * mib, err: errors.New("cable pulled"), errAt: 6 * mib}, out, Options{Workers: 1})
	require.ErrorContains(t, err, "cable pulled")
	require.NoError(t, os.Truncate(out+".part", 1000))
	_, err = Run(context.Background(), &disk{size: 8 * mib}, out, Options{Resume: true})
	require.ErrorContains(t, err, "it has 1000 bytes, want 8388608")
	export(t, &disk{size: 8 * mib}, out, Options{Force: true})
	requireImage(t, want(8*mib, FillZero, nil), out)
}

func TestCancel(t *testing.T) {
	const size = 24 * mib
	ctx, cancel := context.WithCancelCause(context.Background())
	interrupted := errors.New("interrupted")
	out := output(t)
	opts := Options{Workers: 2, Identity: "vg/lv", CheckpointEvery: time.Hour,
		Progress: func(p Progress) {
			if p.Done > 8*mib {
				cancel(interrupted)
			}
		}}
	_, err := Run(ctx, &disk{size: size, delay: 20 * time.Millisecond}, out, opts)
	require.ErrorIs(t, err, interrupted)
	require.NoFileExists(t, out)
	m, err := block.ReadMapfile(out + ".part.map")
	require.NoError(t, err)
	require.Equal(t, block.Finished, m.Blocks[0].Status)
	require.Greater(t, m.Blocks[0].Len, int64(8*mib))
	require.Equal(t, block.NonTried, m.Blocks[1].Status)

	opts.Resume, opts.Progress = true, nil
	sum := export(t, &disk{size: size}, out, opts)
	require.Equal(t, m.Blocks[0].Len, sum.Resumed)
	requireImage(t, want(size, FillZero, nil), out)
}

// A run of zeros that takes hours to hash does not keep an export from being interrupted.
func TestCancelInAHugeHole(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	dev := block.NewBad(1<<43, "gone")
	done := make(chan error)
	go func() {
		_, err := Run(ctx, dev, output(t), Options{Hashes: []string{"sha256"}})
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestProgress(t *testing.T) {
	var list []Progress
	dev, _ := damaged(t, 8*mib)
	export(t, dev, output(t), Options{Progress: func(p Progress) { list = append(list, p) }})
	last := list[len(list)-1]
	require.Equal(t, int64(8*mib), last.Done)
	require.Equal(t, int64(8*mib), last.Size)
	require.Equal(t, int64(3*mib+612), last.Bad)
	require.Equal(t, int64(512), last.Doubtful)
}

func TestTwoExportsToOneFile(t *testing.T) {
	out := output(t)
	inside := make(chan error, 1)
	var once bool
	export(t, &disk{size: 2 * mib}, out, Options{Progress: func(Progress) {
		if once {
			return
		}
		once = true
		_, err := Run(context.Background(), &disk{size: mib}, out, Options{Force: true})
		inside <- err
	}})
	require.ErrorContains(t, <-inside, "another lvrescue is writing it")
	requireImage(t, want(2*mib, FillZero, nil), out)
}

// A file that appears under the name in the meantime is not replaced.
func TestNameTakenMeanwhile(t *testing.T) {
	out := output(t)
	_, err := Run(context.Background(), &disk{size: mib}, out, Options{Progress: func(Progress) {
		require.NoError(t, os.WriteFile(out, []byte("precious"), 0o600))
	}})
	require.ErrorContains(t, err, "has come to exist")
	kept, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))
	require.FileExists(t, out+".part")
}
