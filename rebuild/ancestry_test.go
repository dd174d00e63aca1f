package rebuild_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

func TestAncestry(t *testing.T) {
	for vg, want := range map[string][]string{
		"renamed": {"renamed: was named before until seqno 5", "merged-from: took in VG guest (G) by seqno 7: LV three, PV pv1"},
		"part":    {"split-from: has from VG renamed (G), by seqno 1: LV two, PVs pv0, pv1"},
		"guest":   nil,
	} {
		_, g := group(t, "vgops", vg, scan.Options{History: true})
		var got []string
		for _, k := range g.Ancestry() {
			text := k.Kind + ": " + k.Text
			if k.Other != nil {
				text = string(bytes.ReplaceAll([]byte(text), []byte(k.Other.ID.String()), []byte("G")))
			}
			got = append(got, text)
		}
		require.Equal(t, want, got, vg)
	}
	_, g := group(t, "undo-newvg", "vgnew", scan.Options{History: true})
	require.Len(t, g.Ancestry(), 1)
	require.Equal(t, "pvs-from", g.Ancestry()[0].Kind)
}

// TestRepaired spoils one LV, or the end, of an old version, wherever it stands.
func TestRepaired(t *testing.T) {
	c := fixtures.Open(t, "linear")
	healthy, err := built(t, c.Paths(), scan.Options{History: true}, rebuild.Options{})
	require.NoError(t, err)
	versions := healthy.Groups[0].Versions
	const n = 5 // seqno 6: root was extended; swap and home are as before and after
	require.Equal(t, uint32(n+1), versions[n].Meta.Seqno)
	for _, lv := range []string{"home", "root"} {
		for _, copied := range versions[n].Copies {
			at := bytes.Index(copied.Content.Raw, []byte(lv+" {"))
			require.Positive(t, at)
			require.NoError(t, damage.Write(copied.Source.Name, copied.Offset+int64(at)-1, bytes.Repeat([]byte("#"), 200)))
		}
	}
	r, err := built(t, c.Paths(), scan.Options{History: true}, rebuild.Options{})
	require.NoError(t, err)
	v, err := r.Groups[0].Version("6")
	require.NoError(t, err)
	require.Error(t, v.Damage)
	require.Equal(t, []string{"LV home"}, v.Repaired, "the neighbours differ on root")
	at := &rebuild.VG{Meta: v.Meta}
	home, err := at.LV("home")
	require.NoError(t, err)
	want, err := (&rebuild.VG{Meta: versions[n].Meta}).LV("home")
	require.NoError(t, err)
	require.Equal(t, segmentsOf(want), segmentsOf(home))
	require.Contains(t, r.Groups[0].At(v).Doubt, "damaged")
}

func segmentsOf(lv *metadata.LV) (list []metadata.Segment) {
	for _, s := range lv.Segments {
		c := *s
		c.Node = nil
		list = append(list, c)
	}
	return list
}
