package rebuild

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// VG is a volume group at one version, each PV placed on a disk or missing.
type VG struct {
	Group   *Group
	Version *Version
	Meta    *metadata.VG
	PVs     []*PV  // in the order of the text
	Doubt   string // why the whole version is doubtful; "" when it is not
	Thin    string // how thin pools are read: see activate.ThinModes

	Findings []scan.Finding

	index index
}

// PV is a physical volume of a VG, with the disk that holds it.
type PV struct {
	Meta  *metadata.PV
	Found *scan.PV   // nil when the PV is missing
	Other []*scan.PV // disks with the same UUID that were not used
	Doubt string     // why Found may be the wrong disk, or stale; "" when it is not in doubt

	// Dev spans the PV as the metadata has it, whatever the disk's size is. A missing PV and
	// what lies behind the end of a short disk are bad; what is in doubt is doubtful.
	Dev block.Device

	from int64 // where on a disk that was found by its content that content begins
}

// Missing tells whether no disk was found for the PV.
func (p *PV) Missing() bool { return p.Found == nil }

// LV finds an LV by its name or UUID; brackets around hidden ones are ignored.
func (vg *VG) LV(name string) (*metadata.LV, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	id, idErr := metadata.ParseID(name)
	var names []string
	for _, lv := range vg.Meta.LVs {
		if lv.Name == name || idErr == nil && lv.ID == id {
			return lv, nil
		}
		names = append(names, lv.Name)
	}
	const most = 12
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("… (%d in all)", len(vg.Meta.LVs)))
	}
	return nil, fmt.Errorf("VG %s (seqno %d) has no LV %q; it has: %s", vg.Meta.Name, vg.Meta.Seqno, name, strings.Join(names, ", "))
}

// byHand is where the user placed a PV.
const byHand = "placed by hand"

// assumed makes PVs of the places that the user named.
func assumed(ev *scan.Evidence, as []Assume) ([]*scan.PV, error) {
	var pvs []*scan.PV
	for _, a := range as {
		i := slices.IndexFunc(ev.Sources, func(s *scan.Source) bool { return s.Is(a.Source) })
		switch {
		case i < 0:
			return nil, fmt.Errorf("--assume %s=%s: %s is not one of the sources", a.PV, a.Source, a.Source)
		case ev.Sources[i].Dev == nil:
			return nil, fmt.Errorf("--assume %s=%s: %w", a.PV, a.Source, ev.Sources[i].Err)
		}
		s := ev.Sources[i]
		if a.Offset < -scan.MaxLacking || a.Offset >= s.Dev.Size() {
			return nil, fmt.Errorf("--assume %s=%s@%d: expected a byte of the source, which has %d", a.PV, a.Source, a.Offset, s.Dev.Size())
		}
		pvs = append(pvs, &scan.PV{Source: s, Offset: a.Offset, Where: byHand, Dev: from(s, a.Offset), Label: &metadata.Label{PVID: a.PV}})
	}
	return pvs, nil
}

// from is a source from a byte on, which may lie before its start: what is there is bad.
func from(s *scan.Source, off int64) block.Device {
	if off < 0 {
		return block.NewPadded(s.Dev, -off, s.Name+" lacks the start of the disk")
	}
	return block.NewSection(s.Dev, off, s.Dev.Size()-off, "")
}

// At places the PVs of one version of the group; nil means the current one.
func (g *Group) At(v *Version) *VG {
	if v == nil {
		v = g.Current
	}
	vg := &VG{Group: g, Version: v, Meta: v.Meta}
	if g.result != nil {
		vg.Thin = g.result.thin
	}
	switch {
	case v == g.Current:
		vg.Doubt = g.Doubt
	case v.Strength() < Remnant:
		vg.Doubt = fmt.Sprintf("metadata seqno %d: %s", v.Meta.Seqno, v.Strength())
	case compareTime(v, g.Current) > 0:
		vg.Doubt = fmt.Sprintf("metadata seqno %d was never committed", v.Meta.Seqno)
	}
	vg.Findings = append(vg.Findings, g.Findings...)
	vg.Findings = append(vg.Findings, policy(v.Meta)...)
	vg.Findings = append(vg.Findings, contradictions(v)...)
	for _, m := range v.Meta.PVs {
		vg.PVs = append(vg.PVs, vg.place(m))
	}
	for _, p := range vg.PVs {
		vg.placeMatched(p)
	}
	vg.placeByElimination()
	vg.doubtDuplicates()
	vg.doubtShared()
	was, overlaps, gaps := runs(v.Meta), metadata.Overlaps(v.Meta), g.gapsAfter(v)
	for _, p := range vg.PVs {
		vg.judge(p)
		p.Dev = vg.device(p, func() []block.Extent { return vg.doubts(p, was[p.Meta.ID], overlaps, gaps) })
	}
	return vg
}

// place finds the disk whose label carries the PV's UUID. Of several, the one that agrees
// best with the metadata is taken.
func (vg *VG) place(m *metadata.PV) *PV {
	p := &PV{Meta: m}
	var c []*scan.PV
	for _, f := range vg.Group.pvs {
		if f.Label != nil && f.ID() == m.ID {
			c = append(c, f)
		}
	}
	if len(c) == 0 {
		return p
	}
	slices.SortStableFunc(c, func(a, b *scan.PV) int { return vg.compareFit(b, a, m) })
	p.Found, p.Other = c[0], c[1:]
	vg.mirrored(p)
	if len(p.Other) > 0 {
		vg.note(scan.Warning, "duplicate-pv", c[0], "PV %s (%s) was found %d times; using %s, not %s; --without decides otherwise", m.Key, m.ID, len(c), c[0], others(c[1:]))
	}
	return p
}

// mirrored leaves out the other members of the mirror of md that the PV stands on: they are no
// copies of it. The freshest was chosen; it is in doubt when a member is not here that may
// be fresher.
func (vg *VG) mirrored(p *PV) {
	m := p.Found.Mirror
	if m == nil {
		return
	}
	here := 1
	p.Other = slices.DeleteFunc(slices.Clone(p.Other), func(o *scan.PV) bool {
		if o.Mirror == nil || o.Mirror.Array != m.Array {
			return false
		}
		if o.Mirror.Events == m.Events {
			here++
		}
		return true
	})
	vg.note(scan.Info, "md-mirror", p.Found, "PV %s is read from member %d of the mirror %s of md; %d of the %d members that it knows are here", p.Meta.Key, m.Position, m.Array, here, m.Active)
	if here < m.Active {
		p.suspect(fmt.Sprintf("%s is a member of a mirror of md, of which %d of %d members are here: another may be newer", p.Found, here, m.Active))
	}
}

// doubtDuplicates doubts a disk that was chosen among several, unless the user chose it, or
// all others are older copies by their own metadata, which a text that nothing points at does
// not prove. While some PV is missing, the others may be that one under a wrong label, and
// nothing is certain.
func (vg *VG) doubtDuplicates() {
	complete := !slices.ContainsFunc(vg.PVs, (*PV).Missing)
	for _, p := range vg.PVs {
		if len(p.Other) == 0 || p.Found.Where == byHand {
			continue
		}
		older := !slices.ContainsFunc(p.Other, func(o *scan.PV) bool {
			s := vg.Group.lastSeqno(o)
			return s == 0 || s >= vg.Group.lastSeqno(p.Found)
		})
		if !complete || !older || !vg.Group.lastOn(p.Found).committedOn(p.Found) || !vg.carries(p.Found) {
			p.Doubt = fmt.Sprintf("%s and %s both carry PV UUID %s", p.Found, others(p.Other), p.Meta.ID)
		}
	}
}

func others(pvs []*scan.PV) string {
	var s []string
	for _, p := range pvs {
		s = append(s, p.String())
	}
	return strings.Join(s, ", ")
}

// compareFit ranks two disks that carry the same PV UUID; positive when a fits better.
func (vg *VG) compareFit(a, b *scan.PV, m *metadata.PV) int {
	chosen := func(p *scan.PV) int { return b2i(p.Where == byHand) }
	carries := func(p *scan.PV) int { return b2i(vg.carries(p)) }
	seqno := func(p *scan.PV) uint32 { return vg.Group.lastSeqno(p) }
	large := func(p *scan.PV) int { return b2i(p.Dev.Size() >= m.DevSize*block.SectorSize) }
	exact := func(p *scan.PV) int { return b2i(p.Dev.Size() == m.DevSize*block.SectorSize) }
	if x, y := a.Mirror, b.Mirror; x != nil && y != nil && x.Array == y.Array && chosen(a) == chosen(b) {
		order := cmp.Or(cmp.Compare(b2i(x.Unsure == ""), b2i(y.Unsure == "")), cmp.Compare(x.Events, y.Events))
		if order == 0 {
			order = cmp.Compare(unread(b), unread(a))
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Or(
		cmp.Compare(chosen(a), chosen(b)),
		cmp.Compare(carries(a), carries(b)),
		cmp.Compare(seqno(a), seqno(b)),
		cmp.Compare(large(a), large(b)),
		cmp.Compare(exact(a), exact(b)))
}

// unread is how many bytes of a disk are known to be bad.
func unread(p *scan.PV) int64 { return block.Summarise(p.Dev).Bad }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// carries tells whether the version's own text stands on the disk.
func (vg *VG) carries(p *scan.PV) bool {
	return slices.ContainsFunc(vg.Version.Copies, func(c *scan.Copy) bool { return c.Area != nil && c.Area.PV == p })
}

// lastSeqno is the highest seqno of the group's committed texts on the disk; 0 for none.
func (g *Group) lastSeqno(p *scan.PV) uint32 {
	if v := g.lastOn(p); v != nil {
		return v.Meta.Seqno
	}
	return 0
}

// lastOn is the version with that seqno; nil for none.
func (g *Group) lastOn(p *scan.PV) *Version { return g.last[p] }

// committedOn tells whether a metadata area of the disk points at the version.
func (v *Version) committedOn(p *scan.PV) bool {
	return slices.ContainsFunc(v.Copies, func(c *scan.Copy) bool {
		return c.Area != nil && c.Area.PV == p && c.Slot == scan.Committed
	})
}

// findLast fills g.last.
func (g *Group) findLast() {
	g.last = map[*scan.PV]*Version{}
	for _, v := range g.Versions { // oldest first
		for _, c := range v.Copies {
			if c.Area != nil && c.Slot == scan.Committed && v.Damage == nil {
				g.last[c.Area.PV] = v
			}
		}
	}
	ring := map[*scan.PV]*Version{} // where what points at the committed text is lost
	for _, v := range g.Versions {
		for _, c := range v.Copies {
			if c.Area != nil && c.Slot == scan.Ring && v.Damage == nil && g.last[c.Area.PV] == nil && (ring[c.Area.PV] == nil || compareTime(ring[c.Area.PV], v) < 0) {
				ring[c.Area.PV] = v
			}
		}
	}
	maps.Copy(g.last, ring)
}

// placeByElimination uses a disk without a good label that carries the version's text: where
// one PV only is still without a disk, and the disk is large enough, it can be no other.
func (vg *VG) placeByElimination() {
	var free *PV
	for _, p := range vg.PVs {
		if p.Missing() {
			if free != nil {
				return
			}
			free = p
		}
	}
	if free == nil {
		return
	}
	var hit *scan.PV
	for _, f := range vg.Group.pvs {
		if vg.nameless(f) && !vg.taken(f) && vg.carries(f) && f.Dev.Size() >= free.Meta.DevSize*block.SectorSize {
			if hit != nil {
				return
			}
			hit = f
		}
	}
	if hit == nil {
		return
	}
	free.Found = hit
	free.Doubt = fmt.Sprintf("%s has no good label; taken for PV %s because it carries the VG's metadata and all other PVs are found", hit, free.Meta.Key)
	vg.note(scan.Warning, "placed-by-elimination", hit, "%s", free.Doubt)
}

// nameless tells whether a PV has lost its UUID: with its label, or in one with a wrong
// checksum that gives a UUID which no VG knows.
func (vg *VG) nameless(f *scan.PV) bool {
	return f.Label == nil || f.Label.Checksum != metadata.ChecksumValid && !vg.Group.result.lists(f.ID())
}

// taken tells whether a PV has already been placed where f is: by hand, or by another label.
func (vg *VG) taken(f *scan.PV) bool {
	return slices.ContainsFunc(vg.PVs, func(p *PV) bool {
		return !p.Missing() && p.Found.Source == f.Source && p.Found.Offset == f.Offset
	})
}

// doubtShared doubts a place that stands for two PVs, be it that the user placed one where
// the label is another's, or that the text gives two PVs one UUID: it can be one of them at
// most. A place by hand is in doubt, too, when the label there is that of a PV elsewhere.
func (vg *VG) doubtShared() {
	type spot struct {
		source *scan.Source
		offset int64
	}
	first := map[spot]*PV{}
	for _, p := range vg.PVs {
		if p.Missing() {
			continue
		}
		at := spot{p.Found.Source, p.Found.Offset}
		if id := vg.labelUnder(p.Found); id != "" && id != p.Meta.ID {
			p.suspect(fmt.Sprintf("%s was placed by hand as PV %s, but its label is that of PV %s", p.Found, p.Meta.Key, id))
			vg.note(scan.Warning, "label-differs", p.Found, "%s", p.Doubt)
		}
		q := first[at]
		if q == nil {
			first[at] = p
			continue
		}
		why := fmt.Sprintf("%s stands for two PVs, %s and %s", p.Found, q.Meta.Key, p.Meta.Key)
		q.suspect(why)
		p.suspect(why)
		vg.note(scan.Warning, "pv-shared", p.Found, "%s", why)
	}
}

// labelUnder is the UUID in the label of a place that the user named; "" where there is none,
// or the place was found by its label.
func (vg *VG) labelUnder(at *scan.PV) metadata.ID {
	if at.Where != byHand {
		return ""
	}
	for _, f := range vg.Group.pvs {
		if f.Where != byHand && f.Source == at.Source && f.Offset == at.Offset && f.ID() != "" {
			return f.ID()
		}
	}
	return ""
}

// suspect doubts the disk of a PV; the first reason stands.
func (p *PV) suspect(why string) { p.Doubt = cmp.Or(p.Doubt, why) }

// judge compares the disk with what the metadata says of it.
func (vg *VG) judge(p *PV) {
	m := p.Meta
	if p.Missing() {
		vg.Findings = append(vg.Findings, scan.Finding{Severity: scan.Error, Code: "pv-missing", Offset: -1,
			Text: fmt.Sprintf("PV %s (%s) of VG %s is missing; it was last seen as %s, %d bytes", m.Key, m.ID, vg.Meta.Name, cmp.Or(m.Device, "an unknown device"), m.DevSize*block.SectorSize)})
		return
	}
	f := p.Found
	need, have := m.DevSize*block.SectorSize, f.Dev.Size()
	switch {
	case have < need && f.Label != nil && f.Label.DeviceSize == need: // scan has told
	case have < need:
		vg.note(scan.Warning, "disk-too-small", f, "PV %s needs %d bytes, the disk has %d: the last %d bytes are lost, or on another copy of the disk", m.Key, need, have, need-have)
	case have > need && need > 0:
		vg.note(scan.Info, "disk-larger", f, "PV %s has %d bytes, the disk %d: the PV was never grown, or the disk is not its first home", m.Key, need, have)
	}
	if f.Where == byHand {
		return
	}
	if l := f.Label; l != nil && f.ID() == m.ID && len(l.DataAreas) > 0 && l.DataAreas[0].Offset != m.PEStart*block.SectorSize {
		vg.note(scan.Warning, "pe-start-differs", f, "the label says that data starts at byte %d, the VG's metadata says %d: using the metadata", l.DataAreas[0].Offset, m.PEStart*block.SectorSize)
		if l.Checksum == metadata.ChecksumValid {
			p.suspect(fmt.Sprintf("%s: its label and the VG's metadata differ on where data starts", f))
		}
	}
	p.suspect(f.Doubt)
	if flaggedMissing(m) {
		why := fmt.Sprintf("PV %s is flagged MISSING: the VG was changed while %s was away", m.Key, f)
		p.suspect(why)
		vg.note(scan.Warning, "pv-was-missing", f, "%s", why)
		return
	}
	if why := vg.stale(f); why != "" {
		p.suspect(why)
		vg.note(scan.Warning, "pv-stale", f, "%s", why)
	}
}

// flaggedMissing tells whether the VG was changed while the PV was away.
func flaggedMissing(m *metadata.PV) bool {
	return slices.Contains(m.Flags, "MISSING") || slices.Contains(m.Status, "MISSING")
}

// stale says why a disk is older than the version, going by its own metadata: it has an
// older version of the VG, or that of a VG that it belonged to before.
func (vg *VG) stale(f *scan.PV) string {
	last := vg.Group.lastOn(f)
	switch {
	case vg.carries(f), last != nil && compareTime(last, vg.Version) >= 0:
		return ""
	case last != nil:
		return fmt.Sprintf("%s last saw seqno %d of %d: it was away since, or is an older copy of the disk", f, last.Meta.Seqno, vg.Meta.Seqno)
	}
	for _, g := range vg.Group.result.Groups {
		if v := g.lastOn(f); g != vg.Group && v != nil && v.Meta.CreationTime.Before(vg.Meta.CreationTime) {
			return fmt.Sprintf("%s last saw VG %s, before it came to %s: it was away since, or is an older copy of the disk", f, v.Meta.Name, vg.Meta.Name)
		}
	}
	return ""
}

// note adds a finding about a disk of the VG. Its text need not name the disk again.
func (vg *VG) note(s scan.Severity, code string, p *scan.PV, format string, args ...any) {
	text := strings.TrimPrefix(fmt.Sprintf(format, args...), p.String()+" ")
	vg.Findings = append(vg.Findings, scan.Finding{Severity: s, Code: code, Source: p.Source.Name, Offset: p.Offset, Text: text})
}

// device makes the span of bytes that stands for the PV.
func (vg *VG) device(p *PV, doubts func() []block.Extent) block.Device {
	size := pvSize(vg.Meta, p.Meta)
	if p.Missing() {
		return block.NewBad(size, fmt.Sprintf("PV %s (%s) is missing", p.Meta.Key, p.Meta.ID))
	}
	dev := block.Device(block.NewSection(p.Found.Dev, 0, size, fmt.Sprintf("%s ends before PV %s does", p.Found.Source.Name, p.Meta.Key)))
	marks := doubts()
	if p.from > 0 {
		marks = paint(append(marks, block.Extent{Len: min(p.from, size), State: block.Doubtful,
			Why: fmt.Sprintf("%s: its start was overwritten, and what stands before byte %d of PV %s may have been, too", p.Found, p.from, p.Meta.Key)}))
	}
	if marked, err := block.NewOverlay(dev, marks); err == nil {
		dev = marked
	} else {
		dev = block.NewDoubtful(dev, "the extents in doubt cannot be told apart")
	}
	if why := cmp.Or(vg.Doubt, p.Doubt); why != "" {
		return block.NewDoubtful(dev, why)
	}
	return dev
}

// tenant is a PV that has its label on the same disk as another of whose place nothing
// certain is known.
type tenant struct {
	id    metadata.ID
	shift int64 // sectors that it begins behind the other
}

// tenants lists a PV itself, and what else may have written on its disk. Where the disk was
// found by the PV's own label, that is nobody: other PVs on it lie inside of LVs.
func (vg *VG) tenants(p *PV) []tenant {
	list := []tenant{{id: p.Meta.ID}}
	if p.Found.Where != byHand && p.Found.ID() == p.Meta.ID {
		return list
	}
	for _, f := range vg.Group.pvs {
		if f.Source == p.Found.Source && f.Where != byHand && f.ID() != "" && f.ID() != p.Meta.ID {
			list = append(list, tenant{f.ID(), (f.Offset - p.Found.Offset) / block.SectorSize})
		}
	}
	return list
}

// pvSize is the PV's size in bytes: dev_size, or, in texts too old to say it, up to the end
// of its last extent. Decode has checked that neither overflows.
func pvSize(vg *metadata.VG, pv *metadata.PV) int64 {
	return max(pv.DevSize, pv.PEStart+pv.PECount*vg.ExtentSize) * block.SectorSize
}
