package block

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// loop attaches a file to a loop device, for as long as the test lasts.
func loop(t *testing.T, path string, args ...string) string {
	t.Helper()
	require.Zero(t, os.Geteuid(), "this test attaches loop devices: run it as root")
	out, err := exec.Command("losetup", append(args, "--show", "--find", path)...).Output()
	require.NoError(t, err, "losetup (package mount) attaches %s", path)
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() { require.NoError(t, exec.Command("losetup", "--detach", dev).Run()) })
	return dev
}

func identity(t *testing.T, path string) Identity {
	t.Helper()
	id, err := Identify(path)
	require.NoError(t, err)
	return id
}

func TestOpenBlockDevice(t *testing.T) {
	data := noise(1 << 20)
	path := write(t, 4<<20, map[int64][]byte{1 << 20: data})
	f := open(t, loop(t, path, "--read-only"))
	require.Equal(t, int64(4<<20), f.Size())
	require.True(t, f.IsBlockDevice())
	requireContract(t, f)
	require.Equal(t, []Extent{{Off: 0, Len: 4 << 20}}, extents(f, 0, f.Size()), "a block device does not tell of holes")
	p := make([]byte, 1<<20)
	n, err := f.ReadAt(p, 1<<20)
	require.NoError(t, err)
	require.Equal(t, data, p[:n])
}

// A loop device over a file that has been cut gives EIO behind the cut, as a disk does on
// a bad sector.
func TestBlockDeviceRefusesReads(t *testing.T) {
	const good = 1<<20 + 3*SectorSize
	data := noise(4 << 20)
	path := write(t, 4<<20, map[int64][]byte{0: data})
	f := open(t, loop(t, path, "--read-only"))
	require.NoError(t, os.Truncate(path, good))

	p, got := readAll(t, f, 0, 2<<20)
	why := f.Name() + ": input/output error"
	require.Equal(t, []Extent{{0, good, Data, ""}, {good, 2<<20 - good, Bad, why}}, got,
		"sectors of a page with bad ones are read")
	require.Equal(t, data[:good], p[:good])

	for _, r := range [][2]int{{good - 700, 700}, {good - 1, 1}, {good - 513, 2}, {1000, 3500}} {
		n, err := f.ReadAt(p[:r[1]], int64(r[0]))
		require.NoError(t, err, r)
		require.Equal(t, data[r[0]:r[0]+r[1]], p[:n], r)
	}
	p, got = readAll(t, f, good-100, 700)
	require.Equal(t, []Extent{{good - 100, 100, Data, ""}, {good, 600, Bad, why}}, got)
	require.Equal(t, data[good-100:good], p[:100])
}

func TestIdentity(t *testing.T) {
	path := write(t, 4<<20, nil)
	other := write(t, 4<<20, nil)
	dir := filepath.Dir(path)
	link, hard := filepath.Join(dir, "link"), filepath.Join(dir, "hard")
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, os.Link(path, hard))
	dev := loop(t, path)
	whole := loop(t, dev, "--offset", "1048576") // a loop device over a loop device
	node := filepath.Join(dir, "node")
	require.NoError(t, exec.Command("cp", "-a", dev, node).Run())

	id := identity(t, path)
	for _, name := range []string{path, link, hard, dev, whole, node} {
		require.True(t, identity(t, name).Same(id), name)
		require.True(t, id.Same(identity(t, name)), name)
		require.False(t, identity(t, name).Same(identity(t, other)), name)
	}
	require.True(t, open(t, hard).Identity().Same(id))

	f, err := os.Open(link)
	require.NoError(t, err)
	defer f.Close()
	fromFile, err := IdentifyFile(f)
	require.NoError(t, err)
	require.True(t, fromFile.Same(id))

	_, err = Identify(filepath.Join(dir, "no.img"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A partition is made of its disk, but is not the partition beside it.
func TestIdentityOfPartitions(t *testing.T) {
	path := write(t, 16<<20, nil)
	sfdisk := exec.Command("sfdisk", "--quiet", path)
	sfdisk.Stdin = strings.NewReader("label: dos\nstart=2048, size=8192\nstart=10240, size=8192\n")
	require.NoError(t, sfdisk.Run(), "this test needs sfdisk: apt-get install fdisk")
	dev := loop(t, path)
	require.NoError(t, exec.Command("partx", "--add", dev).Run(), "partx (package util-linux) adds partitions to %s", dev)
	t.Cleanup(func() { _ = exec.Command("partx", "--delete", dev).Run() }) // goes with the loop device anyway

	one, two := identity(t, dev+"p1"), identity(t, dev+"p2")
	require.True(t, one.Same(identity(t, path)))
	require.True(t, identity(t, dev).Same(one))
	require.False(t, one.Same(two))
}

// A file on a filesystem on a loop device over a disk image lies on that image.
func TestLiesOn(t *testing.T) {
	path := write(t, 16<<20, nil)
	other := write(t, 16<<20, nil)
	require.NoError(t, exec.Command("mke2fs", "-q", "-F", path).Run(), "this test needs mke2fs: apt-get install e2fsprogs")
	dev := loop(t, path)
	dir := t.TempDir()
	require.NoError(t, exec.Command("mount", dev, dir).Run(), "mount %s", dev)
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", dir).Run()) })
	out := filepath.Join(dir, "lv.img")
	require.NoError(t, os.WriteFile(out, []byte("x"), 0o600))

	for _, name := range []string{out, dir} {
		id := identity(t, name)
		require.True(t, id.LiesOn(identity(t, dev)), name)
		require.True(t, id.LiesOn(identity(t, path)), name)
		require.False(t, id.LiesOn(identity(t, other)), name)
	}
	require.False(t, identity(t, out).Same(identity(t, path)))
	require.False(t, identity(t, other).LiesOn(identity(t, dev)))
}
