package volume

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// patched is a disk on which some bytes are others.
type patched struct {
	block.Device
	at    int64
	bytes []byte
}

func (d patched) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.Device.ReadAt(p, off)
	if d.at < off+int64(n) && off < d.at+int64(len(d.bytes)) {
		copy(p[max(d.at-off, 0):n], d.bytes[max(off-d.at, 0):])
	}
	return n, err
}

// patch overwrites what a hidden LV, one segment on one disk, begins with.
func patch(t testing.TB, vg *rebuild.VG, lv string, change func(b []byte)) {
	in := plan(t, vg, "vg/"+lv).Root.Segments[0].Target.(activate.Linear).Input
	b := make([]byte, 2*dmraid.BitmapOffset)
	_, err := in.PV.Dev.ReadAt(b, in.Off)
	require.NoError(t, err)
	change(b)
	in.PV.Dev = patched{in.PV.Dev, in.Off, b}
}

func wipe(b []byte) { clear(b) }

// put makes a change of a superblock: 64 bits at off.
func put(off int, v uint64) func([]byte) {
	return func(b []byte) { binary.LittleEndian.PutUint64(b[off:], v) }
}

// Offsets of superblock fields; see package dmraid.
const (
	sbEvents = 16
	sbFailed = 24
	sbResync = 40
)

// segment is the RAID segment of an LV, to be changed before it is planned.
func segmentOf(t testing.TB, vg *rebuild.VG, name string) *metadata.Segment {
	lv, err := vg.LV(name)
	require.NoError(t, err)
	s := *lv.Segments[0]
	s.Areas = append([]metadata.Area(nil), s.Areas...)
	lv.Segments[0] = &s
	return &s
}

func TestRAIDEvidence(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	all := func(lv string, n int, change func([]byte)) func(*testing.T, *rebuild.VG) {
		return func(t *testing.T, vg *rebuild.VG) {
			for i := range n {
				patch(t, vg, fmt.Sprintf("%s_rmeta_%d", lv, i), change)
			}
		}
	}
	one := func(lv string, i int, change func([]byte)) func(*testing.T, *rebuild.VG) {
		return func(t *testing.T, vg *rebuild.VG) { patch(t, vg, fmt.Sprintf("%s_rmeta_%d", lv, i), change) }
	}
	both := func(steps ...func(*testing.T, *rebuild.VG)) func(*testing.T, *rebuild.VG) {
		return func(t *testing.T, vg *rebuild.VG) {
			for _, s := range steps {
				s(t, vg)
			}
		}
	}
	lose := func(lv string, i int) func(*testing.T, *rebuild.VG) {
		return func(t *testing.T, vg *rebuild.VG) {
			in := plan(t, vg, fmt.Sprintf("vg/%s_rimage_%d", lv, i)).Root.Segments[0].Target.(activate.Linear).Input
			in.PV.Dev = block.NewBad(in.PV.Dev.Size(), "taken out")
		}
	}
	swap := func(lv string) func(*testing.T, *rebuild.VG) {
		return func(t *testing.T, vg *rebuild.VG) {
			a := segmentOf(t, vg, lv).Areas
			a[0], a[1], a[4], a[5] = a[4], a[5], a[0], a[1]
		}
	}
	retype := func(lv, name string) func(*testing.T, *rebuild.VG) {
		return func(t *testing.T, vg *rebuild.VG) { segmentOf(t, vg, lv).Type = name }
	}
	for _, c := range []struct {
		name, lv string
		damage   func(*testing.T, *rebuild.VG)
		want     Health
		note     string // part of a note or a cause
	}{
		{"no superblocks, parity fits", "r5ls", all("r5ls", 4, wipe), Complete, "samples that were looked at"},
		{"no superblocks, P and Q fit", "r6zr", all("r6zr", 5, wipe), Complete, "samples that were looked at"},
		{"no superblocks, copies fit", "r1", all("r1", 2, wipe), Complete, "samples that were looked at"},
		{"no superblocks, pairs fit", "r10", all("r10", 4, wipe), Complete, "samples that were looked at"},
		{"no superblocks, other layout", "r6zr", both(all("r6zr", 5, wipe), retype("r6zr", "raid6_nr")), Doubt, "do not fit"},
		{"no superblocks, a leg lost", "r5ls", both(all("r5ls", 4, wipe), lose("r5ls", 2)), Doubt, "cannot be read to confirm"},
		{"one superblock lost", "r5ls", one("r5ls", 1, wipe), Degraded, "nothing vouches for r5ls_rimage_1"},
		{"one superblock lost, another leg lost", "r5ls", both(one("r5ls", 1, wipe), lose("r5ls", 2)), Doubt, "nothing vouches"},
		{"one superblock garbled", "r6zr", one("r6zr", 3, put(48, 99)), Degraded, "level"},
		{"stale by its events", "r6zr", both(one("r6zr", 0, put(sbEvents, 1)), one("r6zr", 0, put(4096+24, 1))), Degraded, "is stale: event 1"},
		{"said to have failed", "r5ls", all("r5ls", 3, put(sbFailed, 1<<3)), Complete, ""},
		{"said to have failed, no bitmap", "r5ls", all("r5ls", 4, func(b []byte) { put(sbFailed, 1<<3)(b); clear(b[4096:]) }), Degraded, "is stale: it failed"},
		{"each says that the other failed", "r1", both(one("r1", 0, put(sbFailed, 2)), one("r1", 1, put(sbFailed, 1))), Doubt, "both were written alone"},
		{"legs swapped in the text", "r5ls", swap("r5ls"), Complete, "says that it is leg 2"},
		{"one of equals says another layout", "r5ls", one("r5ls", 0, put(48, 5|3<<32)), Degraded, "equally fresh ones say raid5_ls"},
		{"one of equals says other data", "r6zr", one("r6zr", 0, put(96, 2048)), Degraded, "with data from 1048576, equally fresh"},
		{"one of two says other data", "r1", one("r1", 0, put(96, 2048)), Degraded, "with data from 1048576, equally fresh"},
		{"an event that none comes after", "r1", one("r1", 1, put(sbEvents, 1<<64-1)), Doubt, "calls none of 1 legs failed"},
		{"one of three stripes says another chunk", "r0meta", one("r0meta", 0, put(52, 64<<32)), Complete, ""},
		{"one of two says another layout than both", "r1", both(all("r1", 2, put(96, 8)), one("r1", 1, put(96, 16))), Partial, "do not say the same"},
		{"a position that is another's, who is lost", "r5ls", both(one("r5ls", 1, put(8, 4|3<<32)), lose("r5ls", 3)), Doubt, "not all legs say where they belong"},
		{"only one bitmap knows of writes", "r5ls", both(one("r5ls", 2, func(b []byte) { b[4096+256] = 1 }), lose("r5ls", 0)), Doubt, "not in sync here"},
		{"legs swapped in the text of raid6", "r6nr", swap("r6nr"), Complete, "says that it is leg 0"},
		{"other type in the text", "r5ls", retype("r5ls", "raid5_ra"), Complete, "using the superblocks"},
		{"parity never in sync", "r5ls", all("r5ls", 4, put(sbResync, 0)), Complete, ""},
		{"parity never in sync, a leg lost", "r5ls", both(all("r5ls", 4, put(sbResync, 64)), lose("r5ls", 0)), Doubt, "not in sync here"},
		{"copies never in sync", "r1x3", all("r1x3", 3, put(sbResync, 0)), Degraded, "not in sync here"},
		{"dirty, write-mostly", "r1wm", all("r1wm", 2, func(b []byte) { b[4096+256] = 1 }), Degraded, "is write-mostly"},
		{"dirty, a leg lost", "r5ls", both(all("r5ls", 4, func(b []byte) { b[4096+256] = 1 }), lose("r5ls", 0)), Doubt, "not in sync here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := openRAID(t, "raid-levels")
			vg := r.vg(t)
			c.damage(t, vg)
			p := plan(t, vg, "vgr/"+c.lv)
			dev := Open(p)
			totals := block.Summarise(dev)
			said := fmt.Sprint(p.Notes, totals.Causes())
			require.Equal(t, c.want, Assess(p, totals), said)
			require.Contains(t, said, c.note)
			if !strings.HasSuffix(c.name, "other layout") && !strings.HasPrefix(c.note, "not all legs") && !strings.HasPrefix(c.note, "do not say") {
				requireHash(t, r.Golden["vgr/"+c.lv].SHA256, dev)
			}
		})
	}
}

// TestReshapedWithoutSuperblocks: the text does not say where on the legs the data begins, and
// parity fits wherever it does.
func TestReshapedWithoutSuperblocks(t *testing.T) {
	r := openRAID(t, "raid-reshape")
	vg := r.vg(t)
	for i := range 3 {
		patch(t, vg, fmt.Sprintf("done5_rmeta_%d", i), wipe)
	}
	p := plan(t, vg, "vgh/done5")
	require.Equal(t, Doubt, Assess(p, block.Summarise(Open(p))))
	require.Contains(t, fmt.Sprint(p.Notes), "after a reshape")
}

// TestLegsByName: each leg can be had for itself.
func TestLegsByName(t *testing.T) {
	r := openRAID(t, "raid-levels")
	var legs [2][]byte
	for i := range legs {
		dev := Open(plan(t, r.vg(t), fmt.Sprintf("vgr/r1_rimage_%d", i)))
		legs[i] = make([]byte, dev.Size())
		_, err := dev.ReadAt(legs[i], 0)
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(legs[0], legs[1]))
}

// FuzzRAIDSuperblocks gives one leg, or all with their own positions, a hostile superblock:
// whatever it says, planning and reading must come to an end, and the extents must fit the
// LV.
func FuzzRAIDSuperblocks(f *testing.F) {
	r := openRAID(f, "raid-levels")
	lvs := []string{"r5ls", "r6zr", "r10", "r1x3", "r0meta"}
	for i, lv := range lvs {
		in := plan(f, r.vg(f), "vg/"+lv+"_rmeta_0").Root.Segments[0].Target.(activate.Linear).Input
		b := make([]byte, dmraid.SuperblockSize)
		_, err := in.PV.Dev.ReadAt(b, in.Off)
		require.NoError(f, err)
		f.Add(byte(i), false, b)
		put(60, 1)(b) // a reshape
		put(64, 100)(b)
		f.Add(byte(i), true, b)
	}
	f.Fuzz(func(t *testing.T, i byte, every bool, sb []byte) {
		lv := lvs[int(i)%len(lvs)]
		vg := r.vg(t)
		for leg := range 5 {
			if _, err := vg.LV(fmt.Sprintf("%s_rmeta_%d", lv, leg)); err != nil || leg > 0 && !every {
				continue
			}
			patch(t, vg, fmt.Sprintf("%s_rmeta_%d", lv, leg), func(b []byte) {
				copy(b, sb[:min(len(sb), dmraid.SuperblockSize)])
				binary.LittleEndian.PutUint32(b[12:], uint32(leg))
			})
		}
		dev := Open(plan(t, vg, "vgr/"+lv))
		at := int64(0)
		require.NoError(t, block.ReadRange(dev, make([]byte, dev.Size()), 0, func(e block.Extent) {
			require.Equal(t, at, e.Off)
			at = e.End()
		}))
		require.Equal(t, dev.Size(), at)
	})
}
