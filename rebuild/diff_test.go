package rebuild_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// history gives every version of a corpus's only VG.
func history(t *testing.T, corpus string) *rebuild.Group {
	t.Helper()
	ev, err := scan.Run(t.Context(), fixtures.Open(t, corpus).Paths(), scan.Options{History: true})
	require.NoError(t, err)
	t.Cleanup(func() { ev.Close() })
	r, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	require.Len(t, r.Groups, 1)
	return r.Groups[0]
}

func texts(changes []rebuild.Change) []string {
	var s []string
	for _, c := range changes {
		s = append(s, c.String())
	}
	return s
}

// by finds the last version that a command wrote.
func by(t *testing.T, g *rebuild.Group, command string) *rebuild.Version {
	t.Helper()
	for _, v := range slices.Backward(g.Versions) {
		if strings.Contains(v.Meta.Description, command) {
			return v
		}
	}
	require.Failf(t, "no such version", "%s wrote none", command)
	return nil
}

// TestDiff tells what the commands of two corpora's scenarios did, from the texts alone.
func TestDiff(t *testing.T) {
	groups := map[string]*rebuild.Group{"linear": history(t, "linear"), "striped": history(t, "striped")}
	for _, c := range []struct {
		corpus   string
		from, to string // the commands that wrote the versions
		want     []string
	}{
		{"linear", "vgcreate", "lvcreate -l 3 -n root", []string{"LV root created, 3 extents"}},
		{"linear", "-n swap vg0", "lvextend -l +2 vg0/root", []string{"LV root extended from 3 to 7 extents"}},
		{"linear", "lvextend -l +2 vg0/root", "-n swap vg0", []string{"LV root reduced from 7 to 3 extents"}},
		{"linear", "-n lost", "lvremove", []string{"LV gone removed, 2 extents", "LV lost removed, 1 extent"}},
		{"linear", "lvremove", "lvreduce", []string{"LV home reduced from 6 to 4 extents"}},
		{"linear", "lvreduce", "Write[2] from pvmove", []string{"LV swap, LE 0-1 moved from PV pv0 PE 3-4 to PV pv2 PE 20-21"}},
		{"linear", "+1 vg0/swap", "lvrename", []string{"LV home renamed to export"}},
		{"linear", "lvrename", "lvrename", nil},
		{"striped", "vgcreate", "-n s2", []string{"LV s2 created, 6 extents"}},
		{"striped", "-n s4", "lvextend -i 2 -I 32k", []string{"LV s3 extended from 6 to 10 extents"}},
	} {
		t.Run(c.to, func(t *testing.T) {
			g := groups[c.corpus]
			require.Equal(t, c.want, texts(rebuild.Diff(by(t, g, c.from).Meta, by(t, g, c.to).Meta)))
		})
	}
}

// vgOf makes a VG of one LV for the cases that no corpus has.
func vgOf(change func(vg *metadata.VG)) *metadata.VG {
	vg := &metadata.VG{Name: "vg", ID: "V", ExtentSize: 8, Status: []string{"READ", "WRITE"},
		PVs: []*metadata.PV{{Key: "pv0", ID: "A", PECount: 9}, {Key: "pv1", ID: "B", PECount: 9}},
		LVs: []*metadata.LV{{Name: "lv", ID: "L", Segments: []*metadata.Segment{
			{StartExtent: 0, ExtentCount: 4, Type: "striped", StripeSize: 2, Areas: []metadata.Area{{Name: "pv0", Start: 1}, {Name: "pv1", Start: 1}}},
			{StartExtent: 4, ExtentCount: 3, Type: "striped", Areas: []metadata.Area{{Name: "pv1", Start: 5}}},
		}}}}
	change(vg)
	return vg
}

func TestDiffDetails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(vg *metadata.VG)
		want   string
	}{
		"VG renamed":        {func(vg *metadata.VG) { vg.Name = "new" }, "VG vg renamed to new"},
		"VG exported":       {func(vg *metadata.VG) { vg.Status = append(vg.Status, "EXPORTED") }, "VG flags: +EXPORTED"},
		"system ID":         {func(vg *metadata.VG) { vg.SystemID = "host" }, `system ID changed from "" to "host"`},
		"extent size":       {func(vg *metadata.VG) { vg.ExtentSize = 16 }, "extent size changed from 8 to 16 sectors"},
		"PV key only":       {func(vg *metadata.VG) { vg.PVs[0].Key, vg.LVs[0].Segments[0].Areas[0].Name = "pv7", "pv7" }, ""},
		"PV missing":        {func(vg *metadata.VG) { vg.PVs[1].Flags = []string{"MISSING"} }, "flags of PV pv1: +MISSING"},
		"PV grown":          {func(vg *metadata.VG) { vg.PVs[1].PECount = 20 }, "PV pv1 resized from 9 to 20 extents"},
		"tags":              {func(vg *metadata.VG) { vg.LVs[0].Tags = []string{"a"} }, "tags of LV lv: +a"},
		"leg moved":         {func(vg *metadata.VG) { vg.LVs[0].Segments[0].Areas[1].Start = 3 }, "LV lv, LE 0-3, leg 1 moved from PV pv1 PE 1-2 to PV pv1 PE 3-4"},
		"one extent moved":  {split, "LV lv, LE 5 moved from PV pv1 PE 6 to PV pv0 PE 8"},
		"stripe size":       {func(vg *metadata.VG) { vg.LVs[0].Segments[0].StripeSize = 4 }, "LV lv, LE 0-3 laid out anew: striped over 2 in chunks of 2 sectors on pv0, pv1 before, striped over 2 in chunks of 4 sectors on pv0, pv1 now"},
		"type":              {func(vg *metadata.VG) { vg.LVs[0].Segments[1].Type = "mirror" }, "LV lv, LE 4-6 laid out anew: linear on pv1 before, mirror on pv1 now"},
		"nothing to tell":   {func(vg *metadata.VG) { vg.PVs[0].Device = "/dev/elsewhere" }, ""},
		"LV's name reused":  {func(vg *metadata.VG) { vg.LVs[0].ID = "M" }, "LV lv created, 7 extents\nLV lv removed, 7 extents"},
		"segments cut anew": {func(vg *metadata.VG) { cut(vg.LVs[0], 1, 1, "pv1", 6) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for i, s := range texts(rebuild.Diff(vgOf(func(*metadata.VG) {}), vgOf(c.change))) {
				if i > 0 {
					got += "\n"
				}
				got += s
			}
			require.Equal(t, c.want, got)
		})
	}
}

// cut splits a linear segment in two, the second from its n-th extent on at a new place.
func cut(lv *metadata.LV, i int, n int64, pv string, pe int64) {
	s := *lv.Segments[i]
	lv.Segments[i].ExtentCount = n
	s.StartExtent, s.ExtentCount, s.Areas = s.StartExtent+n, s.ExtentCount-n, []metadata.Area{{Name: pv, Start: pe}}
	lv.Segments = append(lv.Segments, &s)
}

// split moves the second extent of the linear segment away, as pvmove pv1:6 would.
func split(vg *metadata.VG) {
	cut(vg.LVs[0], 1, 1, "pv0", 8)
	cut(vg.LVs[0], 2, 1, "pv1", 7)
}

func TestRemoved(t *testing.T) {
	g := history(t, "linear")
	last := by(t, g, "-n lost")
	removed := map[string]*rebuild.Version{}
	for _, r := range g.Removed() {
		removed[r.LV.Name] = r.Version
	}
	require.Len(t, removed, 3)
	require.Equal(t, last, removed["gone"])
	require.Equal(t, last, removed["lost"])
	require.Contains(t, removed, "pvmove0")
}
