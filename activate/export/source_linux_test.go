package export

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

// Writing to a filesystem that is stored on a source changes the source.
func TestExportRefusesAFilesystemOnASource(t *testing.T) {
	require.Zero(t, os.Geteuid(), "this test mounts a filesystem: run it as root")
	source := filepath.Join(t.TempDir(), "disk.img")
	require.NoError(t, os.WriteFile(source, nil, 0o600))
	require.NoError(t, os.Truncate(source, 16*mib))
	require.NoError(t, exec.Command("mke2fs", "-q", "-F", source).Run(), "this test needs mke2fs: apt-get install e2fsprogs")
	text, err := exec.Command("losetup", "--show", "--find", source).Output()
	require.NoError(t, err, "losetup (package mount) attaches %s", source)
	dev := strings.TrimSpace(string(text))
	t.Cleanup(func() { require.NoError(t, exec.Command("losetup", "--detach", dev).Run()) })
	dir := t.TempDir()
	require.NoError(t, exec.Command("mount", dev, dir).Run(), "mount %s", dev)
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", dir).Run()) })

	id, err := block.Identify(source)
	require.NoError(t, err)
	opts := Options{Sources: []block.Identity{id}, Force: true}
	_, err = Run(context.Background(), &disk{size: mib}, filepath.Join(dir, "lv.img"), opts)
	require.ErrorContains(t, err, "is stored on the source "+source)
	opts.OnSource = true
	export(t, &disk{size: mib}, filepath.Join(dir, "lv.img"), opts)
	requireImage(t, want(mib, FillZero, nil), filepath.Join(dir, "lv.img"))
}
