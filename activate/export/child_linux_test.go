package export

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lvrescue/lvrescue/scan/block"
)

// The tests here need exports in processes of their own: the test binary runs itself with
// childTask set to a key of childTasks.
const childTask = "LVRESCUE_TEST_CHILD"

var childTasks = map[string]func(dir string) error{
	"export":    childExport,
	"full disk": childFullDisk,
}

func TestMain(m *testing.M) {
	task, ok := childTasks[os.Getenv(childTask)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := task(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is the command that does a task in dir.
func child(t *testing.T, task, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), childTask+"="+task)
	return cmd
}

const childSize = 24*mib + 4321

// childDevice is what the children export.
func childDevice() (block.Device, []block.Extent, error) {
	lost := []block.Extent{
		{Off: 10, Len: 100, State: block.Bad, Why: "scratch"},
		{Off: 2 * mib, Len: 3 * mib, State: block.Bad, Why: "disk missing"},
		{Off: 7*mib + 512, Len: 512, State: block.Doubtful, Why: "old leg"},
		{Off: 12*mib + 1024, Len: 512, State: block.Bad, Why: "medium error"},
	}
	disk := &disk{size: childSize, refuses: lost[3:], delay: time.Millisecond}
	dev, err := block.NewOverlay(disk, lost[:3])
	return dev, lost, err
}

// childExport exports, or goes on with it, and prints the hash.
func childExport(dir string) error {
	dev, _, err := childDevice()
	if err != nil {
		return err
	}
	sum, err := Run(context.Background(), dev, filepath.Join(dir, "lv.img"), Options{
		Resume: true, Fill: FillPattern, Hashes: []string{"sha256"}, Identity: "vg/lv",
		ChunkSize: 256 << 10, Workers: 4, CheckpointEvery: time.Millisecond,
	})
	if err == nil {
		fmt.Println(hex.EncodeToString(sum.Hashes[0].Sum))
	}
	return err
}

// However often an export is killed, what FILE.part.map calls finished is right, and in
// the end the image is.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "lv.img")
	_, lost, err := childDevice()
	require.NoError(t, err)
	image := want(childSize, FillPattern, lost)

	kills := 0
	for ; kills < 20; kills++ {
		cmd := child(t, "export", dir)
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		if cmd.Wait() == nil { // it was faster
			break
		}
		if _, err := os.Stat(out); err == nil { // killed after its last step but one
			break
		}
		requirePartIsTrue(t, image, out)
	}
	require.Greater(t, kills, 1, "the child was killed at work")
	if _, err := os.Stat(out); err != nil {
		cmd := child(t, "export", dir)
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, sha(image), strings.TrimSpace(string(text)))
	}
	requireImage(t, image, out)
	require.Equal(t, withoutWhy(lost), mapOf(t, out+".map", childSize))
}

// requirePartIsTrue holds what is finished in an unfinished image against the truth.
func requirePartIsTrue(t *testing.T, image []byte, out string) {
	t.Helper()
	part, err := os.ReadFile(out + ".part")
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	m, err := block.ReadMapfile(out + ".part.map")
	require.NoError(t, err, "there is no part without a map")
	for _, b := range m.Blocks {
		if b.Status != block.NonTried {
			require.True(t, string(image[b.Off:b.End()]) == string(part[b.Off:b.End()]), "block %+v is wrong", b)
		}
	}
}

// childFullDisk exports to a filesystem that is too small, and again once it has grown.
// The mount is in a namespace of this process and goes with it.
func childFullDisk(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	dev, lost, err := childDevice()
	if err != nil {
		return err
	}
	out := filepath.Join(dir, "lv.img")
	_, err = Run(context.Background(), dev, out, Options{})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "lv.img.part: no space left on device") {
		return fmt.Errorf("on a full disk: %w", err)
	}
	if _, err := os.Stat(out); err == nil {
		return errors.New("on a full disk: the image has got its name")
	}
	if err := unix.Mount("", dir, "tmpfs", unix.MS_REMOUNT, "size=60m"); err != nil {
		return fmt.Errorf("enlarge the tmpfs: %w", err)
	}
	sum, err := Run(context.Background(), dev, out, Options{Resume: true})
	if err != nil {
		return err
	}
	got, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	if string(got) != string(want(childSize, FillZero, lost)) {
		return errors.New("the resumed image is wrong")
	}
	if sum.Resumed == 0 {
		return errors.New("nothing was kept of what fitted")
	}
	return nil
}

func TestFullDisk(t *testing.T) {
	cmd := child(t, "full disk", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
}
