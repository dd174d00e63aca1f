package metadata

import (
	"fmt"
	"math/bits"
	"strings"
)

// Inconsistency is something in a VG's metadata that contradicts something else there, or
// that lvm2 does not know. Reading goes on; what cannot be right is for the reader to mark.
type Inconsistency struct {
	LV, PV, Segment string // what it is about, by name and key; "" when it is about none
	Code            string // stable, for scripts: "segment-gap"
	Text            string
}

func (i Inconsistency) String() string { return i.Text }

// maxInconsistencies bounds what Check lists.
const maxInconsistencies = 10000

// Check holds a VG's metadata against itself. In a text that lvm2 wrote it finds at most what
// that lvm2 knew and this does not, and a PV that is too small: pvresize of a PV with a
// second metadata area writes a dev_size without it. At most 10,000 inconsistencies are
// listed.
func Check(vg *VG) []Inconsistency {
	c := &checker{vg: vg, lvs: make(map[string]*LV, len(vg.LVs)), pvs: make(map[string]*PV, len(vg.PVs))}
	c.flags("VG "+vg.Name, Inconsistency{}, vgStatus, vg.Status)
	c.repeated("VG "+vg.Name, Inconsistency{}, vg.Node)
	c.checkPVs()
	ids := make(map[ID]string, len(vg.LVs))
	for _, lv := range vg.LVs {
		if c.lvs[lv.Name] != nil {
			c.addLV(lv, "duplicate-name", "there are two LVs named %s", lv.Name)
			continue
		}
		c.lvs[lv.Name] = lv
		if other, twice := ids[lv.ID]; twice && lv.ID != "" {
			c.addLV(lv, "duplicate-uuid", "LVs %s and %s have the same UUID %s", other, lv.Name, lv.ID)
		}
		ids[lv.ID] = lv.Name
	}
	for _, lv := range vg.LVs {
		c.checkLV(lv)
	}
	c.checkReferences()
	for _, o := range Overlaps(vg) {
		c.add(Inconsistency{LV: o.B, PV: o.PVKey, Code: "overlap"}, "LVs %s and %s both lie on PE %d to %d of %s",
			o.A, o.B, o.Start, o.Start+o.Count-1, o.PVKey)
	}
	return c.found
}

type checker struct {
	vg    *VG
	lvs   map[string]*LV
	pvs   map[string]*PV
	found []Inconsistency
}

func (c *checker) add(i Inconsistency, format string, args ...any) {
	if len(c.found) < maxInconsistencies {
		i.Text = fmt.Sprintf(format, args...)
		c.found = append(c.found, i)
	}
}

func (c *checker) addPV(pv *PV, code, format string, args ...any) {
	c.add(Inconsistency{PV: pv.Key, Code: code}, format, args...)
}

func (c *checker) addLV(lv *LV, code, format string, args ...any) {
	c.add(Inconsistency{LV: lv.Name, Code: code}, format, args...)
}

func (c *checker) addSegment(lv *LV, s *Segment, code, format string, args ...any) {
	c.add(Inconsistency{LV: lv.Name, Segment: s.Key, Code: code},
		"LV %s, %s: "+format, append([]any{lv.Name, s.Key}, args...)...)
}

// flags reports status flags that lvm2 does not know, for which it refuses the VG.
func (c *checker) flags(what string, at Inconsistency, known map[string]bool, status []string) {
	for _, f := range status {
		if !known[f] {
			at.Code = "unknown-status"
			c.add(at, "%s has the unknown status %q", what, shorten(f))
		}
	}
}

// mostKeys is how many keys of a section are looked through for repeated ones; lvm2 writes
// fewer than 40.
const mostKeys = 64

// repeated reports a key that is assigned to twice: the first counts.
func (c *checker) repeated(what string, at Inconsistency, section *Node) {
	var keys [mostKeys]string
	n := 0
	for child := range section.Children() {
		if child.Kind != Assignment || n == mostKeys {
			continue
		}
		for _, k := range keys[:n] {
			if k == child.Key {
				at.Code = "duplicate-field"
				c.add(at, "%s has %s twice; the first counts", what, shorten(k))
			}
		}
		keys[n] = child.Key
		n++
	}
}

func (c *checker) checkPVs() {
	ids := make(map[ID]string, len(c.vg.PVs))
	for _, pv := range c.vg.PVs {
		if c.pvs[pv.Key] != nil {
			c.addPV(pv, "duplicate-name", "there are two PVs %s", pv.Key)
			continue
		}
		c.pvs[pv.Key] = pv
		if other, twice := ids[pv.ID]; twice {
			c.addPV(pv, "duplicate-uuid", "PVs %s and %s have the same UUID %s", other, pv.Key, pv.ID)
		}
		ids[pv.ID] = pv.Key
		c.flags("PV "+pv.Key, Inconsistency{PV: pv.Key}, pvStatus, pv.Status)
		c.repeated("PV "+pv.Key, Inconsistency{PV: pv.Key}, pv.Node)
		if _, extents := bits.Mul64(uint64(pv.PECount), uint64(c.vg.ExtentSize)); pv.DevSize > 0 && pv.PEStart+int64(extents) > pv.DevSize {
			c.addPV(pv, "pv-too-small", "PV %s has %d sectors, but its extents end at sector %d",
				pv.Key, pv.DevSize, pv.PEStart+int64(extents))
		}
		if (pv.BAStart == 0) != (pv.BASize == 0) {
			c.addPV(pv, "bootloader-area", "PV %s has half a bootloader area: start %d, size %d sectors",
				pv.Key, pv.BAStart, pv.BASize)
		}
	}
}

// checkLV looks at what an LV says of itself and of the PVs.
func (c *checker) checkLV(lv *LV) {
	c.flags("LV "+lv.Name, Inconsistency{LV: lv.Name}, lvStatus, lv.Status)
	c.repeated("LV "+lv.Name, Inconsistency{LV: lv.Name}, lv.Node)
	if lv.SegmentCount != int64(len(lv.Segments)) {
		c.addLV(lv, "segment-count", "LV %s says it has %d segments, but %d are there",
			lv.Name, lv.SegmentCount, len(lv.Segments))
	}
	end := int64(0)
	for _, s := range lv.Segments {
		switch {
		case s.StartExtent > end:
			c.addSegment(lv, s, "segment-gap", "LE %d to %d before it are in no segment", end, s.StartExtent-1)
		case s.StartExtent < end:
			c.addSegment(lv, s, "segment-overlap", "LE %d to %d are in the segment before it too",
				s.StartExtent, min(end, s.StartExtent+s.ExtentCount)-1)
		}
		end = max(end, s.StartExtent+s.ExtentCount)
		c.checkSegment(lv, s)
	}
}

func (c *checker) checkSegment(lv *LV, s *Segment) {
	c.repeated("LV "+lv.Name+", "+s.Key, Inconsistency{LV: lv.Name, Segment: s.Key}, s.Node)
	if !KnownSegmentType(s.Type) {
		c.addSegment(lv, s, "unknown-segment-type", "segment type %s is unknown", shorten(s.Type))
		return
	}
	if s.ExtentCount == 0 {
		c.addSegment(lv, s, "segment-empty", "has no extents")
	}
	n := s.AreaExtents()
	if s.Type == "striped" && len(s.Areas) > 1 && s.ExtentCount%int64(len(s.Areas)) != 0 {
		c.addSegment(lv, s, "stripes-uneven", "%d extents cannot be spread evenly over %d stripes",
			s.ExtentCount, len(s.Areas))
	}
	for i, a := range s.Areas {
		pv, sub := c.pvs[a.Name], c.lvs[a.Name]
		switch {
		case a.Name == "":
		case pv != nil && a.Start+n > pv.PECount:
			c.add(Inconsistency{LV: lv.Name, PV: pv.Key, Segment: s.Key, Code: "beyond-pv"},
				"LV %s, %s: area %d needs PE %d to %d of %s, which has %d", lv.Name, s.Key, i, a.Start, a.Start+n-1, a.Name, pv.PECount)
		case pv != nil:
		case sub == nil:
			c.addSegment(lv, s, "unknown-area", "there is no PV or LV %s for area %d", shorten(a.Name), i)
		case sub.Damaged == "" && (s.Type == "striped" || s.Type == "mirror") && a.Start+n > sub.Extents():
			c.addSegment(lv, s, "beyond-lv", "area %d needs LE %d to %d of %s, which has %d", i, a.Start, a.Start+n-1, a.Name, sub.Extents())
		}
	}
	c.checkImages(lv, s)
}

// Extents is the number of LE up to the end of the LV's last segment, in RAID with the space
// for reshaping.
func (lv *LV) Extents() int64 {
	end := int64(0)
	for _, s := range lv.Segments {
		end = max(end, s.StartExtent+s.ExtentCount)
	}
	return end
}

// checkImages holds the size of RAID images against the size of the LV they make up. Space
// for reshaping is part of every image and, once for each image without parity, of the LV
// (lib/metadata/raid_manip.c).
func (c *checker) checkImages(lv *LV, s *Segment) {
	if !strings.HasPrefix(s.Type, "raid") {
		return
	}
	r, err := s.RAID()
	if err != nil || len(r.Legs) == 0 {
		return
	}
	want := s.ExtentCount
	if s.Type != "raid1" {
		striped, copies := max(int64(len(r.Legs))-Parity(s.Type), 1), int64(1)
		if strings.HasPrefix(s.Type, "raid10") {
			copies = r.DataCopies
		}
		data := s.ExtentCount - striped*s.ReshapeCount
		want = (data*copies+striped-1)/striped + s.ReshapeCount
	}
	for _, leg := range r.Legs {
		image := c.lvs[leg.Image]
		if image != nil && image.Damaged == "" && image.Extents() != want {
			c.addSegment(lv, s, "image-size", "image %s should have %d extents, but has %d", leg.Image, want, image.Extents())
		}
	}
}

// Parity is the number of legs' worth of parity in a RAID type: 2 for raid6, 1 for raid4 and
// raid5, 0 for all others.
func Parity(segType string) int64 {
	switch {
	case strings.HasPrefix(segType, "raid6"):
		return 2
	case strings.HasPrefix(segType, "raid5"), segType == "raid4":
		return 1
	}
	return 0
}
