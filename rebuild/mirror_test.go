package rebuild_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// TestMirrorsOfMD: the members of a mirror are no copies of a disk. The freshest is read, and is
// beyond doubt when no member is missing that could be fresher.
func TestMirrorsOfMD(t *testing.T) {
	const (
		from12       = 1 << 20 // where data begins, by superblocks of 1.2 and 1.1
		resyncOffset = 208
	)
	for name, tt := range map[string]struct {
		disks  string
		spoil  func(c *fixtures.Corpus) error
		vg, pv string
		disk   string
		offset int64
		doubt  string
	}{
		"1.2":                  {"ab", nil, "vg12", "pv0", "a", from12, ""},
		"1.1":                  {"gh", nil, "vg11", "pv0", "g", from12, ""},
		"1.0":                  {"ef", nil, "vg10", "pv0", "e", 0, ""},
		"0.90":                 {"cd", nil, "vg090", "pv0", "c", 0, ""},
		"1.2, half":            {"b", nil, "vg12", "pv0", "b", from12, "1 of 2 members are here"},
		"1.0, half":            {"f", nil, "vg10", "pv0", "f", 0, "1 of 2 members are here"},
		"0.90, half":           {"d", nil, "vg090", "pv0", "d", 0, "1 of 2 members are here"},
		"one was away":         {"lmno", nil, "vgtwo", "pv1", "n", from12, ""},
		"the one that was not": {"lmn", nil, "vgtwo", "pv1", "n", from12, ""},
		"the one that was":     {"lmo", nil, "vgtwo", "pv1", "o", from12, "1 of 2 members are here"},
		"one not in sync": {"ab", func(c *fixtures.Corpus) error { // the checksum stays right
			return damage.Write(c.Disk("a"), 4096+resyncOffset, make([]byte, 8))
		}, "vg12", "pv0", "b", from12, ""},
		"the one not in sync": {"a", func(c *fixtures.Corpus) error {
			return damage.Write(c.Disk("a"), 4096+resyncOffset, make([]byte, 8))
		}, "vg12", "pv0", "a", from12, "of md"},
		"one cut short": {"ab", func(c *fixtures.Corpus) error {
			return damage.Truncate(c.Disk("a"), 4<<20)
		}, "vg12", "pv0", "b", from12, ""},
		"the one cut short": {"a", func(c *fixtures.Corpus) error {
			return damage.Truncate(c.Disk("a"), 4<<20)
		}, "vg12", "pv0", "a", from12, "1 of 2 members are here"},
		"one of another time": {"ab", func(c *fixtures.Corpus) error {
			return damage.Flip(c.Disk("a"), 4096+16, 0) // in the UUID of the array
		}, "vg12", "pv0", "b", from12, "1 of 2 members are here"},
	} {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, "md-members")
			if tt.spoil != nil {
				require.NoError(t, tt.spoil(c))
			}
			var paths []string
			for _, d := range tt.disks {
				paths = append(paths, c.Disk(string(d)))
			}
			ev, err := scan.Run(t.Context(), paths, scan.Options{})
			require.NoError(t, err)
			defer ev.Close()
			r, err := rebuild.Build(ev, rebuild.Options{})
			require.NoError(t, err)
			g, err := r.Find(tt.vg)
			require.NoError(t, err)
			p := g.At(nil).PV(tt.pv)
			require.False(t, p.Missing())
			require.Equal(t, []any{c.Disk(tt.disk), tt.offset}, []any{p.Found.Source.Name, p.Found.Offset})
			require.NotNil(t, p.Found.Mirror)
			if tt.doubt == "" {
				require.Empty(t, p.Doubt)
				return
			}
			require.Contains(t, p.Doubt, tt.doubt)
		})
	}
}
