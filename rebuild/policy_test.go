package rebuild_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// codes gives the codes of all findings of a corpus, by VG name; those about no VG under "".
func codes(t *testing.T, corpus string) map[string][]string {
	t.Helper()
	ev, err := scan.Run(t.Context(), fixtures.Open(t, corpus).Paths(), scan.Options{})
	require.NoError(t, err)
	defer ev.Close()
	r, err := rebuild.Build(ev, rebuild.Options{})
	require.NoError(t, err)
	all := map[string][]string{}
	for _, f := range r.Findings {
		all[""] = append(all[""], f.Code)
	}
	for _, g := range r.Groups {
		for _, f := range g.At(nil).Findings {
			all[g.Name()] = append(all[g.Name()], f.Code)
		}
	}
	return all
}

func TestPolicy(t *testing.T) {
	flags := codes(t, "vgflags")
	for vg, code := range map[string]string{
		"foreign": "foreign-system-id", "exported": "exported", "clustered": "clustered", "locked": "lock-type",
	} {
		require.Contains(t, flags[vg], code)
	}
	require.Empty(t, flags["tagged"])
	require.Contains(t, codes(t, "same-name")[""], "same-name")
	require.Contains(t, codes(t, "unknown")["vgu"], "unknown-segment-type")
}
