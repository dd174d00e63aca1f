package volume

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// FuzzTextToVolume takes any metadata text all the way to bytes: whatever it claims, plans
// are made in bounded time, extents are gapless and reads keep inside.
func FuzzTextToVolume(f *testing.F) {
	texts, err := filepath.Glob("../../metadata/testdata/text/*")
	require.NoError(f, err)
	require.NotEmpty(f, texts)
	for _, path := range texts {
		b, err := os.ReadFile(path)
		require.NoError(f, err)
		if len(b) < 64<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		source := &scan.Source{Name: "disk", Kind: "file", Dev: block.NewZero(64 << 20)}
		pv := &scan.PV{Source: source, Dev: source.Dev}
		content := &scan.Content{Raw: text, SHA256: sha256.Sum256(text)}
		ev := &scan.Evidence{Sources: []*scan.Source{source}, PVs: []*scan.PV{pv},
			Copies: []*scan.Copy{{Content: content, Source: source, Area: &scan.Area{PV: pv, Number: 1}, Checksum: metadata.ChecksumValid}}}
		if vg, _ := content.VG(); vg != nil && len(vg.PVs) > 0 {
			pv.Label = &metadata.Label{PVID: vg.PVs[0].ID}
		}
		res, err := rebuild.Build(ev, rebuild.Options{})
		require.NoError(t, err)
		for _, g := range res.Groups {
			vg := g.At(nil)
			for _, lv := range vg.Meta.LVs {
				plan, err := activate.New(vg, lv, OpenVolume)
				if err != nil {
					continue
				}
				walk(t, Open(plan))
			}
		}
	})
}

// walk holds the first extents of a device against the contract, and reads its ends.
func walk(t *testing.T, dev block.Device) {
	at := int64(0)
	n := 0
	for e := range dev.Extents(0, dev.Size()) {
		require.Equal(t, at, e.Off)
		require.Positive(t, e.Len)
		require.LessOrEqual(t, e.End(), dev.Size())
		if at = e.End(); n > 1000 {
			break
		}
		n++
	}
	if n <= 1000 {
		require.Equal(t, dev.Size(), at)
	}
	buf := make([]byte, 4096)
	for _, off := range []int64{0, dev.Size() / 2, max(dev.Size()-100, 0)} {
		read, err := dev.ReadAt(buf, off)
		require.LessOrEqual(t, int64(read), dev.Size()-off)
		if read < len(buf) {
			require.Error(t, err)
		}
	}
}
