package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/cmd/internal/cli"
	"github.com/lvrescue/lvrescue/fixtures"
)

// servedLV is what --json tells of one export.
type servedLV struct {
	Export string `json:"export"`
	URI    string `json:"uri"`
	Health string `json:"rescue_health"`
}

// serve runs lvrescue serve until the test ends, and tells what it serves.
func serve(t *testing.T, args ...string) []servedLV {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	var stderr bytes.Buffer
	ended := make(chan int)
	go func() {
		code := cli.Run(ctx, append([]string{"serve", "--json", "--socket", filepath.Join(t.TempDir(), "s")}, args...), w, &stderr)
		w.Close()
		ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		require.Zero(t, <-ended, "%s", &stderr)
	})
	var doc struct {
		Report []struct {
			Exports []servedLV `json:"rescue_export"`
		} `json:"report"`
	}
	err := json.NewDecoder(r).Decode(&doc)
	require.NoError(t, err)
	go io.Copy(io.Discard, r)
	require.Len(t, doc.Report, 1)
	return doc.Report[0].Exports
}

// elsewhere lists the LVs that the version that stands out does not have.
var elsewhere = []string{
	"nested/inner/one", // inside an LV
	"forks/vgk/ona",    // in the other of two versions

	"md-members/vgfive/volume", // on a raid5 of md
}

// TestServeEveryCorpus has libnbd copy every LV of every corpus, and wants what the kernel
// read from it. LVs that are not whole are another test's.
func TestServeEveryCorpus(t *testing.T) {
	names := fixtures.Names()
	least := 200
	if testing.Short() {
		names, least = []string{"linear", "thin", "raid-levels"}, 20
	}
	checked := 0
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			var lvs []string
			for key := range c.Golden {
				if !strings.Contains(key, "@") && !slices.Contains(elsewhere, name+"/"+key) {
					lvs = append(lvs, key)
				}
			}
			if len(lvs) == 0 {
				return
			}
			slices.Sort(lvs)
			served := serve(t, slices.Concat(lvs, c.Paths())...)
			require.Len(t, served, len(lvs))
			for i, lv := range lvs {
				if served[i].Health != "complete" && served[i].Health != "degraded" {
					continue
				}
				copied := exec.Command("nbdcopy", served[i].URI, "-")
				out, err := copied.StdoutPipe()
				require.NoError(t, err)
				var said bytes.Buffer
				copied.Stderr = &said
				require.NoError(t, copied.Start())
				require.NoError(t, c.Golden[lv].Check(out), "%s", lv)
				require.NoError(t, copied.Wait(), "%s", &said)
				checked++
			}
		})
	}
	require.GreaterOrEqual(t, checked, least)
}
