package guess

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata/signs"
	"github.com/lvrescue/lvrescue/scan"
)

// healthy are LVs of corpora with a filesystem that has checksums.
var healthy = map[string][]string{
	"filesystems":     {"vgx/ext", "vgx/xfs"},
	"filesystems-one": {"vgn/root", "vgn/home", "vgn/data"},
}

// TestProofsOfHealthyFilesystems: every block that tells where it stands does so where it is,
// and none a block away.
func TestProofsOfHealthyFilesystems(t *testing.T) {
	for name, lvs := range healthy {
		c := fixtures.Open(t, name)
		for _, lv := range lvs {
			f, err := os.Open(fixtures.Healthy(t, c, lv))
			require.NoError(t, err)
			defer f.Close()
			head := make([]byte, 64<<10)
			_, err = io.ReadFull(f, head)
			require.NoError(t, err)
			format := "ext4"
			if signs.Read(head[:signs.Length]) != nil {
				format = "XFS"
			}
			sign := &scan.Sign{Sign: &signs.Sign{Format: format}}
			count := map[fitting]int{}
			for _, p := range proofs(sign, head) {
				b := make([]byte, p.size)
				_, err := f.ReadAt(b, p.off)
				require.NoError(t, err)
				require.NotEqual(t, differs, p.fit(b), "%s: block at %d", lv, p.off)
				count[p.fit(b)]++
				_, err = f.ReadAt(b, p.off+p.size)
				require.NoError(t, err)
				require.NotEqual(t, fits, p.fit(b), "%s: block behind %d", lv, p.off)
			}
			require.Greater(t, count[fits], 2, lv)
			if j := extJournal(head); format == "ext4" {
				require.NotNil(t, j, lv)
				proven, against := j.walk(func(off int64, b []byte) bool {
					n, _ := f.ReadAt(b, off)
					return n == len(b)
				})
				require.Greater(t, proven, 2, lv)
				require.Zero(t, against, lv)
			}
		}
	}
}

// FuzzProofs reads filesystems that are none: there is an end, and nothing but what lies in them.
func FuzzProofs(f *testing.F) {
	for name, lvs := range healthy {
		c := fixtures.Open(f, name)
		for _, lv := range lvs {
			b := make([]byte, 16<<10)
			file, err := os.Open(fixtures.Healthy(f, c, lv))
			require.NoError(f, err)
			_, err = io.ReadFull(file, b)
			file.Close()
			require.NoError(f, err)
			f.Add(b[:4096], b[4096:], "ext4")
			f.Add(b[:4096], b[4096:], "XFS")
		}
	}
	f.Fuzz(func(t *testing.T, head, body []byte, format string) {
		sign := &scan.Sign{Sign: &signs.Sign{Format: format}}
		list := proofs(sign, head)
		require.LessOrEqual(t, len(list), maxProofs+3)
		for _, p := range list {
			require.Positive(t, p.size)
			require.LessOrEqual(t, p.size, int64(64<<10))
			b := make([]byte, p.size)
			copy(b, body)
			p.fit(b)
		}
		if j := extJournal(head); j != nil {
			reads := 0
			proven, _ := j.walk(func(off int64, b []byte) bool {
				reads++
				require.GreaterOrEqual(t, off, int64(0))
				if len(body) > 0 {
					copy(b, body[off%int64(len(body)):])
				}
				return true
			})
			require.LessOrEqual(t, proven, maxLinks)
			require.LessOrEqual(t, reads, maxLinks+maxLeading+4)
		}
	})
}
