package dm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holders tells who uses a block device: filesystems, swap, devices that stand on it, and
// processes that have it open.
func (m *machine) holders(dev uint64) (who []string) {
	number := fmt.Sprintf("%d:%d", major(dev), minor(dev))
	if b, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 4 && f[2] == number {
				who = append(who, "mounted on "+f[4])
			}
		}
	}
	above, _ := filepath.Glob("/sys/dev/block/" + number + "/holders/*")
	for _, path := range above {
		name := filepath.Base(path)
		if b, err := os.ReadFile(filepath.Join(path, "dm/name")); err == nil {
			name = strings.TrimSpace(string(b))
		}
		who = append(who, "device "+name+" stands on it")
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	seen := map[string]bool{strconv.Itoa(os.Getpid()): true}
	for _, fd := range fds {
		pid := strings.Split(fd, "/")[2]
		var st unix.Stat_t
		if seen[pid] || unix.Stat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || st.Rdev != dev {
			continue
		}
		seen[pid] = true
		comm, _ := os.ReadFile("/proc/" + pid + "/comm")
		who = append(who, fmt.Sprintf("process %s (%s) has it open", pid, strings.TrimSpace(string(comm))))
	}
	if b, err := os.ReadFile("/proc/swaps"); err == nil {
		for line := range strings.Lines(string(b)) {
			var st unix.Stat_t
			if f := strings.Fields(line); len(f) > 1 && unix.Stat(f[0], &st) == nil && st.Rdev == dev && st.Mode&unix.S_IFMT == unix.S_IFBLK {
				who = append(who, "used as swap")
			}
		}
	}
	return who
}
