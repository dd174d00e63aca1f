package guess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/scan/block"
)

// Prefixes of the names of the hidden LVs of an array, before the position.
const (
	metaPart  = "_rmeta_"
	imagePart = "_rimage_"
)

// regionSize is what lvm2 takes for arrays unless told otherwise, in sectors. The reader goes by
// the bitmaps.
const regionSize = 4096

// legs writes a volume with legs, and its hidden LVs.
func (w *writer) legs(l *Layout, v *Volume) {
	s, es := v.Striping, l.ExtentSize
	var fields, parts []string
	field := func(format string, args ...any) { fields = append(fields, fmt.Sprintf(format, args...)) }
	if s.Type == "striped" {
		field("stripe_count = %d", len(s.Legs))
		field("stripe_size = %d", s.Chunk/block.SectorSize)
		for _, leg := range s.Legs {
			parts = append(parts, fmt.Sprintf(`"pv%d", %d`, l.disk(leg), l.extent(leg, leg.At)))
		}
		w.segmented(v.Name, true, "stripes", (v.Size+es-1)/es, s.Type, fields, parts, madeID(v.Sign.Source.Name, v.Sign.Offset, v.Name))
		return
	}
	field("device_count = %d", len(s.Legs))
	if s.layout.Level == 10 {
		field("data_copies = %d", s.layout.Copies())
	}
	field("region_size = %d", regionSize)
	if s.layout.Level != 1 {
		field("stripe_size = %d", s.Chunk/block.SectorSize)
	}
	for i := range s.Legs {
		parts = append(parts, fmt.Sprintf(`"%s%s%d", "%s%s%d"`, v.Name, metaPart, i, v.Name, imagePart, i))
	}
	w.segmented(v.Name, true, "raids", (v.Size+es-1)/es, s.Type, fields, parts, madeID(v.Sign.Source.Name, v.Sign.Offset, v.Name))
	for i, leg := range s.Legs {
		w.part(l, leg, leg.Meta, 1, fmt.Sprint(v.Name, metaPart, i))
		w.part(l, leg, leg.At, leg.Len/es, fmt.Sprint(v.Name, imagePart, i))
	}
}

// part writes a hidden LV of so many extents; one that was not found as an error.
func (w *writer) part(l *Layout, leg Leg, at, extents int64, name string) {
	id := madeID(name, extents)
	if leg.Source == nil || at < 0 {
		w.segmented(name, false, "", extents, "error", nil, nil, id)
		return
	}
	w.segmented(name, false, "stripes", extents, "striped", []string{"stripe_count = 1"}, []string{fmt.Sprintf(`"pv%d", %d`, l.disk(leg), l.extent(leg, at))}, id)
}

// segmented writes an LV of one segment.
func (w *writer) segmented(name string, visible bool, list string, extents int64, kind string, fields, parts []string, id fmt.Stringer) {
	status := `["READ", "WRITE"]`
	if visible {
		status = `["READ", "WRITE", "VISIBLE"]`
	}
	w.printf(`
		%s {
			id = "%s"
			status = %s
			flags = []
			segment_count = 1

			segment1 {
				start_extent = 0
				extent_count = %d

				type = "%s"
`, name, id, status, extents, kind)
	for _, f := range fields {
		w.printf("\t\t\t\t%s\n", f)
	}
	if list != "" {
		w.printf("\n\t\t\t\t%s = [\n\t\t\t\t\t%s\n\t\t\t\t]\n", list, strings.Join(parts, ",\n\t\t\t\t\t"))
	}
	w.printf("\t\t\t}\n\t\t}\n")
}

// disk is the number of a leg's disk.
func (l *Layout) disk(leg Leg) int {
	return slices.IndexFunc(l.Disks, func(d Disk) bool { return d.Source == leg.Source })
}

// extent is the extent of a leg's disk that begins at a byte of its source.
func (l *Layout) extent(leg Leg, at int64) int64 {
	return (at - l.Disks[l.disk(leg)].Start) / l.ExtentSize
}
