package rebuild

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
)

// LVName names an LV as users do. VG is "" when LV is the UUID of an LV of any VG.
type LVName struct {
	VG, LV string // name or UUID
}

func (n LVName) String() string {
	if n.VG == "" {
		return n.LV
	}
	return n.VG + "/" + n.LV
}

// ParseLVName reads VG/LV, where both may be names or UUIDs, the UUID of an LV alone, and
// the paths that LVM makes: /dev/VG/LV, and /dev/mapper/VG-LV with hyphens doubled
// (libdm/libdm-string.c, dm_build_dm_name).
func ParseLVName(s string) (LVName, error) {
	if dm, ok := strings.CutPrefix(s, "/dev/mapper/"); ok {
		vg, lv, ok := splitDMName(dm)
		if !ok {
			return LVName{}, fmt.Errorf("%q is no device-mapper name of an LV: expected /dev/mapper/VG-LV", s)
		}
		return LVName{vg, lv}, nil
	}
	vg, lv, ok := strings.Cut(strings.TrimPrefix(s, "/dev/"), "/")
	if id, err := metadata.ParseID(s); !ok && err == nil {
		return LVName{LV: id.String()}, nil
	}
	if !ok || vg == "" || lv == "" || strings.Contains(lv, "/") {
		return LVName{}, fmt.Errorf("%q names no LV: expected VG/LV", s)
	}
	return LVName{vg, lv}, nil
}

// splitDMName splits a device-mapper name at its single hyphen and undoes the doubling.
func splitDMName(s string) (vg, lv string, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] != '-' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '-' {
			i++
			continue
		}
		undo := strings.NewReplacer("--", "-")
		vg, lv = undo.Replace(s[:i]), undo.Replace(s[i+1:])
		return vg, lv, vg != "" && lv != ""
	}
	return "", "", false
}

// FindLV returns the group that the user means by the name of an LV. Where the name is a
// UUID alone, it is the group whose current version, or else any version, has such an LV.
func (r *Result) FindLV(n LVName) (*Group, error) {
	if n.VG != "" {
		return r.Find(n.VG)
	}
	id, err := metadata.ParseID(n.LV)
	if err != nil {
		return nil, err
	}
	var older *Group
	for _, g := range r.Groups {
		for _, v := range g.Versions {
			for _, lv := range v.Meta.LVs {
				switch {
				case lv.ID != id:
				case v == g.Current:
					return g, nil
				default:
					older = g
				}
			}
		}
	}
	if older != nil {
		return older, nil
	}
	return nil, errors.New("no volume group has an LV with UUID " + id.String())
}
