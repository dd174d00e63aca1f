package rebuild

import (
	"fmt"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan"
)

// contradictions reports where a whole text contradicts itself. Nothing is decided here: what
// cannot be right is bad or doubtful where it is read.
func contradictions(v *Version) []scan.Finding {
	if v.Damage != nil { // references from what is left to what is not are no news
		return nil
	}
	const most = 20
	var all []scan.Finding
	found := metadata.Check(v.Meta)
	for n, i := range found {
		severity := scan.Warning
		switch i.Code {
		case "unknown-segment-type": // see policy
			continue
		case "unknown-status", "pv-too-small": // lvm2 itself writes these
			severity = scan.Info
		}
		if len(all) == most {
			all = append(all, scan.Finding{Severity: scan.Warning, Code: "vg-contradictions", Offset: -1,
				Text: fmt.Sprintf("VG %s: and %d more contradictions in its metadata", v.Meta.Name, len(found)-n)})
			break
		}
		all = append(all, scan.Finding{Severity: severity, Code: "vg-" + i.Code, Offset: -1,
			Text: fmt.Sprintf("VG %s: %s", v.Meta.Name, i.Text)})
	}
	return all
}
