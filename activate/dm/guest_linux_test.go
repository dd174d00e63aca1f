//go:build guest

package dm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/scan/block"
)

// These tests run as root in the lab's VM, which fixtures/vmtest boots.

// inGuest lists corpora of every kind that the kernel has a target for, and some of those that
// come to linear lines, which TestCorporaComeToTheBytesOfUserSpace compares without a kernel:
// the machine is slow.
var inGuest = []string{
	"linear", "partitions", "sizes", "zero-error", "thin", "stacked",
	"raid-levels", "raid-stale", "raid10-layouts", "integrity", "integrity-journal", "integrity-tags",
}

// maxHashed is how many bytes of an LV are hashed, which is slow under emulation. Larger ones
// are compared with what user space reads, which other tests hold against the same hash.
const maxHashed = 8 << 20

// TestGuestCorpora activates every LV of corpora and compares what the kernel reads
// with user space, and with the hash from when LVM itself had it active.
func TestGuestCorpora(t *testing.T) {
	for _, name := range inGuest {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			before := sums(t, c.Paths())
			h := opened(t)
			for _, p := range plans(t, c.Paths(), nil) {
				golden, ok := c.Golden[shownName(p.plan)]
				if !ok {
					golden = c.Golden[p.plan.VG.Meta.ID.String()+"/"+p.plan.LV.Name]
				}
				t.Run(p.plan.LV.Name, func(t *testing.T) {
					s, _ := compiled(t, p.plan)
					if s == nil { // TestCorporaComeToTheBytesOfUserSpace says why
						return
					}
					hash := check(t, h, s, p.dev)
					if totals := block.Summarise(p.dev); totals.Whole() && hash != "" && golden.Note == "" && golden.Size > 0 {
						require.Equal(t, hex.EncodeToString(golden.SHA256[:]), hash)
					}
				})
			}
			require.NoError(t, h.Close())
			require.Equal(t, before, sums(t, c.Paths()), "sources must not change")
		})
	}
	nothingLeft(t)
}

// TestGuestVDO activates VDO pools, of which some have a recovery journal to replay. User
// space reads what LVM's own devices gave, which tests of activate hold against their hashes.
func TestGuestVDO(t *testing.T) {
	for name, lvs := range map[string][]string{"vdo-crash": {"v1", "v2"}, "vdo-clean": {"moved"}} {
		c := fixtures.Open(t, name)
		before := sums(t, c.Paths())
		h := opened(t)
		for _, p := range plans(t, c.Paths(), nil) {
			if !slices.Contains(lvs, p.plan.LV.Name) {
				continue
			}
			t.Run(name+"/"+p.plan.LV.Name, func(t *testing.T) {
				s, why := compiled(t, p.plan)
				require.Empty(t, why)
				check(t, h, s, p.dev)
			})
		}
		require.NoError(t, h.Close())
		require.Equal(t, before, sums(t, c.Paths()), "sources must not change")
	}
	nothingLeft(t)
}

// opened is a Host that the test closes.
func opened(t *testing.T) *Host {
	t.Helper()
	h, err := Open()
	require.NoError(t, err)
	return h
}

// check activates an LV, compares it, and takes it down.
func check(t *testing.T, h *Host, s *Stack, dev block.Device) (hash string) {
	t.Helper()
	require.NoError(t, h.Activate(s, Record{}))
	hash = compare(t, "/dev/mapper/"+s.Top().Name, dev)
	active, err := h.Active()
	require.NoError(t, err)
	require.Len(t, active, 1)
	require.True(t, active[0].Complete)
	require.NoError(t, h.Deactivate(active[0]))
	return hash
}

// aligned is a buffer for direct reads.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % 4096)
	return b[skip : skip+n]
}

// compare reads a device in full. Where user space has bytes it must have the same, where
// user space has none each sector must be an error. It gives the hash of a small device.
func compare(t *testing.T, path string, want block.Device) string {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	require.NoError(t, err)
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	require.NoError(t, err)
	require.Equal(t, want.Size(), size)
	h := sha256.New()
	buf, wanted := aligned(1<<20), make([]byte, 1<<20)
	for e := range states(want) {
		lo, hi := boundary(e.Off, e.State == block.Bad), boundary(e.End(), e.State != block.Bad)
		if e.State == block.Bad {
			for off := lo; off < hi; off += block.SectorSize {
				if off == lo+16*block.SectorSize && hi-off > 32*block.SectorSize { // not each of many
					off = hi - 16*block.SectorSize
				}
				_, err := f.ReadAt(buf[:block.SectorSize], off)
				require.ErrorIs(t, err, unix.EIO, "byte %d is lost: %s", off, e.Why)
			}
			continue
		}
		for off := lo; off < hi; {
			n := int(min(int64(len(buf)), hi-off))
			_, err := f.ReadAt(buf[:n], off)
			require.NoError(t, err, "%d bytes at %d of %s", n, off, path)
			_, err = want.ReadAt(wanted[:n], off)
			require.NoError(t, err)
			require.True(t, bytes.Equal(wanted[:n], buf[:n]), "%d bytes at %d of %s differ", n, off, path)
			if size <= maxHashed {
				h.Write(buf[:n])
			}
			off += int64(n)
		}
	}
	if size > maxHashed {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sums hashes what is not a hole in each file.
func sums(t testing.TB, paths []string) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, path := range paths {
		f, err := block.Open(path)
		require.NoError(t, err)
		h := sha256.New()
		for e := range f.Extents(0, f.Size()) {
			fmt.Fprintln(h, e)
			if e.State == block.Data {
				_, err := io.Copy(h, io.NewSectionReader(f, e.Off, e.Len))
				require.NoError(t, err)
			}
		}
		info, err := os.Stat(path)
		require.NoError(t, err)
		list[path] = fmt.Sprintf("%x %v %d", h.Sum(nil), info.ModTime(), f.Size())
		require.NoError(t, f.Close())
	}
	return list
}

// nothingLeft makes sure that no device, node, loop device or file of ours is there.
func nothingLeft(t *testing.T) {
	t.Helper()
	h := opened(t)
	defer h.Close()
	for _, i := range h.known {
		require.False(t, strings.HasPrefix(i.uuid, UUIDPrefix), "device %s is left", i.name)
	}
	for pattern, but := range map[string]string{
		"/dev/mapper/" + NamePrefix + "*":    "",
		runDir + "/*":                        runDir + "/lock",
		"/sys/block/loop*/loop/backing_file": "",
	} {
		left, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range left {
			require.Equal(t, but, path, "left behind")
		}
	}
}

// TestGuestDegraded leaves disks out, so that arrays are without one or two legs.
func TestGuestDegraded(t *testing.T) {
	c := fixtures.Open(t, "raid-levels")
	before := sums(t, c.Paths())
	h := opened(t)
	defer h.Close()
	made := map[string]int{}
	for _, without := range []string{"b", "ad", "ce", "f"} {
		var paths []string
		for _, d := range c.Disks {
			if !strings.Contains(without, d.Name) {
				paths = append(paths, d.Path)
			}
		}
		for _, p := range plans(t, paths, nil) {
			switch p.plan.LV.Name {
			case "r0", "r1x3", "r4", "r5la", "r5long", "r6nr", "r6ls_6", "r10six":
			default:
				continue
			}
			t.Run(p.plan.LV.Name+" without "+without, func(t *testing.T) {
				if s, _ := compiled(t, p.plan); s != nil {
					check(t, h, s, p.dev)
					made[p.plan.LV.Name]++
				}
			})
		}
	}
	require.Equal(t, map[string]int{"r0": 4, "r1x3": 4, "r4": 3, "r5la": 3, "r5long": 4, "r6nr": 4, "r6ls_6": 4, "r10six": 4}, made)
	require.Equal(t, before, sums(t, c.Paths()))
}

// TestGuestBadSectors has sectors that a mapfile calls bad, and some that nobody knows of
// before they are read: of these md makes up for, and writes what it found, into a fence.
func TestGuestBadSectors(t *testing.T) {
	c := fixtures.Open(t, "linear")
	m := filepath.Join(t.TempDir(), "map")
	require.NoError(t, os.WriteFile(m, []byte("0 + 1\n0 2100000 +\n2100000 5000 -\n2105000 900000 +\n3005000 512 /\n3005512 900000000 +\n"), 0o600))
	h := opened(t)
	for _, p := range plans(t, c.Paths(), map[string]string{c.Disk("a"): m}) {
		s, _ := compiled(t, p.plan)
		check(t, h, s, p.dev)
	}
	require.NoError(t, h.Close())
}

// TestGuestFailingDisk has disks that are block devices, one with sectors that nobody knows of
// before they are read. md makes up for them, and writes what it found, into a fence.
func TestGuestFailingDisk(t *testing.T) {
	c := fixtures.Open(t, "raid-levels")
	before := sums(t, c.Paths())
	var paths []string
	for _, d := range c.Disks {
		var bad []int64
		if d.Name == "b" { // in r1x3, r5ls and r6zr
			bad = []int64{4096 + 8, 7680 + 16, 10240 + 33}
		}
		paths = append(paths, failing(t, d.Path, "failing-"+d.Name, bad))
	}
	h := opened(t)
	defer h.Close()
	for _, p := range plans(t, paths, nil) {
		switch p.plan.LV.Name {
		case "r5ls", "r6zr", "r1x3":
			s, _ := compiled(t, p.plan)
			golden := c.Golden[shownName(p.plan)].SHA256
			require.Equal(t, hex.EncodeToString(golden[:]), check(t, h, s, p.dev))
		}
	}
	require.Equal(t, before, sums(t, c.Paths()))
}

// failing makes a block device of an image, of which some sectors cannot be read.
func failing(t *testing.T, path, name string, bad []int64) string {
	t.Helper()
	f, err := block.Open(path)
	require.NoError(t, err)
	defer f.Close()
	l, err := attach(f.Fd(), path, 0, false)
	require.NoError(t, err)
	defer l.Close()
	var table []line
	from, size := int64(0), f.Size()/block.SectorSize
	for _, at := range append(bad, size) {
		table = append(table, line{from, at - from, "linear", fmt.Sprintf("%d:%d %d", major(l.dev), minor(l.dev), from)})
		if from = at + 1; at < size {
			table = append(table, line{at, 1, "error", ""})
		}
	}
	ctl, err := openControl()
	require.NoError(t, err)
	dev, err := ctl.create(name, "")
	require.NoError(t, err)
	require.NoError(t, ctl.load(name, false, table))
	require.NoError(t, ctl.resume(name))
	m := &machine{ctl, ""}
	require.NoError(t, m.link(name, dev))
	t.Cleanup(func() {
		require.NoError(t, ctl.remove(name))
		require.NoError(t, m.unlink(name))
	})
	return filepath.Join(mapperDir, name)
}

// TestGuestDiskDies has a disk fail while LVs on it are active: what arrays have on others is
// still read.
func TestGuestDiskDies(t *testing.T) {
	c := fixtures.Open(t, "raid-levels")
	before := sums(t, c.Paths())
	var paths []string
	for _, d := range c.Disks {
		paths = append(paths, failing(t, d.Path, "dying-"+d.Name, nil))
	}
	ctl, err := openControl()
	require.NoError(t, err)
	h := opened(t)
	stacks := map[string]*Stack{}
	golden := map[string]corpus.Golden{}
	for _, p := range plans(t, paths, nil) {
		switch p.plan.LV.Name {
		case "r1x3", "r4", "r5ls", "r6zr", "r10six", "r0":
			s, _ := compiled(t, p.plan)
			require.NoError(t, h.Activate(s, Record{}))
			stacks[p.plan.LV.Name], golden[p.plan.LV.Name] = s, c.Golden[shownName(p.plan)]
		}
	}
	require.Len(t, stacks, 6)
	require.NoError(t, ctl.load("dying-b", false, []line{{0, 28 << 20 / block.SectorSize, "error", ""}}))
	require.NoError(t, ctl.resume("dying-b"))
	for name, s := range stacks {
		f, err := os.OpenFile("/dev/mapper/"+s.Top().Name, os.O_RDONLY|unix.O_DIRECT, 0)
		require.NoError(t, err)
		sum := sha256.New()
		_, err = io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{f}, aligned(1<<18))
		require.NoError(t, f.Close())
		if name == "r0" {
			require.ErrorIs(t, err, unix.EIO)
			continue
		}
		require.NoError(t, err, name)
		want := golden[name].SHA256
		require.Equal(t, hex.EncodeToString(want[:]), hex.EncodeToString(sum.Sum(nil)), name)
	}
	active, err := h.Active()
	require.NoError(t, err)
	for _, a := range active {
		require.NoError(t, h.Deactivate(a))
	}
	require.NoError(t, h.Close())
	require.Equal(t, before, sums(t, c.Paths()))
}

// TestGuestNodes finds nodes of devices that are gone where that of a new one has to be.
func TestGuestNodes(t *testing.T) {
	ctl, err := openControl()
	require.NoError(t, err)
	dev, err := ctl.create("noded", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ctl.remove("noded")) })
	require.NoError(t, ctl.load("noded", false, []line{{0, 8, "zero", ""}}))
	require.NoError(t, ctl.resume("noded"))
	m, path := &machine{ctl, ""}, filepath.Join(mapperDir, "noded")
	for what, before := range map[string]func() error{
		"nothing":           func() error { return nil },
		"a link to it":      func() error { return os.Symlink(fmt.Sprintf("../dm-%d", minor(dev)), path) },
		"a link to another": func() error { return os.Symlink("../loop0", path) },
		"a link to nothing": func() error { return os.Symlink("../dm-12345", path) },
		"a node of its own": func() error { return unix.Mknod(path, unix.S_IFBLK|0o600, int(dev)) },
		"a node of another": func() error { return unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))) },
	} {
		require.NoError(t, before(), what)
		require.NoError(t, m.link("noded", dev), what)
		require.True(t, isNode(path, dev), what)
		require.NoError(t, m.unlink("noded"), what)
		require.NoFileExists(t, path)
	}
}

// TestGuestOverlay writes to an LV, finds it again, and has its overlay run full.
func TestGuestOverlay(t *testing.T) {
	c := fixtures.Open(t, "linear")
	before := sums(t, c.Paths())
	dir := t.TempDir()
	require.NoError(t, unix.Mount("none", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	ps := plans(t, c.Paths(), nil)
	p := ps[slices.IndexFunc(ps, func(p planned) bool { return p.plan.LV.Name == "root" })]
	h := opened(t)
	defer h.Close()
	buf := aligned(4096)
	activate := func() (*Active, *os.File) {
		s, _ := compiled(t, p.plan)
		_, err := s.AddOverlay(dir)
		require.NoError(t, err)
		require.NoError(t, h.Activate(s, Record{}))
		active, err := h.Active()
		require.NoError(t, err)
		f, err := os.OpenFile(filepath.Join(mapperDir, s.Top().Name), os.O_RDWR|unix.O_DIRECT, 0)
		require.NoError(t, err)
		return active[0], f
	}
	text := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, len(buf)) }

	a, f := activate()
	copy(buf, text(7))
	_, err := f.WriteAt(buf, 5*4096)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, h.Deactivate(a))

	a, f = activate()
	require.False(t, a.Failed)
	require.Positive(t, a.Used)
	_, err = f.ReadAt(buf, 5*4096)
	require.NoError(t, err)
	require.Equal(t, text(7), buf, "it is there after a restart")
	wanted := make([]byte, len(buf))
	_, err = p.dev.ReadAt(wanted, 6*4096)
	require.NoError(t, err)
	_, err = f.ReadAt(buf, 6*4096)
	require.NoError(t, err)
	require.Equal(t, wanted, buf)
	full := false
	for n := range p.dev.Size() / 4096 {
		if _, err := f.WriteAt(buf, n*4096); err != nil {
			full = true
			break
		}
	}
	require.True(t, full || f.Sync() != nil, "there is no room for all of it")
	require.NoError(t, f.Close())
	active, err := h.Active()
	require.NoError(t, err)
	require.True(t, active[0].Failed)
	require.NoError(t, h.Deactivate(active[0]))
	require.Equal(t, before, sums(t, c.Paths()))
}

// killing is a kernel that kills the process before a step.
type killing struct {
	kernel
	more int // steps until then
}

func (k *killing) step() {
	if k.more--; k.more < 0 {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
}

func (k *killing) create(name, uuid string) (uint64, error) {
	k.step()
	return k.kernel.create(name, uuid)
}

func (k *killing) load(name string, writable bool, table []line) error {
	k.step()
	return k.kernel.load(name, writable, table)
}

func (k *killing) resume(name string) error {
	k.step()
	return k.kernel.resume(name)
}

func (k *killing) link(name string, dev uint64) error {
	k.step()
	return k.kernel.link(name, dev)
}

func (k *killing) attachSource(s *Source) (uint64, io.Closer, error) {
	k.step()
	return k.kernel.attachSource(s)
}

func (k *killing) attachScratch(s *Scratch) (uint64, io.Closer, error) {
	k.step()
	return k.kernel.attachScratch(s)
}

// TestGuestKilled kills an activation before its steps, and clears up behind it.
func TestGuestKilled(t *testing.T) {
	const dirVar, stepVar = "LVRESCUE_TEST_DIR", "LVRESCUE_TEST_STEP"
	if dir := os.Getenv(dirVar); dir != "" { // the child
		step, err := strconv.Atoi(os.Getenv(stepVar))
		require.NoError(t, err)
		paths, err := filepath.Glob(dir + "/*.img")
		require.NoError(t, err)
		s, _ := compiled(t, plans(t, paths, nil)[0].plan)
		h := opened(t)
		h.kernel = &killing{h.kernel, step}
		require.NoError(t, h.Activate(s, Record{}))
		return
	}
	c := fixtures.Open(t, "integrity-journal") // one LV, of sources, scratch space and fences
	before := sums(t, c.Paths())
	for step := 0; ; step += 2 { // TestKilled has all of them, without a kernel
		cmd := exec.Command(os.Args[0], "-test.run", "TestGuestKilled$")
		cmd.Env = append(os.Environ(), dirVar+"="+filepath.Dir(c.Paths()[0]), fmt.Sprintf("%s=%d", stepVar, step))
		said, err := cmd.CombinedOutput()
		h := opened(t)
		active, lerr := h.Active()
		require.NoError(t, lerr)
		require.Len(t, active, 1)
		for _, a := range active {
			require.NoError(t, h.Deactivate(a))
		}
		require.NoError(t, h.Close())
		nothingLeft(t)
		if err == nil {
			require.Greater(t, step, 25)
			break
		}
		require.ErrorContains(t, err, "killed", "%s", said)
	}
	require.Equal(t, before, sums(t, c.Paths()))
}
