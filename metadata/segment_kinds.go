package metadata

import "slices"

// segmentKind is what segments of a type have in the text, besides their extents.
type segmentKind struct {
	areas      areaList
	fields     []string // read into a struct of segment_types.go
	settings   []string // only steer a running device, and are kept in the Node
	references []reference
}

// areaList names the list that holds a segment's areas, and the field that has their number;
// "" where it has none.
type areaList struct{ list, count string }

// reference is a field that names an LV which is needed for reading.
type reference struct {
	key   string
	alone bool // the LV belongs to that segment alone
}

// shared and sole make references. Pools, origins of snapshots and external origins serve many.
func shared(key string) reference { return reference{key: key} }
func sole(key string) reference   { return reference{key, true} }

// segmentKinds are the types that lvm2 knows (lib/metadata/segtype.h), with what their text
// has (lib/striped/striped.c, lib/mirror/mirrored.c, lib/raid/raid.c and those that
// segment_fields.go names). Metadata has "striped" for linear; "linear" is read too.
//
// A thin LV's origin and merge are no references: they tell of descent, the pool holds the
// data.
var segmentKinds = func() map[string]*segmentKind {
	striped := segmentKind{areas: areaList{keyStripes, "stripe_count"}}
	kinds := map[string]*segmentKind{
		"linear":  &striped,
		"striped": &striped,
		"zero":    {},
		"error":   {},
		"mirror": {areas: areaList{keyMirrors, "mirror_count"}, fields: tableKeys(mirrorFields),
			references: []reference{sole("mirror_log")}},
		"snapshot": {fields: tableKeys(snapshotFields),
			references: []reference{shared("origin"), sole("cow_store"), sole("merging_store")}},
		"thin-pool": {fields: tableKeys(thinPoolFields),
			references: []reference{sole("metadata"), sole("pool")}},
		"thin": {fields: tableKeys(thinFields),
			references: []reference{shared("thin_pool"), shared("external_origin")}},
		"cache-pool": {fields: tableKeys(cachePoolFields),
			references: []reference{sole("data"), sole("metadata")}},
		"cache": {fields: tableKeys(cacheFields),
			references: []reference{sole("cache_pool"), shared("origin")}},
		"writecache": {fields: tableKeys(writecacheFields),
			references: []reference{sole("writecache"), shared("origin")},
			settings: []string{
				"high_watermark", "low_watermark", "writeback_jobs", "autocommit_blocks",
				"autocommit_time", "fua", "nofua", "max_age", "metadata_only", "pause_writeback",
				"writecache_setting_key", "writecache_setting_val",
			}},
		"integrity": {fields: tableKeys(integrityFields),
			references: []reference{shared("origin"), sole("meta_dev")},
			settings:   []string{"journal_watermark", "commit_time", "bitmap_flush_interval", "allow_discards"}},
		"vdo-pool": {fields: tableKeys(vdoPoolFields),
			references: []reference{sole("data")},
			settings: []string{
				"block_map_cache_size_mb", "block_map_era_length", "max_discard", "ack_threads",
				"bio_threads", "bio_rotation", "cpu_threads", "hash_zone_threads", "logical_threads",
				"physical_threads",
			}},
		"vdo": {fields: tableKeys(vdoFields),
			references: []reference{shared("vdo_pool")}},
		"raid0":      {areas: areaList{keyRAID0LVs, "stripe_count"}, fields: tableKeys(raidFields)},
		"raid0_meta": {areas: areaList{keyRAIDs, "stripe_count"}, fields: tableKeys(raidFields)},
	}
	for _, name := range []string{
		"raid1", "raid10", "raid10_near", "raid4",
		"raid5", "raid5_n", "raid5_la", "raid5_ls", "raid5_ra", "raid5_rs",
		"raid6", "raid6_n_6", "raid6_nc", "raid6_nr", "raid6_zr",
		"raid6_ls_6", "raid6_rs_6", "raid6_la_6", "raid6_ra_6",
	} {
		kinds[name] = &segmentKind{areas: areaList{keyRAIDs, "device_count"}, fields: tableKeys(raidFields)}
	}
	return kinds
}()

func tableKeys[T any](table []field[T]) []string {
	keys := make([]string, len(table))
	for i := range table {
		keys[i] = table[i].key
	}
	return keys
}

// KnownSegmentType tells whether lvm2 has a segment type of that name, flags taken off. Of
// other types only the extents are known, not where they lie.
func KnownSegmentType(name string) bool { return segmentKinds[name] != nil }

// unknownKind has nothing that could be read.
var unknownKind = &segmentKind{}

func kindOf(segType string) *segmentKind {
	if kind := segmentKinds[segType]; kind != nil {
		return kind
	}
	return unknownKind
}

// areasOf tells where segments of a type have their areas; false if they have none.
func areasOf(segType string) (areaList, bool) {
	areas := kindOf(segType).areas
	return areas, areas.list != ""
}

// commonKeys are the fields that segments of every type may have.
var commonKeys = tableKeys(segmentFields)

// knownField tells whether segments of a type have that field. Of an unknown type any may
// be one.
func knownField(segType, key string) bool {
	k := segmentKinds[segType]
	switch {
	case k == nil, slices.Contains(commonKeys, key), slices.Contains(k.fields, key), slices.Contains(k.settings, key):
		return true
	}
	return k.areas.list != "" && (key == k.areas.list || key == k.areas.count || key == "stripe_size")
}

// References lists the LVs, by name, that a segment's data comes from, areas apart, in the
// order in which lvm2 writes them. Of a damaged text they need not exist.
func (s *Segment) References() []string {
	var names []string
	for _, ref := range kindOf(s.Type).references {
		if name, ok := s.Node.String(ref.key); ok {
			names = append(names, name)
		}
	}
	return names
}
