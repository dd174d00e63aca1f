package metadata

// Shown maps the LVs that lvm2 shows its user to the LVs that say what these read as. That
// is the same LV but for snapshots: lvm2 writes one as an LV of its own, "snapshot0", which
// it never shows, and shows it under the name of the LV that stores its exceptions. While a
// snapshot is merged neither is shown: the origin reads as it.
// Source: lib/metadata/lv_manip.c, lib/metadata/snapshot_manip.c.
func (vg *VG) Shown() map[*LV]*LV {
	type view struct {
		snapshot *LV
		merging  bool
	}
	views := map[string]view{} // by the LV that stores the exceptions
	for _, lv := range vg.LVs {
		for _, seg := range lv.Segments {
			if seg.Type != "snapshot" {
				continue
			}
			if s, err := seg.Snapshot(); err == nil {
				views[s.COW] = view{lv, s.Merging}
			}
		}
	}
	shown := make(map[*LV]*LV, len(vg.LVs))
	for _, lv := range vg.LVs {
		if lv.Visible() {
			shown[lv] = lv
		}
	}
	for _, store := range vg.LVs {
		v, ok := views[store.Name]
		if !ok || v.snapshot == store {
			continue
		}
		delete(shown, v.snapshot)
		delete(shown, store)
		if !v.merging {
			shown[store] = v.snapshot
		}
	}
	return shown
}
