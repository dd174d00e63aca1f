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
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lvrescue/lvrescue/fixtures"
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

// fatalReads is set to the number of reads after which a child is killed.
const fatalReads = "LVRESCUE_TEST_FATAL_READS"

// fatal is a device that kills its process a moment after so many reads, and lets no read
// through from then on: what it holds cannot be exported whole before.
type fatal struct {
	block.Device
	left atomic.Int64
}

func (d *fatal) ReadAt(p []byte, off int64) (int, error) {
	left := d.left.Add(-1)
	if left == -1 { // while the other workers write, and the map is saved
		time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	if left < 0 {
		select {}
	}
	return d.Device.ReadAt(p, off)
}

// childExport exports, or goes on with it, and prints the hash.
func childExport(dir string) error {
	dev, _, err := childDevice()
	if err != nil {
		return err
	}
	if reads, err := strconv.Atoi(os.Getenv(fatalReads)); err == nil {
		d := &fatal{Device: dev}
		d.left.Store(int64(reads))
		dev = d
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
	dir, rnd := t.TempDir(), fixtures.Rand(t)
	out := filepath.Join(dir, "lv.img")
	_, lost, err := childDevice()
	require.NoError(t, err)
	image := want(childSize, FillPattern, lost)

	// Killed between reads: 21 MiB in chunks of 256 KiB need more reads than these children have.
	for range 12 {
		cmd := child(t, "export", dir)
		cmd.Env = append(cmd.Env, fatalReads+"="+strconv.Itoa(1+rnd.IntN(6)))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Run(), &exit)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
		require.NoFileExists(t, out)
		requirePartIsTrue(t, image, out)
	}
	// Killed at any time, the last steps and those after the end included.
	for range 8 {
		cmd := child(t, "export", dir)
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(rnd.IntN(120)) * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if _, err := os.Stat(out); err == nil {
			break
		}
		requirePartIsTrue(t, image, out)
	}
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
