package volume

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// TestUndoTellsWhatWasUsedAgain: of LVs whose extents others had since, exactly what these
// others had is doubtful, and lost under Strict; all else is as the kernel read it before.
func TestUndoTellsWhatWasUsedAgain(t *testing.T) {
	const es = 512 << 10
	for name, want := range map[string]struct {
		corpus, key, tag string
		doubt            []block.Extent // of the LV, with reasons
	}{
		"lvremove": {"undo-overlap", "vgo/old@2", "vgo/old", []block.Extent{
			{Off: 2 * es, Len: 4096, Why: "filled with zeros by lvcreate when LV young was made since, by seqno 4"},
			{Off: 2*es + 4096, Len: 2*es - 4096, Why: "given to LV young since, by seqno 4, and free again by seqno 5"},
			{Off: 6 * es, Len: es, Why: "given to LV third since, by seqno 6"},
		}},
		"vgcfgrestore": {"undo-vgcfgrestore", "vgw/lost@7", "vgw/lost", []block.Extent{
			{Off: es, Len: es, Why: "given to LV anew since, by seqno 5"},
		}},
		"vgcreate": {"undo-newvg", "vgold/hit@4", "vgold/hit", []block.Extent{
			{Off: es, Len: 3 * es / 2, Why: "given to LV vgnew/fresh since, by seqno 2"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, want.corpus)
			truth, err := os.ReadFile(fixtures.Filled(t, c, want.key, want.tag))
			require.NoError(t, err)
			for _, strict := range []bool{false, true} {
				vg, lv, err := find(t, c, want.key, rebuild.Options{Strict: strict})
				require.NoError(t, err)
				plan, err := activate.New(vg, lv, OpenVolume)
				require.NoError(t, err)
				dev := Open(plan)
				var doubt []block.Extent
				for e := range dev.Extents(0, dev.Size()) {
					if e.State == block.Doubtful || e.State == block.Bad {
						require.Equal(t, strict, e.State == block.Bad)
						e.State = 0
						doubt = append(doubt, e)
						continue
					}
					got := make([]byte, e.Len)
					_, err := dev.ReadAt(got, e.Off)
					require.NoError(t, err)
					require.True(t, bytes.Equal(truth[e.Off:e.End()], got), "%d bytes at %d", e.Len, e.Off)
				}
				require.Equal(t, want.doubt, doubt)
			}
		})
	}
}
