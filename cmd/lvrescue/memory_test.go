package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata"
)

// peak runs lvrescue with the arguments, and prints the most memory that it had in use, in
// KiB. It is a process of its own because a child's peak is at least its parent's.
func peak() {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Cmd{Path: self, Args: append([]string{"lvrescue"}, os.Args[1:]...), Stdout: io.Discard, Stderr: os.Stderr}
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=", "GOGC=")
	_ = cmd.Run() // its exit code is no matter here
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 1 && code != 3 {
		fmt.Printf("exit code %d\n", code)
		return
	}
	fmt.Println(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
}

// TestMemory feeds texts to lvrescue that are made to take as much memory as possible.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector takes a multiple of the memory: see the full run")
	}
	const room = metadata.MaxTextSize - 4096 // bytes for what a text repeats
	fill := func(unit string) string { return strings.Repeat(unit, room/len(unit)) }
	var many strings.Builder
	for i := 0; many.Len() < room-400; i++ {
		fmt.Fprintf(&many, "lv%d {\nid = \"%s\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\nsegment_count = 1\n\nsegment1 {\nstart_extent = 0\nextent_count = 1\n\ntype = \"striped\"\nstripe_count = 1\n\nstripes = [\n\"pv0\", %d\n]\n}\n}\n",
			i, testUUID(1000+i), i)
	}
	lv := func(segment string) string {
		return "lv {\nid = \"" + testUUID(3) + "\"\nstatus = [\"VISIBLE\"]\nflags = []\n" + segment + "}\n"
	}
	segment := func(kind, count, list, area string, n int) string {
		return fmt.Sprintf("segment1 {\nstart_extent = 0\nextent_count = %d\ntype = \"%s\"\nstripe_size = 8\nregion_size = 8\n%s = %d\n%s = [%s%s]\n}\n", n, kind, count, n, list, strings.Repeat(area+",", n-1), area)
	}
	for name, lvs := range map[string]string{
		"many LVs":       many.String(),
		"keys":           "x {\n" + fill("a=1\n") + "}\n",
		"values":         "x {\nid = [" + fill("1,") + "1]\n}\n",
		"comments":       fill("#\n"),
		"empty LVs":      fill("a{}"),
		"empty segments": "a {\n" + fill("b{}") + "}\n",
		"damage":         fill("v {\n\x01\n}\n"),
		"nested":         fill("a {\n"),
		"stripes":        lv(strings.Repeat(segment("striped", "stripe_count", "stripes", `"pv0",0`, 1024), 800)),
		"a mirror":       lv(segment("mirror", "mirror_count", "mirrors", `"pv0",0`, 800_000)),
		"mirrors":        strings.Repeat(lv(segment("mirror", "mirror_count", "mirrors", `"pv0",0`, 2000)), 40),
		"lost mirrors":   strings.Repeat(lv(segment("mirror", "mirror_count", "mirrors", `"x",0`, 2000)), 100),
		"arrays":         strings.Repeat(lv(segment("raid1", "device_count", "raids", `"a_rmeta_0","lv"`, 250)), 400),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			disk, text := filepath.Join(dir, "disk.img"), filepath.Join(dir, "text")
			require.NoError(t, os.WriteFile(disk, nil, 0o600))
			require.NoError(t, os.Truncate(disk, 1<<20))
			require.NoError(t, os.WriteFile(text, []byte("vg {\nid = \""+testUUID(1)+"\"\nseqno = 1\nformat = \"lvm2\"\nstatus = []\nflags = []\nextent_size = 8\nmax_lv = 0\nmax_pv = 0\n"+
				"physical_volumes {\npv0 {\nid = \""+testUUID(2)+"\"\nstatus = []\nflags = []\npe_start = 2048\npe_count = 100000\n}\n}\n"+
				"logical_volumes {\n"+lvs+"}\n}\ncontents = \"Text Format Volume Group\"\nversion = 1\ncreation_time = 1700000000\n"), 0o600))
			args := []string{"peak", "lvs", "-q", "--backup", text, "vg", disk}
			least := peakOf(t, args)
			for try := 0; try < 2 && least >= 256<<10; try++ { // the collector may have had to wait for others
				least = min(least, peakOf(t, args))
			}
			require.Less(t, least, 256<<10)
		})
	}
}

// peakOf is what peak prints, which is the peak in KiB.
func peakOf(t *testing.T, args []string) int {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	out, err := (&exec.Cmd{Path: self, Args: args}).Output()
	require.NoError(t, err)
	kib, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	return kib
}

// testUUID makes a UUID out of a number.
func testUUID(n int) string { return metadata.ID(fmt.Sprintf("%032d", n)).String() }
