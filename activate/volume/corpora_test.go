package volume

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// open scans a corpus's disks and opens one of its LVs, named as Golden names it.
func open(t *testing.T, c *fixtures.Corpus, key string, opt rebuild.Options) (block.Device, *activate.Plan) {
	t.Helper()
	name, seqno, old := strings.Cut(key, "@")
	ev, err := scan.Run(context.Background(), c.Paths(), scan.Options{History: old})
	require.NoError(t, err)
	res, err := rebuild.Build(ev, opt)
	require.NoError(t, err)
	vgName, lvName, _ := strings.Cut(name, "/")
	g, err := res.Find(vgName)
	require.NoError(t, err)
	version := g.Current
	if old {
		version, err = g.Version(seqno)
		require.NoError(t, err)
	}
	vg := g.At(version)
	lv, err := vg.LV(lvName)
	require.NoError(t, err)
	plan, err := activate.New(vg, lv, OpenVolume)
	require.NoError(t, err)
	return Open(plan), plan
}

// TestCorporaReadAsTheKernelReadThem holds every LV of every corpus against the hash of
// what the kernel read from it.
func TestCorporaReadAsTheKernelReadThem(t *testing.T) {
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			for key, golden := range c.Golden {
				t.Run(strings.ReplaceAll(key, "/", "_"), func(t *testing.T) {
					dev, _ := open(t, c, key, rebuild.Options{})
					require.Equal(t, golden.Size, dev.Size())
					totals := block.Summarise(dev)
					require.Zero(t, totals.Bad, "%v", totals.Causes())
					if strings.Contains(golden.Note, "used again") {
						require.Equal(t, dev.Size(), totals.Doubtful, "what others have written since is no truth")
						return
					}
					if golden.Seqno == 0 {
						require.Equal(t, Complete, Judge(totals), "%v", totals.Causes())
					}
					h := sha256.New()
					_, err := io.Copy(h, io.NewSectionReader(dev, 0, dev.Size()))
					require.NoError(t, err)
					require.Equal(t, hex.EncodeToString(golden.SHA256[:]), fmt.Sprintf("%x", h.Sum(nil)))
				})
			}
		})
	}
}
