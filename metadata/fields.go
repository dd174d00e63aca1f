package metadata

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// Sections and lists by name (lib/format_text/export.c).
const (
	keyPVs        = "physical_volumes"
	keyLVs        = "logical_volumes"
	keyHistorical = "historical_logical_volumes"

	keyStripes  = "stripes"
	keyMirrors  = "mirrors"
	keyRAIDs    = "raids"
	keyRAID0LVs = "raid0_lvs"
)

// contentsValue is what the field contents holds (lib/format_text/layout.h).
const contentsValue = "Text Format Volume Group"

// maxSectors bounds every size and offset, so that it fits an int64 in bytes.
const maxSectors = math.MaxInt64 / SectorSize

// field ties a key of the text to a field of the model, for reading and for writing. ref
// gives a pointer: to a string, ID, list of strings, integer or time.
type field[T any] struct {
	key    string
	ref    func(*T) any
	need   bool                 // lvm2 cannot read the section without it
	always bool                 // lvm2 writes it even if it is empty or 0
	max    int64                // of an integer
	note   func(*VG, *T) string // the comment in a backup file
}

// The tables are in the order in which lvm2 writes (lib/format_text/export.c); what is
// needed is from lib/format_text/import_vsn1.c.

var headerFields = []field[VG]{
	{key: "contents", ref: func(v *VG) any { return &v.Contents }, need: true},
	{key: "version", ref: func(v *VG) any { return &v.Version }, need: true, max: math.MaxInt64},
	{key: "description", ref: func(v *VG) any { return &v.Description }, always: true},
	{key: "creation_host", ref: func(v *VG) any { return &v.CreationHost }},
	{key: "creation_host_system_id", ref: func(v *VG) any { return &v.CreationHostSystemID }},
	{key: "creation_time", ref: func(v *VG) any { return &v.CreationTime }},
}

var vgFields = []field[VG]{
	{key: "id", ref: func(v *VG) any { return &v.ID }, need: true},
	{key: "seqno", ref: func(v *VG) any { return &v.Seqno }, need: true, always: true},
	{key: "format", ref: func(v *VG) any { return &v.Format }, note: fixed[VG]("# informational")},
	{key: "status", ref: func(v *VG) any { return &v.Status }, need: true, always: true},
	{key: "flags", ref: func(v *VG) any { return &v.Flags }, always: true},
	{key: "tags", ref: func(v *VG) any { return &v.Tags }},
	{key: "system_id", ref: func(v *VG) any { return &v.SystemID }},
	{key: "lock_type", ref: func(v *VG) any { return &v.LockType }},
	{key: "lock_args", ref: func(v *VG) any { return &v.LockArgs }},
	{key: "pr", ref: func(v *VG) any { return &v.PR }},
	{key: "extent_size", ref: func(v *VG) any { return &v.ExtentSize }, need: true, always: true,
		max: math.MaxUint32, note: func(v *VG, _ *VG) string { return sizeNote(v.ExtentSize, 1) }},
	{key: "max_lv", ref: func(v *VG) any { return &v.MaxLV }, need: true, always: true},
	{key: "max_pv", ref: func(v *VG) any { return &v.MaxPV }, need: true, always: true},
	{key: "allocation_policy", ref: func(v *VG) any { return &v.AllocationPolicy }},
	{key: "profile", ref: func(v *VG) any { return &v.Profile }},
	{key: "metadata_copies", ref: func(v *VG) any { return &v.MetadataCopies }, always: true},
}

var pvFields = []field[PV]{
	{key: "id", ref: func(p *PV) any { return &p.ID }, need: true},
	{key: "device", ref: func(p *PV) any { return &p.Device }, always: true, note: fixed[PV]("# Hint only")},
	{key: "device_id_type", ref: func(p *PV) any { return &p.DeviceIDType }},
	{key: "device_id", ref: func(p *PV) any { return &p.DeviceID }},
	{key: "status", ref: func(p *PV) any { return &p.Status }, need: true, always: true},
	{key: "flags", ref: func(p *PV) any { return &p.Flags }, always: true},
	{key: "tags", ref: func(p *PV) any { return &p.Tags }},
	{key: "dev_size", ref: func(p *PV) any { return &p.DevSize }, max: maxSectors,
		note: func(_ *VG, p *PV) string { return sizeNote(p.DevSize, 1) }},
	{key: "pe_start", ref: func(p *PV) any { return &p.PEStart }, need: true, always: true, max: maxSectors},
	{key: "pe_count", ref: func(p *PV) any { return &p.PECount }, need: true, always: true, max: math.MaxUint32,
		note: func(v *VG, p *PV) string { return sizeNote(p.PECount, v.ExtentSize) }},
	{key: "ba_start", ref: func(p *PV) any { return &p.BAStart }, max: maxSectors},
	{key: "ba_size", ref: func(p *PV) any { return &p.BASize }, max: maxSectors,
		note: func(_ *VG, p *PV) string { return sizeNote(p.BASize, 1) }},
}

var lvFields = []field[LV]{
	{key: "id", ref: func(l *LV) any { return &l.ID }, need: true},
	{key: "status", ref: func(l *LV) any { return &l.Status }, need: true, always: true},
	{key: "flags", ref: func(l *LV) any { return &l.Flags }, always: true},
	{key: "tags", ref: func(l *LV) any { return &l.Tags }},
	{key: "creation_time", ref: func(l *LV) any { return &l.CreationTime },
		note: func(_ *VG, l *LV) string { return timeNote(l.CreationTime) }},
	{key: "creation_host", ref: func(l *LV) any { return &l.CreationHost }},
	{key: "lock_args", ref: func(l *LV) any { return &l.LockArgs }},
	{key: "allocation_policy", ref: func(l *LV) any { return &l.AllocationPolicy }},
	{key: "profile", ref: func(l *LV) any { return &l.Profile }},
	{key: "read_ahead", ref: func(l *LV) any { return &l.ReadAhead }, max: math.MaxUint32,
		note: func(_ *VG, l *LV) string {
			if *l.ReadAhead < 0 {
				return "# None"
			}
			return ""
		}},
	{key: "major", ref: func(l *LV) any { return &l.Major }, max: math.MaxInt32},
	{key: "minor", ref: func(l *LV) any { return &l.Minor }, max: math.MaxInt32},
	{key: "segment_count", ref: func(l *LV) any { return &l.SegmentCount }, need: true, always: true,
		max: math.MaxUint32},
}

// The type is read and written apart, for the flags behind it.
var segmentFields = []field[Segment]{
	{key: "start_extent", ref: func(s *Segment) any { return &s.StartExtent }, need: true, always: true,
		max: math.MaxUint32},
	{key: "extent_count", ref: func(s *Segment) any { return &s.ExtentCount }, need: true, always: true,
		max: math.MaxUint32, note: func(v *VG, s *Segment) string { return sizeNote(s.ExtentCount, v.ExtentSize) }},
	{key: "reshape_count", ref: func(s *Segment) any { return &s.ReshapeCount }, max: math.MaxUint32,
		note: func(v *VG, s *Segment) string { return sizeNote(s.ReshapeCount, v.ExtentSize) }},
	{key: "type", ref: func(s *Segment) any { return (*segmentType)(s) }, need: true},
	{key: "tags", ref: func(s *Segment) any { return &s.Tags }},
}

var historicalFields = []field[HistoricalLV]{
	{key: "id", ref: func(h *HistoricalLV) any { return &h.ID }, need: true},
	{key: "name", ref: func(h *HistoricalLV) any { return &h.Name }},
	{key: "creation_time", ref: func(h *HistoricalLV) any { return &h.CreationTime },
		note: func(_ *VG, h *HistoricalLV) string { return timeNote(h.CreationTime) }},
	{key: "removal_time", ref: func(h *HistoricalLV) any { return &h.RemovalTime },
		note: func(_ *VG, h *HistoricalLV) string { return timeNote(h.RemovalTime) }},
	{key: "origin", ref: func(h *HistoricalLV) any { return &h.Origin }},
	{key: "descendants", ref: func(h *HistoricalLV) any { return &h.Descendants }},
}

// segmentType is the type of a segment with its flags as one text.
type segmentType Segment

func (t *segmentType) set(s string) { t.Type, t.TypeFlags = splitType(s) }

func fixed[T any](note string) func(*VG, *T) string {
	return func(*VG, *T) string { return note }
}

// unixTime is the time of a creation_time field: seconds, never 0 in a text of lvm2.
func unixTime(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// sizeNote is the comment behind a number of units in a backup file, each of so many
// sectors: "# 4 Megabytes" (lib/format_text/export.c).
func sizeNote(n, sectors int64) string {
	_, s := bits.Mul64(uint64(n), uint64(sectors))
	units := [...]string{"Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Petabytes", "Exabytes"}
	size, i := float64(s)/2, 0
	for ; size > 1024 && i < len(units)-1; i++ {
		size /= 1024
	}
	return fmt.Sprintf("# %.6g %s", size, units[i])
}

// timeNote is the comment behind a time of an LV. The zone is UTC, as that of the host that
// wrote the text is not known.
func timeNote(t time.Time) string { return t.UTC().Format("# 2006-01-02 15:04:05 -0700") }
