package metadata

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Leg is one device of a RAID segment: names of LVs. Meta is "" for raid0 and for an image
// that has no metadata LV.
type Leg struct{ Meta, Image string }

// RAID holds what raid0 to raid10 segments have (lib/raid/raid.c). In raid1 StripeSize is 0.
type RAID struct {
	Legs            []Leg
	DataCopies      int64  // of raid10; 2 when the text does not say
	RegionSize      int64  // sectors
	StripeSize      int64  // sectors
	WriteBehind     int64  // of raid1: outstanding writes
	MinRecoveryRate int64  // KiB/s per device
	MaxRecoveryRate int64  // KiB/s per device
	DataOffset      *int64 // sectors; asked for by a reshape that begins; nil when absent
}

// Mirror holds what mirror segments, those of pvmove among them, have besides their areas
// (lib/mirror/mirrored.c).
type Mirror struct {
	Log          string // an LV; "" when the log is in memory only
	RegionSize   int64  // sectors; 0 when absent
	ExtentsMoved *int64 // of pvmove, in LE; nil in other mirrors
}

// Snapshot holds what snapshot segments have (lib/snapshot/snapshot.c).
type Snapshot struct {
	ChunkSize int64 // sectors
	Origin    string
	COW       string // the LV that holds the exceptions
	Merging   bool   // back into the origin
}

// ThinPool holds what thin-pool segments have (lib/thin/thin.c).
type ThinPool struct {
	Metadata, Data string // LVs
	TransactionID  int64
	ChunkSize      int64  // sectors
	Discards       string // "ignore", "nopassdown", "passdown"; "" is ignore
	ZeroNewBlocks  bool
	CropMetadata   *int64 // nil: not chosen
	Messages       []ThinMessage
}

// ThinMessage is a change that the pool has not been told yet.
type ThinMessage struct {
	Create string // thin LV to be made; "" for a deletion
	Delete int64  // device id to be deleted
}

// Thin holds what thin segments have (lib/thin/thin.c).
type Thin struct {
	Pool           string
	TransactionID  int64
	DeviceID       int64
	ExternalOrigin string // LV that is read where the thin LV has nothing
	Origin         string // thin LV that this is a snapshot of, if it is still there
	Merge          string // thin LV that this one is to replace
}

// CacheSettings are those of a cache: in its pool's segment or, with a cachevol, in its own
// (lib/cache_segtype/cache.c).
type CacheSettings struct {
	MetadataFormat int64  // 1 or 2; 0: not said, which means 1
	ChunkSize      int64  // sectors
	Mode           string // "writethrough", "writeback", "passthrough"; "": not said
	Policy         string
	PolicySettings *Node // nil: none
}

// CachePool holds what cache-pool segments have.
type CachePool struct {
	Data, Metadata string // LVs
	CacheSettings
}

// Cache holds what cache segments have. With a cachevol, the settings are here and the
// places of data and metadata in Pool are given in sectors.
type Cache struct {
	Pool    string // a cache pool or, if UsesCachevol, a cachevol
	Origin  string
	Cleaner bool // the cache is being emptied

	UsesCachevol bool
	CacheSettings
	MetadataStart, MetadataSize int64 // sectors
	DataStart, DataSize         int64 // sectors
	MetadataID, DataID          ID
}

// Writecache holds what writecache segments have (lib/writecache/writecache.c). Settings of
// the running cache, which do not matter for reading, are in the segment's Node.
type Writecache struct {
	Cache, Origin string // LVs
	BlockSize     int64  // bytes
	Cleaner       bool   // the cache is being emptied
}

// Integrity holds what integrity segments have (lib/integrity/integrity.c).
type Integrity struct {
	Origin, Metadata string // LVs; Metadata "" when tags are interleaved with the data
	DataSectors      int64
	Mode             string // "J" journal, "B" bitmap, "D" direct, "R" recovery
	TagSize          int64  // bytes
	BlockSize        int64  // bytes
	InternalHash     string
	Recalculate      bool
	JournalSectors   int64
	Interleave       int64 // sectors
	BufferSectors    int64
	SectorsPerBit    int64
}

// VDOPool holds what vdo-pool segments have and a reader needs (lib/vdo/vdo.c); settings of
// threads and caches are in the segment's Node.
type VDOPool struct {
	Data           string // an LV
	HeaderSize     int64  // sectors, before and behind the virtual extents
	VirtualExtents int64
	Compression    bool
	Deduplication  bool
	MetadataHints  bool
	MinimumIOSize  int64 // bytes
	SparseIndex    bool
	IndexMemory    int64  // MiB
	SlabSize       int64  // MiB
	WritePolicy    string // "" is auto
}

// VDO holds what vdo segments have (lib/vdo/vdo.c).
type VDO struct {
	Pool   string
	Offset int64 // extents from the start of the pool's virtual space
}

// wrongType reports that a segment is asked for what its type does not have.
func (s *Segment) wrongType(wanted string) error {
	return fmt.Errorf("%s is of type %s, not %s", s.Key, shorten(s.TypeName()), wanted)
}

// fill reads the fields of a table from a segment of one of the given types.
func fill[T any](s *Segment, table []field[T], target *T, types ...string) error {
	if !slices.Contains(types, s.Type) {
		return s.wrongType(strings.Join(types, " or "))
	}
	node := s.Node
	if node == nil {
		node = NewSection(s.Key)
	}
	var first error
	scanFields(new(decoder), table, target, node, func(_ *Node, key string, err error) {
		if first == nil {
			first = fmt.Errorf("%s: %s %w", s.Key, key, err)
		}
	})
	return first
}

// RAID gives the RAID fields of a segment of type raid0 to raid10.
func (s *Segment) RAID() (RAID, error) {
	kind, _ := areasOf(s.Type)
	if kind.list != keyRAIDs && kind.list != keyRAID0LVs {
		return RAID{}, s.wrongType("raid")
	}
	r := RAID{StripeSize: s.StripeSize}
	err := fill(s, raidFields, &r, s.Type)
	if kind.list == keyRAID0LVs {
		for _, a := range s.Areas {
			r.Legs = append(r.Legs, Leg{Image: a.Name})
		}
	} else {
		for i := 0; i+1 < len(s.Areas); i += 2 {
			r.Legs = append(r.Legs, Leg{Meta: s.Areas[i].Name, Image: s.Areas[i+1].Name})
		}
	}
	if r.DataCopies == 0 && strings.HasPrefix(s.Type, "raid10") {
		r.DataCopies = 2
	}
	return r, err
}

// Mirror gives the fields of a mirror segment.
func (s *Segment) Mirror() (m Mirror, err error) { return m, fill(s, mirrorFields, &m, "mirror") }

// Snapshot gives the fields of a snapshot segment.
func (s *Segment) Snapshot() (Snapshot, error) {
	var t snapshotText
	err := fill(s, snapshotFields, &t, "snapshot")
	if err == nil && (t.cow == "") == (t.merging == "") {
		err = fmt.Errorf("%s: must have either cow_store or merging_store", s.Key)
	}
	t.COW, t.Merging = t.cow+t.merging, t.merging != ""
	return t.Snapshot, err
}

// snapshotText has the two names that the text may give the COW LV under.
type snapshotText struct {
	Snapshot
	cow, merging string
}

// ThinPool gives the fields of a thin-pool segment.
func (s *Segment) ThinPool() (ThinPool, error) {
	var p ThinPool
	if err := fill(s, thinPoolFields, &p, "thin-pool"); err != nil {
		return p, err
	}
	for n := range s.Node.Children() {
		if n.Kind != Section || !strings.HasPrefix(n.Key, "message") {
			continue
		}
		create, made := n.String("create")
		id, deleted := n.Int("delete")
		if made == deleted {
			return p, fmt.Errorf("%s: %s must either create or delete", s.Key, shorten(n.Key))
		}
		p.Messages = append(p.Messages, ThinMessage{create, id})
	}
	return p, nil
}

// Thin gives the fields of a thin segment.
func (s *Segment) Thin() (t Thin, err error) { return t, fill(s, thinFields, &t, "thin") }

// CachePool gives the fields of a cache-pool segment.
func (s *Segment) CachePool() (p CachePool, err error) {
	err = fill(s, cachePoolFields, &p, "cache-pool")
	p.PolicySettings = s.Node.Child("policy_settings")
	return p, err
}

// Cache gives the fields of a cache segment.
func (s *Segment) Cache() (c Cache, err error) {
	err = fill(s, cacheFields, &c, "cache")
	c.UsesCachevol = slices.Contains(s.TypeFlags, "CACHE_USES_CACHEVOL")
	c.PolicySettings = s.Node.Child("policy_settings")
	if err == nil && c.UsesCachevol && (c.MetadataSize == 0 || c.DataSize == 0 || c.ChunkSize == 0) {
		err = fmt.Errorf("%s: the places of metadata and data in the cachevol are missing", s.Key)
	}
	return c, err
}

// Writecache gives the fields of a writecache segment.
func (s *Segment) Writecache() (w Writecache, err error) {
	return w, fill(s, writecacheFields, &w, "writecache")
}

// Integrity gives the fields of an integrity segment.
func (s *Segment) Integrity() (i Integrity, err error) {
	return i, fill(s, integrityFields, &i, "integrity")
}

// VDOPool gives the fields of a vdo-pool segment.
func (s *Segment) VDOPool() (p VDOPool, err error) {
	return p, fill(s, vdoPoolFields, &p, "vdo-pool")
}

// VDO gives the fields of a vdo segment.
func (s *Segment) VDO() (v VDO, err error) { return v, fill(s, vdoFields, &v, "vdo") }

// largest numbers that lvm2 reads into the fields below.
const (
	u32 = math.MaxUint32
	u64 = math.MaxInt64
)
