package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lvrescue/lvrescue/cmd/internal/cli"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
)

var update = flag.Bool("update", false, "write the outputs that the scripts compare with anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lvrescue": cli.Main, "peak": peak})
}

// TestScripts runs testdata/script: each script works on real LVM disks, and breaks them.
func TestScripts(t *testing.T) {
	bin, err := filepath.Abs("testdata/bin")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"corpus":     unpackCorpus,
			"grow":       growLV,
			"healthy":    keepHealthy,
			"damage":     doDamage,
			"exits":      exits,
			"golden":     requireGolden,
			"truth":      requireTruth,
			"medium":     showMedium,
			"normalise":  normalise,
			"transcript": requireTranscript,
		},
	})
}

// unpackCorpus NAME DIR unpacks a corpus: DIR/disks/*.img, and what the kernel and lvm2
// told of them beside.
func unpackCorpus(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(dir, 0o777))
	archive, err := os.Open(filepath.Join("..", "..", "fixtures", "corpora", args[0]+".tar.zst"))
	ts.Check(err)
	defer archive.Close()
	_, err = corpus.Unpack(archive, dir)
	ts.Check(err)
}

func load(ts *testscript.TestScript, dir string) *corpus.Corpus {
	c, err := corpus.Load(ts.MkAbs(dir))
	ts.Check(err)
	return c
}

// growLV BACKUP FILE EXTENTS writes an lvm2 backup text to FILE in which the LV "root" has
// that many extents, all on the first PV, at seqno 1000.
func growLV(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[2], 0, 64)
	ts.Check(err)
	text, err := metadata.Parse([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	vg, err := metadata.Decode(text)
	ts.Check(err)
	vg.Seqno = 1000
	vg.PVs[0].PECount = n
	vg.PVs[0].DevSize = vg.PVs[0].PEStart + n*vg.ExtentSize
	for _, lv := range vg.LVs {
		if lv.Name == "root" {
			lv.SegmentCount = 1
			lv.Segments = []*metadata.Segment{{Key: "segment1", ExtentCount: n, Type: "striped", Areas: []metadata.Area{{Name: vg.PVs[0].Key}}}}
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), metadata.Encode(vg, metadata.File), 0o666))
}

// keepHealthy DIR VG/LV FILE extracts an LV by the kernel's own table, before any damage.
func keepHealthy(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(load(ts, args[0]).Extract(args[1], ts.MkAbs(args[2])))
}

// doDamage WHAT FILE NUMBER... breaks a disk.
func doDamage(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[1])
	n := make([]int64, len(args)-2)
	for i, arg := range args[2:] {
		var err error
		n[i], err = strconv.ParseInt(arg, 0, 64)
		ts.Check(err)
	}
	switch args[0] {
	case "zero":
		ts.Check(damage.Zero(file, n[0], n[1]))
	case "noise":
		ts.Check(damage.Noise(file, n[0], n[1], 1))
	case "flip":
		ts.Check(damage.Flip(file, n[0], 0))
	case "truncate":
		ts.Check(damage.Truncate(file, n[0]))
	case "shift":
		ts.Check(damage.Shift(file, n[0], n[1]))
	default:
		ts.Fatalf("no damage is called %q", args[0])
	}
}

// exits CODE PROGRAM ARG... runs a program that must end with that code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v ended with exit code %d, want %d", args[1:], got, want)
	}
}

// requireGolden DIR LV FILE wants exactly the bytes that the kernel read from the LV. LV is
// the key of the golden, as "vg/lv@7" for an LV of an older version.
func requireGolden(ts *testscript.TestScript, _ bool, args []string) {
	golden, ok := load(ts, args[0]).Golden[args[1]]
	if !ok {
		ts.Fatalf("no golden for %s", args[1])
	}
	f, err := os.Open(ts.MkAbs(args[2]))
	ts.Check(err)
	defer f.Close()
	ts.Check(golden.Check(f))
}

// requireTruth HEALTHY EXPORT [MAP] wants each byte of the export to be right, or in a
// range that the map calls bad.
func requireTruth(ts *testscript.TestScript, _ bool, args []string) {
	mapfile := ""
	if len(args) > 2 {
		mapfile = ts.MkAbs(args[2])
	}
	truth, err := fixtures.CheckTruth(ts.MkAbs(args[0]), ts.MkAbs(args[1]), mapfile)
	ts.Check(err)
	ts.Logf("%+v", truth)
}

var (
	uuids  = regexp.MustCompile(`[0-9A-Za-z]{6}(-[0-9A-Za-z]{4}){5}-[0-9A-Za-z]{6}`)
	times  = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} UTC`)
	hashes = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
)

// normalise stdout|FILE OUT copies text without what differs each time the corpora are
// made.
func normalise(ts *testscript.TestScript, _ bool, args []string) {
	out := ts.MkAbs(args[1])
	ts.Check(os.MkdirAll(filepath.Dir(out), 0o777))
	ts.Check(os.WriteFile(out, blank([]byte(ts.ReadFile(args[0]))), 0o666))
}

// blank numbers UUIDs, and blanks times and hashes, at their full width.
func blank(text []byte) []byte {
	seen := map[string]string{}
	text = uuids.ReplaceAllFunc(text, func(id []byte) []byte {
		if seen[string(id)] == "" {
			seen[string(id)] = fmt.Sprintf("uuid%02d-0000-0000-0000-0000-0000-000000", len(seen)+1)
		}
		return []byte(seen[string(id)])
	})
	text = times.ReplaceAll(text, []byte("YYYY-MM-DD hh:mm:ss UTC"))
	return hashes.ReplaceAll(text, bytes.Repeat([]byte("h"), 64))
}
