package metadata

import (
	"slices"
	"strings"
)

// typeFlags are the LV flags that lvm2 appends to a segment's type, so that versions that do
// not know them leave the LV alone (lib/format_text/flags.c, SEGTYPE_FLAG).
var typeFlags = set(
	"RESHAPE", "RESHAPE_DATA_OFFSET", "RESHAPE_DELTA_DISKS_PLUS", "RESHAPE_DELTA_DISKS_MINUS",
	"REMOVE_AFTER_RESHAPE", "METADATA_FORMAT", "CROP_METADATA", "CACHE_USES_CACHEVOL",
)

// Flags known in status and flags lists (lib/format_text/flags.c). lvm2 refuses a VG with an
// unknown status, and passes over an unknown entry of flags.
var (
	vgStatus = set("EXPORTED", "RESIZEABLE", "PVMOVE", "READ", "WRITE", "CLUSTERED", "SHARED", "PARTIAL")
	pvStatus = set("ALLOCATABLE", "EXPORTED", "MISSING")
	lvStatus = set("READ", "WRITE", "FIXED_MINOR", "VISIBLE", "PVMOVE", "LOCKED", "NOTSYNCED",
		"REBUILD", "WRITEMOSTLY", "CACHE_VOL",
		"RESHAPE", "RESHAPE_DATA_OFFSET", "RESHAPE_DELTA_DISKS_PLUS", "RESHAPE_DELTA_DISKS_MINUS",
		"REMOVE_AFTER_RESHAPE", "METADATA_FORMAT", "CROP_METADATA", "CACHE_USES_CACHEVOL")
)

// splitType takes the flags off a segment's type. If one is unknown the whole string is the
// name of an unknown type (lib/format_text/import_vsn1.c).
func splitType(s string) (name string, flags []string) {
	name, rest, found := strings.Cut(s, "+")
	if !found {
		return s, nil
	}
	flags = strings.Split(rest, "+")
	for _, f := range flags {
		if !typeFlags[f] {
			return s, nil
		}
	}
	return name, flags
}

// HasStatus tells whether the VG has a flag, in status or flags.
func (vg *VG) HasStatus(flag string) bool { return has(flag, vg.Status, vg.Flags) }

// HasStatus tells whether the PV has a flag, in status or flags.
func (pv *PV) HasStatus(flag string) bool { return has(flag, pv.Status, pv.Flags) }

// HasStatus tells whether the LV has a flag: in status, flags or at the end of a segment's
// type.
func (lv *LV) HasStatus(flag string) bool {
	if has(flag, lv.Status, lv.Flags) {
		return true
	}
	return slices.ContainsFunc(lv.Segments, func(s *Segment) bool {
		return slices.Contains(s.TypeFlags, flag)
	})
}

// Visible tells whether the LV is one that the user made, not a hidden part of another.
func (lv *LV) Visible() bool { return lv.HasStatus("VISIBLE") }

func has(flag string, lists ...[]string) bool {
	return slices.ContainsFunc(lists, func(l []string) bool { return slices.Contains(l, flag) })
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
