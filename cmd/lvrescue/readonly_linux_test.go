package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/cmd/internal/cli"
	"github.com/lvrescue/lvrescue/fixtures"
)

// traced are the system calls by which a file could be changed.
const traced = "open,openat,openat2,creat,truncate,ftruncate,fallocate,write,pwrite64,writev,pwritev,pwritev2," +
	"rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,mknod,mknodat,mkdir,mkdirat,rmdir," +
	"chmod,fchmod,fchmodat,chown,lchown,fchown,fchownat,utime,utimes,futimesat,utimensat," +
	"setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,ioctl,mmap,mount"

// untraced are the commands that this test leaves to others.
var untraced = map[string]string{
	"activate":   "without --dry-run it needs device-mapper, and is run in the VM",
	"deactivate": "takes no source",
	"status":     "takes no source",
	"demo":       "makes its own disks, and breaks them",
	"version":    "takes no source",
}

// readOnlyRuns are runs of commands on a VG with RAID, and on one with a thin pool.
// DISKS stands for the sources, OUT for a directory to write to.
var readOnlyRuns = []struct {
	corpus string
	args   string
}{
	{"raid-stale", "scan DISKS"},
	{"raid-stale", "lvs vgs --explain DISKS"},
	{"raid-stale", "history vgs DISKS"},
	{"raid-stale", "export vgs/five DISKS -o OUT/five.img"},
	{"raid-stale", "export vgs --all DISKS -o OUT/all"},
	{"raid-stale", "export vgs/five DISKS -o OUT/five.img --force"},
	{"raid-stale", "domain vgs/three DISKS -o OUT"},
	{"raid-stale", "verify vgs/six DISKS"},
	{"raid-stale", "activate vgs --dry-run DISKS"},
	{"raid-stale", "carve DISKS --case OUT/case"},
	{"raid-stale", "scan --case OUT/case DISKS"},
	{"raid-stale", "guess DISKS"},
	{"thin", "thin check vgt/tp DISKS"},
	{"thin", "thin map vgt/tp DISKS"},
	{"thin", "export vgt/s3 DISKS -o OUT/s3.img"},
	{"thin", "serve vgt/t2 DISKS --socket OUT/socket"},
	{"thin", "mount vgt OUT/mnt DISKS"},
}

// TestNoSystemCallWritesToASource traces every command, and finds the sources as they were.
func TestNoSystemCallWritesToASource(t *testing.T) {
	if testing.Short() {
		t.Skip("another program runs, which the race detector does not see: runs without -short")
	}
	strace, err := exec.LookPath("strace")
	require.NoError(t, err, "this test needs strace: apt-get install strace")
	lvrescue := filepath.Join(t.TempDir(), "lvrescue")
	out, err := exec.Command("go", "build", "-o", lvrescue, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	dirs, before := map[string]string{}, map[string][]string{}
	dest := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dest, "mnt"), 0o777))
	ran := map[string]bool{}
	for _, run := range readOnlyRuns {
		if dirs[run.corpus] == "" {
			c := fixtures.Open(t, run.corpus)
			dirs[run.corpus] = filepath.Dir(c.Disks[0].Path)
			before[run.corpus] = states(t, dirs[run.corpus])
		}
		disks := dirs[run.corpus]
		args := strings.Fields(strings.NewReplacer("DISKS", disks, "OUT", dest).Replace(run.args))
		ran[args[0]] = true
		t.Run(run.args, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			cmd := exec.Command(strace, append([]string{"-ff", "-y", "-qq", "-s", "0", "-e", "signal=none", "-e", "trace=" + traced, "-o", log, lvrescue}, args...)...)
			switch args[0] {
			case "serve", "mount":
				runUntilUsed(t, cmd, args)
			default:
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if err != nil {
					require.ErrorAs(t, err, &exit)
					require.Contains(t, []int{1, 3}, exit.ExitCode(), "%s", out) // guess finds nothing; the rest is partial at worst
				}
			}
			calls, opened := writes(t, log, disks)
			require.Empty(t, calls)
			require.Positive(t, opened, "the logs tell of no source")
			require.Equal(t, before[run.corpus], states(t, disks))
		})
	}
	for _, cmd := range cli.New(io.Discard, io.Discard).Commands() {
		require.True(t, ran[cmd.Name()] || untraced[cmd.Name()] != "" || !cmd.IsAvailableCommand() || cmd.Name() == "completion",
			"%s is not traced: give it a run", cmd.Name())
	}
}

// runUntilUsed runs serve or mount, reads an LV by it, and stops it.
func runUntilUsed(t *testing.T, cmd *exec.Cmd, args []string) {
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	_, err = lines.ReadString('\n') // it is ready
	require.NoError(t, err)
	go io.Copy(io.Discard, lines)
	if args[0] == "mount" {
		_, err = os.ReadFile(filepath.Join(args[2], "t2"))
		require.NoError(t, err)
	} else {
		socket := args[len(args)-1]
		got, err := exec.Command("nbdcopy", "nbd+unix:///vgt/t2?socket="+socket, socket+".img").CombinedOutput()
		require.NoError(t, err, "%s", got)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	require.NoError(t, err)
	var child int
	_, err = fmt.Sscan(string(children), &child)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(child, syscall.SIGINT))
	_ = cmd.Wait() // by a signal, which lvrescue raises again
}

// states tells of every file in a directory what may change: names, modes, sizes, times of
// content and of inode, content.
func states(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		changed := info.Sys().(*syscall.Stat_t).Ctim
		list = append(list, fmt.Sprintf("%s %v %d %v %v %x", e.Name(), info.Mode(), info.Size(), info.ModTime(), changed, sha256.Sum256(b)))
	}
	return list
}

// harmless are calls that name a source and change nothing.
var harmless = regexp.MustCompile(`^open(at2?)?\(.*O_RDONLY|^mmap\(NULL, \d+, PROT_READ, `)

// writing are flags of open that none may have.
var writing = []string{"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"}

// writes lists the calls in the logs of strace, one a thread, that may change a file in dir.
// opened counts those that open one.
func writes(t *testing.T, log, dir string) (calls []string, opened int) {
	logs, err := filepath.Glob(log + ".*")
	require.NoError(t, err)
	for _, path := range logs {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		for call := range strings.Lines(string(b)) {
			switch {
			case !strings.Contains(call, dir+"/"):
			case !harmless.MatchString(call), slices.ContainsFunc(writing, func(flag string) bool { return strings.Contains(call, flag) }):
				calls = append(calls, call)
			default:
				opened++
			}
		}
	}
	return calls, opened
}

// TestWritesAreSeen: a search that finds nothing is worth nothing.
func TestWritesAreSeen(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	good := []string{
		`openat(AT_FDCWD</tmp>, "/disks/a.img", O_RDONLY|O_CLOEXEC) = 3</disks/a.img>`,
		`mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</disks/a.img>, 0) = 0x7f0000000000`,
		`openat(AT_FDCWD</tmp>, "/out/a.img", O_RDWR|O_CREAT, 0666) = 4</out/a.img>`,
		`pwrite64(4</out/a.img>, ""..., 512, 0) = 512`,
	}
	bad := []string{
		`openat(AT_FDCWD</tmp>, "/disks/a.img", O_RDWR|O_CLOEXEC) = 3</disks/a.img>`,
		`openat(AT_FDCWD</tmp>, "/disks/a.img.tmp", O_RDONLY|O_CREAT, 0666) = 3</disks/a.img.tmp>`,
		`pwrite64(3</disks/a.img>, ""..., 512, 0) = 512`,
		`mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</disks/a.img>, 0) = 0x7f0000000000`,
		`ioctl(3</disks/a.img>, BLKDISCARD, [0, 512]) = 0`,
		`unlinkat(AT_FDCWD</tmp>, "/disks/a.img", 0) = 0`,
		`utimensat(AT_FDCWD</tmp>, "/disks/a.img", NULL, 0) = 0`,
	}
	require.NoError(t, os.WriteFile(log+".1", []byte(strings.Join(append(good, bad...), "\n")), 0o666))
	calls, opened := writes(t, log, "/disks")
	require.Equal(t, 2, opened)
	for i := range calls {
		calls[i] = strings.TrimSpace(calls[i])
	}
	require.Equal(t, bad, calls)
}
