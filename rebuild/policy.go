package rebuild

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
)

// policy lists what makes lvm2 refuse a VG, or parts of it, although nothing is wrong with
// the data (lib/metadata/metadata.c, vg_read and its checks). None of it stops a read here.
func policy(vg *metadata.VG) []scan.Finding {
	var all []scan.Finding
	note := func(code, format string, args ...any) {
		text := fmt.Sprintf("VG %s ", vg.Name) + fmt.Sprintf(format, args...) + ": lvm2 refuses that, lvrescue does not mind"
		all = append(all, scan.Finding{Severity: scan.Info, Code: code, Offset: -1, Text: text})
	}
	if vg.SystemID != "" {
		note("foreign-system-id", "belongs to the host with system ID %q", vg.SystemID)
	}
	if vg.HasStatus("EXPORTED") {
		note("exported", "is exported (vgexport)")
	}
	if vg.HasStatus("CLUSTERED") {
		note("clustered", "is clustered (clvmd)")
	}
	if vg.LockType != "" && vg.LockType != "none" {
		note("lock-type", "is shared, with lock type %q", vg.LockType)
	}
	var unknown []string
	for _, lv := range vg.LVs {
		for _, s := range lv.Segments {
			if !metadata.KnownSegmentType(s.Type) && !slices.Contains(unknown, s.TypeName()) {
				unknown = append(unknown, s.TypeName())
			}
		}
	}
	if len(unknown) > 0 {
		const most = 5
		note("unknown-segment-type", "has segments of unknown type: %s", strings.Join(unknown[:min(most, len(unknown))], ", "))
	}
	return all
}

// sameNames reports VGs that share a name, which lvm2 cannot tell apart by it.
func sameNames(groups []*Group) []scan.Finding {
	var all []scan.Finding
	for i, g := range groups { // sorted by name
		if i > 0 && groups[i-1].Name() == g.Name() {
			all = append(all, scan.Finding{Severity: scan.Warning, Code: "same-name", Offset: -1,
				Text: fmt.Sprintf("VGs %s and %s are both named %s: name them by UUID", groups[i-1].ID, g.ID, g.Name())})
		}
	}
	return all
}
