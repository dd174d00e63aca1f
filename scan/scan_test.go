package scan

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/metadata"
)

// run scans, and closes the evidence when the test ends.
func run(t testing.TB, opts Options, args ...string) *Evidence {
	t.Helper()
	ev, err := Run(context.Background(), args, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ev.Close()) })
	return ev
}

// pvs lists PVs as "disk@offset UUID areas", with the first 6 characters of the UUID.
func pvs(ev *Evidence) (list []string) {
	for _, pv := range ev.PVs {
		id := "no label"
		if pv.ID() != "" {
			id = pv.ID().String()[:6]
		}
		list = append(list, fmt.Sprintf("%s@%d %s %d", filepath.Base(pv.Source.Name), pv.Offset, id, len(pv.Areas)))
	}
	return list
}

// copies lists texts as "disk slot seqno checksum".
func copies(t testing.TB, ev *Evidence) (list []string) {
	t.Helper()
	for _, c := range ev.Copies {
		vg, _ := c.Content.VG()
		require.NotNil(t, vg)
		list = append(list, fmt.Sprintf("%s %s %d %s", filepath.Base(c.Source.Name), c.Slot, vg.Seqno, c.Checksum))
	}
	return list
}

// codes lists findings as "disk:code".
func codes(ev *Evidence) (list []string) {
	for _, f := range ev.Findings {
		list = append(list, filepath.Base(f.Source)+":"+f.Code)
	}
	return list
}

// reported is what lvm2 itself said of a PV.
type reported struct {
	Name    string `json:"pv_name"`
	UUID    string `json:"pv_uuid"`
	Areas   int    `json:"pv_mda_count,string"`
	Used    int    `json:"pv_mda_used_count,string"`
	PEStart int64  `json:"pe_start,string"`
	BAStart int64  `json:"pv_ba_start,string"`
	BASize  int64  `json:"pv_ba_size,string"`
	VG      string `json:"vg_name"`
	Missing string `json:"pv_missing"`
}

// lvm2sPVs are the PVs that lvm2 saw on a corpus's disks.
func lvm2sPVs(t testing.TB, c *fixtures.Corpus) map[string]reported {
	t.Helper()
	var file struct {
		Report []struct {
			PV []reported `json:"pv"`
		} `json:"report"`
	}
	require.NoError(t, json.Unmarshal([]byte(c.Files["pvs.json"]), &file))
	list := map[string]reported{}
	for _, report := range file.Report {
		for _, pv := range report.PV {
			if pv.UUID != "" && pv.Missing == "" && !withheld(t, c, pv.Name) {
				list[pv.UUID] = pv
			}
		}
	}
	require.NotEmpty(t, list)
	return list
}

// withheld tells whether a loop device of the lab was a disk that the corpus leaves out, or
// persistent memory what an earlier scenario of the boot has left there, or an array is none that
// is read.
func withheld(t testing.TB, c *fixtures.Corpus, device string) bool {
	t.Helper()
	devices, err := os.ReadFile(filepath.Join(c.Dir, "devices.txt"))
	require.NoError(t, err)
	if device == "/dev/md4" {
		return true // of md-members: a raid5, which is not read
	}
	if minor, isMemory := strings.CutPrefix(device, "/dev/pmem"); isMemory {
		return !strings.Contains("\n"+string(devices), "\n259:"+minor+" ")
	}
	minor, isLoop := strings.CutPrefix(device, "/dev/loop")
	for line := range strings.Lines(string(devices)) {
		if f := strings.Fields(line); isLoop && f[0] == "7:"+minor {
			return !slices.ContainsFunc(c.Disks, func(d corpus.Disk) bool { return d.Name == f[1] })
		}
	}
	return false
}

// TestRunCorpora finds on every corpus the PVs that lvm2 reported, and on healthy disks
// only texts with valid checksums.
func TestRunCorpora(t *testing.T) {
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			ev := run(t, Options{}, c.Paths()...)
			require.Len(t, ev.Sources, len(c.Disks))
			found := map[string]*PV{}
			for _, pv := range ev.PVs {
				found[pv.ID().String()] = pv
			}
			for uuid, want := range lvm2sPVs(t, c) {
				pv := found[uuid]
				require.NotNil(t, pv, "PV %s", uuid)
				require.Len(t, pv.Areas, want.Areas, "PV %s", uuid)
				require.Equal(t, metadata.ChecksumValid, pv.Label.Checksum)
				require.Equal(t, want.PEStart, pv.Label.DataAreas[0].Offset)
				require.Equal(t, want.VG != "", pv.Label.Used())
				if want.BASize > 0 {
					require.Equal(t, []metadata.DiskArea{{Offset: want.BAStart, Size: want.BASize}}, pv.Label.BootloaderAreas)
				}
				ignored := 0
				for _, a := range pv.Areas {
					if a.Header.Ignored() {
						ignored++
					}
				}
				require.Equal(t, want.Areas-want.Used, ignored, "ignored areas of PV %s", uuid)
			}
			for _, copy := range ev.Copies {
				if copy.Area.PV.Label != nil {
					require.NotEqual(t, Ring, copy.Slot, "nothing is lost, so nothing is searched for")
					require.Equal(t, metadata.ChecksumValid, copy.Checksum)
				}
			}
		})
	}
}

// TestRunHistory expects in the rings every version that lvm2 has archived, since the
// rings of these corpora have not come round.
func TestRunHistory(t *testing.T) {
	for _, name := range []string{"linear", "striped"} {
		c := fixtures.Open(t, name)
		ev := run(t, Options{History: true}, c.Paths()...)
		bySeqno := map[uint32]int{}
		for _, copy := range ev.Copies {
			vg, err := copy.Content.VG()
			require.NoError(t, err)
			bySeqno[vg.Seqno]++
		}
		newest := uint32(0)
		for file, text := range c.Files {
			if strings.HasPrefix(file, "archive/") || strings.HasPrefix(file, "backup/") {
				vg, err := metadata.ParseTolerant([]byte(text))
				require.NoError(t, err, file)
				if vg.Seqno > 0 {
					require.Equal(t, len(c.Disks), bySeqno[vg.Seqno], "seqno %d of %s, on each disk", vg.Seqno, file)
				}
				newest = max(newest, vg.Seqno)
			}
		}
		require.Len(t, bySeqno, int(newest))
	}
}

// TestRunHistoryWrapped expects of rings that came round many times the last versions
// without a gap, each the same on both disks.
func TestRunHistoryWrapped(t *testing.T) {
	c := fixtures.Open(t, "ring-wrapped")
	ev := run(t, Options{History: true}, c.Paths()...)
	bySeqno := map[uint32][]*Content{}
	oldest, newest := uint32(math.MaxUint32), uint32(0)
	for _, copy := range ev.Copies {
		vg, err := copy.Content.VG()
		require.NoError(t, err, "%s @%d", copy.Source.Name, copy.Offset)
		bySeqno[vg.Seqno] = append(bySeqno[vg.Seqno], copy.Content)
		oldest, newest = min(oldest, vg.Seqno), max(newest, vg.Seqno)
	}
	require.Greater(t, oldest, uint32(1), "the ring has come round")
	require.Len(t, bySeqno, int(newest-oldest+1), "versions %d to %d", oldest, newest)
	for seqno, contents := range bySeqno {
		require.Len(t, contents, len(c.Disks), "seqno %d", seqno)
		require.Same(t, contents[0], contents[1], "seqno %d", seqno)
	}
}

func TestRunOrderAndIdentity(t *testing.T) {
	c := fixtures.Open(t, "linear")
	link := filepath.Join(c.Dir, "link")
	require.NoError(t, os.Symlink(c.Disks[0].Path, link))
	hard := filepath.Join(c.Dir, "hard")
	require.NoError(t, os.Link(c.Disks[1].Path, hard))
	args := append([]string{c.Disks[2].Path}, c.Paths()...)
	ev := run(t, Options{}, append(args, link, hard)...)

	var names []string
	for _, s := range ev.Sources {
		names = append(names, s.Name)
		require.Equal(t, "file", s.Kind)
		require.NoError(t, s.Err)
	}
	require.Equal(t, []string{c.Disks[2].Path, c.Disks[0].Path, c.Disks[1].Path}, names, "in the order given, each once")
	require.Equal(t, []string{"link:source-twice", "hard:source-twice"}, codes(ev))
	for _, copy := range ev.Copies[1:] {
		require.Same(t, ev.Copies[0].Content, copy.Content, "one text, one Content")
	}
}
