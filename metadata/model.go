package metadata

import (
	"strings"
	"time"
)

// VG is one version of a volume group as one metadata text describes it.
//
// Sizes and offsets are in the units of the text: sectors of 512 bytes where the field
// says so, extents (PE of a PV, LE of an LV) elsewhere. Nothing here is checked against
// anything else: that is [Check]'s work.
type VG struct {
	Name             string
	ID               ID
	Seqno            uint32
	Format           string // "lvm2"; "lvm1" in old backups
	Status           []string
	Flags            []string
	Tags             []string
	SystemID         string
	LockType         string
	LockArgs         string
	PR               []string // persistent reservations: "require", "autostart", "ptpl"
	ExtentSize       int64    // sectors; 0 only when a damaged text has lost it
	MaxLV, MaxPV     uint32
	AllocationPolicy string
	Profile          string
	MetadataCopies   uint32
	PVs              []*PV
	LVs              []*LV
	HistoricalLVs    []*HistoricalLV

	// Provenance, from the top level of the text.
	Contents             string
	Version              int64
	Description          string
	CreationHost         string
	CreationHostSystemID string
	CreationTime         time.Time // zero when absent

	Node *Node // the section this was read from; nil for a made VG
	Text *Text // the whole text, comments included; nil for a made VG
}

// PV is a physical volume as a VG's metadata lists it.
type PV struct {
	Key          string // the section's name, "pv0": what segments refer to
	ID           ID
	Device       string // where it was when the text was written: a hint only
	DeviceID     string
	DeviceIDType string
	Status       []string
	Flags        []string
	Tags         []string
	DevSize      int64 // sectors, whole device; 0 when absent
	PEStart      int64 // sectors from the start of the PV
	PECount      int64 // extents
	BAStart      int64 // sectors; bootloader area
	BASize       int64 // sectors

	Node *Node
}

// LV is a logical volume, visible or hidden.
type LV struct {
	Name             string
	ID               ID
	Status           []string
	Flags            []string
	Tags             []string
	CreationTime     time.Time
	CreationHost     string
	LockArgs         string
	AllocationPolicy string
	Profile          string
	ReadAhead        *int64 // sectors; -1 none; nil auto
	Major, Minor     *int64
	SegmentCount     int64      // as the text claims; len(Segments) is what there is
	Segments         []*Segment // by StartExtent

	// Damaged says what of the LV's section a damaged text has lost; "" when all is there.
	// What is here is intact, but segments may miss: the run of extents may have gaps.
	Damaged string

	Node *Node
}

// Segment is a run of an LV's logical extents of one segment type.
type Segment struct {
	Key          string // the section's name, "segment1"
	StartExtent  int64  // LE
	ExtentCount  int64  // LE
	ReshapeCount int64  // extents per image
	Type         string // without flags: "striped", "raid5_ls", ...; whole when a flag is unknown
	TypeFlags    []string
	Tags         []string

	// Areas holds stripes, mirrors, raids or raid0_lvs in the order of the text. For raids
	// each leg is a pair of areas: metadata LV, then image LV; the metadata LV's name is ""
	// for an image without one. RAID areas carry no extent.
	Areas      []Area
	StripeSize int64 // sectors; 0 for one stripe

	// Node holds every field of the segment, those of other segment types and unknown
	// ones included; see its typed getters.
	Node *Node
}

// TypeName is the segment type as the text has it, flags included: "raid5_ls+RESHAPE".
func (s *Segment) TypeName() string {
	return strings.Join(append([]string{s.Type}, s.TypeFlags...), "+")
}

// AreaExtents is the number of extents that the segment takes from each of its areas. Only
// striped segments deal their extents out; mirrors and pvmoves hold all of them in each
// area. Areas of RAID segments are whole LVs and have no share of their own.
func (s *Segment) AreaExtents() int64 {
	if n := int64(len(s.Areas)); n > 1 && (s.Type == "striped" || s.Type == "linear") {
		return s.ExtentCount / n
	}
	return s.ExtentCount
}

// Area is one place a segment's data lies in: extents of a PV, named by its key, or of
// another LV, named by its name.
type Area struct {
	Name  string
	Start int64 // PE or LE of the first extent
}

// HistoricalLV remembers a removed LV (lvm.conf record_lvs_history): ancestry, no data.
type HistoricalLV struct {
	Key                       string
	ID                        ID
	Name                      string
	CreationTime, RemovalTime time.Time
	Origin                    string
	Descendants               []string

	Node *Node
}
