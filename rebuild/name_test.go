package rebuild_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/rebuild"
)

func TestParseLVName(t *testing.T) {
	const uuid = "SMETv9-8R1E-TT2u-goch-kvR2-tZIc-Zu2haQ"
	for in, want := range map[string]rebuild.LVName{
		"vg/lv":                   {VG: "vg", LV: "lv"},
		"vg/[lv_rmeta_0]":         {VG: "vg", LV: "[lv_rmeta_0]"},
		"/dev/vg/lv":              {VG: "vg", LV: "lv"},
		"/dev/mapper/vg-lv":       {VG: "vg", LV: "lv"},
		"/dev/mapper/my--vg-a--b": {VG: "my-vg", LV: "a-b"},
		"/dev/mapper/a----b-c":    {VG: "a--b", LV: "c"},
		"/dev/mapper/a---b":       {VG: "a-", LV: "b"},
		uuid:                      {LV: uuid},
		"vg/" + uuid:              {VG: "vg", LV: uuid},
	} {
		got, err := rebuild.ParseLVName(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "vg", "/", "vg/", "/lv", "a/b/c", "/dev/mapper/nolv", "/dev/mapper/-", "/dev/vg", "/dev/sda1/"} {
		_, err := rebuild.ParseLVName(in)
		require.Error(t, err, in)
	}
}

func TestFindLV(t *testing.T) {
	g := history(t, "linear")
	r := &rebuild.Result{Groups: []*rebuild.Group{g}}
	for _, lv := range append(g.Current.Meta.LVs, g.Removed()[1].LV) {
		got, err := r.FindLV(rebuild.LVName{LV: lv.ID.String()})
		require.NoError(t, err)
		require.Equal(t, g, got)
	}
	_, err := r.FindLV(rebuild.LVName{LV: "000000-0000-0000-0000-0000-0000-000000"})
	require.ErrorContains(t, err, "no volume group has")
}
