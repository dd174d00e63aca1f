package scan

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
)

// Places on a disk of the corpora used here, in bytes.
const (
	labelAt    = 512
	headerAt   = 4096
	ringAt     = headerAt + 512
	sectorXL   = labelAt + 8
	labelCRC   = labelAt + 16
	deviceSize = labelAt + 64
	mdaSize    = labelAt + 32 + 40 + 2*16 + 8 // in the label's list
	headerCRC  = headerAt
	headerSize = headerAt + 32
	slot0      = headerAt + 40
	slot1      = slot0 + 24
)

// le64 is v as it stands on a disk.
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// reseal makes the checksums of the label and of the first mda header right again.
func reseal(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for crc, covered := range map[int64][]byte{labelCRC: b[labelAt+20 : labelAt+512], headerCRC: b[headerAt+4 : headerAt+512]} {
		require.NoError(t, damage.Write(path, crc, binary.LittleEndian.AppendUint32(nil, metadata.Sum(covered))))
	}
}

// TestDamage damages the first disk of a corpus and expects what is left of it.
func TestDamage(t *testing.T) {
	zero := func(off, n int64) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, damage.Zero(path, off, n)) }
	}
	write := func(off int64, b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, damage.Write(path, off, b)) }
	}
	sealed := func(off int64, v uint64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			require.NoError(t, damage.Write(path, off, le64(v)))
			reseal(t, path)
		}
	}
	const (
		labelled = "a.img@0 U 1"
		lost     = "a.img@0 no label 1"
		newest   = "a.img committed N valid"
		all      = "ring to N" // every version, from the ring
	)
	tests := []struct {
		name   string
		damage func(t *testing.T, path string)
		pv     string
		text   string
		codes  []string
	}{
		{"none", func(*testing.T, string) {}, labelled, newest, nil},
		{"label's checksum", write(labelCRC, []byte("bad!")), labelled, newest, []string{"label-crc"}},
		{"label lost", zero(labelAt, 512), lost, all, []string{"pv-label-lost"}}, // older texts help to know the disk
		{"label's sector number", write(sectorXL, le64(2)), labelled, newest, []string{"label-sector"}},
		{"label's sector number is mad", write(sectorXL, le64(math.MaxUint64)), labelled, newest, []string{"label-sector"}},
		{"label's size overflows", sealed(deviceSize, math.MaxUint64), labelled, newest, []string{"label-device-size"}},
		{"label's area of 2^63", sealed(mdaSize, 1<<63), labelled, newest, []string{"label-metadata-area"}},
		{"label's area of 2^62", sealed(mdaSize, 1<<62), labelled, newest, []string{"mda-size"}},
		{"label and its area list", func(t *testing.T, path string) {
			write(mdaSize-8, le64(77777777))(t, path)
		}, "a.img@0 U 2", newest, []string{"label-crc", "mda-outside"}},
		{"header's checksum", write(headerCRC, []byte("bad!")), labelled, newest, []string{"mda-crc"}},
		{"header's size 2^63", sealed(headerSize, 1<<63), labelled, newest, []string{"mda-size", "mda-size"}},
		{"header lost", zero(headerAt, 512), labelled, all, []string{"mda-header-missing"}},
		{"header lost, and the label", zero(0, ringAt), lost, all, []string{"mda-assumed"}},
		{"slot beyond the ring", sealed(slot0, 1<<40), labelled, all, []string{"mda-locn", "text-unreadable"}},
		{"slot at noise", sealed(slot0, 900<<10), labelled, all, []string{"text-missing"}},
		{"slot overflows", sealed(slot0, math.MaxUint64), labelled, all, []string{"mda-locn"}},
		{"slot zero in a used PV", sealed(slot0, 0), labelled, all, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fixtures.Open(t, "linear")
			path := c.Disks[0].Path
			healthy := run(t, Options{History: true}, path)
			uuid := healthy.PVs[0].ID().String()[:6]
			versions := len(healthy.Copies)

			tt.damage(t, path)
			ev := run(t, Options{}, path)
			require.Equal(t, tt.codes, bareCodes(ev))
			names := strings.NewReplacer("U", uuid, "N", strconv.Itoa(versions))
			require.Equal(t, []string{names.Replace(tt.pv)}, pvs(ev))
			switch tt.text {
			case all:
				require.Len(t, ev.Copies, versions)
				for i, copy := range ev.Copies {
					if healthy.Copies[i].Slot != Committed || !slices.Contains(tt.codes, "pv-label-lost") {
						require.Equal(t, Ring, copy.Slot)
					}
					require.Equal(t, healthy.Copies[i].Content.Raw, copy.Content.Raw)
				}
			default:
				require.Equal(t, []string{names.Replace(tt.text)}, copies(t, ev))
			}
		})
	}
}

// TestSecondArea loses the start of PVs with two metadata areas: the second leads to them.
func TestSecondArea(t *testing.T) {
	c := fixtures.Open(t, "mda-two")
	healthy := run(t, Options{}, c.Paths()...)
	n := 0
	for _, d := range c.Disks {
		before := run(t, Options{}, d.Path)
		if len(before.PVs[0].Areas) < 2 {
			continue
		}
		n++
		want := before.Copies[len(before.Copies)-1]
		require.NoError(t, damage.Zero(d.Path, 0, 1<<20))
		ev := run(t, Options{}, d.Path)
		require.Equal(t, []string{d.Name + ".img@0 no label 1"}, pvs(ev))
		require.Equal(t, 2, ev.PVs[0].Areas[0].Number)
		committed := slices.IndexFunc(ev.Copies, func(c *Copy) bool { return c.Slot == Committed })
		require.GreaterOrEqual(t, committed, 0)
		got := ev.Copies[committed]
		require.Equal(t, want.Content.Raw, got.Content.Raw)
		require.Equal(t, want.Offset, got.Offset)
		require.Equal(t, metadata.ChecksumValid, got.Checksum)
		require.Equal(t, []string{"pv-label-lost"}, bareCodes(ev))
	}
	require.Positive(t, n, "disks with two areas")
	require.Len(t, healthy.PVs, len(c.Disks))
}

// TestPrecommitted has a command stop between precommit and commit.
func TestPrecommitted(t *testing.T) {
	c := fixtures.Open(t, "linear")
	path := c.Disks[0].Path
	versions := run(t, Options{History: true}, path).Copies
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	older := versions[len(versions)-2]
	size := uint64(len(older.Content.Raw) + 1)
	slot := append(le64(uint64(older.Offset-headerAt)), le64(size)...)
	slot = binary.LittleEndian.AppendUint32(slot, metadata.Sum(b[older.Offset:older.Offset+int64(size)]))
	require.NoError(t, damage.Write(path, slot1, b[slot0:slot0+24]))
	require.NoError(t, damage.Write(path, slot0, slot))
	reseal(t, path)

	n := len(versions)
	require.Equal(t, []string{
		fmt.Sprintf("a.img committed %d valid", n-1), fmt.Sprintf("a.img precommitted %d valid", n),
	}, copies(t, run(t, Options{}, path)))
	require.Len(t, run(t, Options{History: true}, path).Copies, n, "no text counts twice")
}

// TestShifted moves whole disks: a label tells its sector, a header its place.
func TestShifted(t *testing.T) {
	tests := []struct {
		name  string
		by    int64
		after func(t *testing.T, path string)
		pv    string
		codes []string
	}{
		{"one sector in", 512, nil, "a.img@512 U 1", []string{"label-sector", "pv-shifted"}},
		{"one sector in, label lost", 512, func(t *testing.T, path string) {
			require.NoError(t, damage.Zero(path, labelAt+512, 512))
		}, "a.img@512 no label 1", []string{"pv-label-lost"}},
		{"60 KiB in", 60 << 10, nil, "a.img@61440 U 1", []string{"pv-elsewhere"}},
		{"start missing", -512, nil, "a.img@-512 U 1", []string{"label-sector", "pv-before-source"}},
		{"whole start missing", -(headerAt - 512), nil, "a.img@-3584 no label 1", []string{"pv-before-source"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fixtures.Open(t, "linear")
			path := c.Disks[0].Path
			healthy := run(t, Options{}, path)
			require.NoError(t, damage.Shift(path, max(0, -tt.by), tt.by))
			if tt.after != nil {
				tt.after(t, path)
			}
			ev := run(t, Options{}, path)
			var codes []string
			for _, code := range bareCodes(ev) {
				if code != "pv-cut" { // how much is cut is another test's
					codes = append(codes, code)
				}
			}
			require.Equal(t, tt.codes, codes)
			want := strings.ReplaceAll(tt.pv, "U", healthy.PVs[0].ID().String()[:6])
			require.Equal(t, want, strings.Join(pvs(ev), " "))
			require.NotEmpty(t, ev.Copies)
			newest := ev.Copies[len(ev.Copies)-1]
			require.Equal(t, healthy.Copies[0].Content.Raw, newest.Content.Raw)
			require.Equal(t, healthy.Copies[0].Offset+tt.by, newest.Offset)
		})
	}
}

// TestMovedLabelIsDoubtful: what tells of a PV stands elsewhere on the disk. All of it agrees
// on where the PV begins, and is not to be believed when the rest does not.
func TestMovedLabelIsDoubtful(t *testing.T) {
	for _, k := range []struct {
		name, disk string
		to, n      int64
		why        string
	}{
		{"label and header", "a", 600 << 10, headerAt + 512 - labelAt, "nothing but a label and a header"},
		{"with the text", "c", labelAt + 4096, 64 << 10, "does not fit in"},
		{"with the text, the other area is where it was", "c", labelAt + 2560, 64 << 10, "begin at byte 0"},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := fixtures.Open(t, "mda-two")
			path := c.Disk(k.disk)
			require.Empty(t, run(t, Options{}, path).PVs[0].Doubt)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			if k.why != "begin at byte 0" {
				require.NoError(t, damage.Zero(path, int64(len(b))-4<<20, 4<<20)) // the other area
			}
			require.NoError(t, damage.Zero(path, labelAt, k.n))
			require.NoError(t, damage.Write(path, k.to, b[labelAt:labelAt+k.n]))
			pvs := run(t, Options{}, path).PVs
			at := slices.IndexFunc(pvs, func(p *PV) bool { return p.Offset == k.to-labelAt })
			require.GreaterOrEqual(t, at, 0)
			require.Contains(t, pvs[at].Doubt, k.why)
		})
	}
}

// TestPartitionTables damages partition tables over healthy PVs.
func TestPartitionTables(t *testing.T) {
	c := fixtures.Open(t, "partitions")
	paths := map[string]string{}
	for _, d := range c.Disks {
		paths[d.Name] = d.Path
	}
	gpt, mbr := run(t, Options{}, paths["gpt"]), run(t, Options{}, paths["mbr"])
	require.Len(t, gpt.PVs, 2)
	require.Len(t, mbr.PVs, 3)
	require.Equal(t, "partition 2 (GPT)", gpt.PVs[0].Where)
	require.Equal(t, "partition 6 (MBR)", mbr.PVs[2].Where)

	require.NoError(t, damage.Zero(paths["gpt"], 0, 32<<10))
	ev := run(t, Options{}, paths["gpt"])
	require.Equal(t, pvs(gpt), pvs(ev), "by the backup table")

	require.NoError(t, damage.Zero(paths["gpt"], ev.PVs[1].Offset, 4096))
	ev = run(t, Options{}, paths["gpt"])
	require.Equal(t, []string{pvs(gpt)[0], fmt.Sprintf("gpt.img@%d no label 1", gpt.PVs[1].Offset)}, pvs(ev))
	require.Equal(t, "partition 3 (GPT)", ev.PVs[1].Where)
	committed := slices.DeleteFunc(ev.Copies, func(c *Copy) bool { return c.Slot != Committed })
	require.Len(t, committed, len(gpt.Copies))

	require.NoError(t, damage.Zero(paths["mbr"], mbr.PVs[0].Offset, 8192))
	ev = run(t, Options{}, paths["mbr"])
	require.Equal(t, append([]string{fmt.Sprintf("mbr.img@%d no label 1", mbr.PVs[0].Offset)}, pvs(mbr)[1:]...), pvs(ev),
		"texts in a partition of the first MiB are the partition's")
}

// bareCodes lists findings by code alone.
func bareCodes(ev *Evidence) (list []string) {
	for _, f := range ev.Findings {
		list = append(list, f.Code)
	}
	return list
}
