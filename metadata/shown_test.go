package metadata_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata"
)

func TestShown(t *testing.T) {
	lv := func(name, fields string) string {
		return name + ` { id = "" status = ["READ", "VISIBLE"] segment_count = 1
			segment1 { start_extent = 0 extent_count = 1 ` + fields + ` } }
			`
	}
	linear := `type = "striped" stripe_count = 1 stripes = ["pv0", 0]`
	snapshot := func(origin, key, store string) string {
		return `type = "snapshot" chunk_size = 8 origin = "` + origin + `" ` + key + ` = "` + store + `"`
	}
	vg, _ := metadata.ParseTolerant([]byte(`contents = "Text Format Volume Group"
		vg { id = "" seqno = 1 extent_size = 8 logical_volumes {
		` + lv("home", linear) +
		lv("monday", linear) + lv("snapshot0", snapshot("home", "cow_store", "monday")) +
		lv("tuesday", linear) + lv("snapshot1", snapshot("home", "merging_store", "tuesday")) +
		lv("snapshot2", snapshot("home", "cow_store", "gone")) +
		lv("snapshot3", snapshot("home", "cow_store", "snapshot3")) + `} }`))
	require.NotNil(t, vg)
	shown := map[string]string{}
	for lv, as := range vg.Shown() {
		shown[lv.Name] = as.Name
	}
	require.Equal(t, map[string]string{
		"home":      "home",
		"monday":    "snapshot0",
		"snapshot2": "snapshot2", // its store is lost: nothing else stands for it
		"snapshot3": "snapshot3", // forged
	}, shown)
}
