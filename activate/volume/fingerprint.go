package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Fingerprint stands for the bytes that a plan delivers, as far as is known before they
// are read: the version of the metadata, the LV, the places that it is read from, when image
// files there last changed, and what of them is bad or doubtful. An export that was
// interrupted may go on when it is the same.
func Fingerprint(p *activate.Plan) string {
	h := sha256.New()
	fmt.Fprintf(h, "%x %s\n", p.VG.Version.Content.SHA256, p.LV.ID)
	describe(h, p.Root, map[*activate.Volume]bool{})
	dev := Open(p)
	for e := range block.Merge(dev.Extents(0, dev.Size())) {
		if !e.State.Sure() {
			fmt.Fprintf(h, "%d %d %s %q\n", e.Off, e.Len, e.State, e.Why)
		}
	}
	return p.LV.ID.String() + " " + hex.EncodeToString(h.Sum(nil)[:8])
}

// describe writes down a volume's targets, and those of the volumes below, each once.
func describe(w io.Writer, v *activate.Volume, seen map[*activate.Volume]bool) {
	if seen[v] {
		return
	}
	seen[v] = true
	for _, s := range v.Segments {
		fmt.Fprintf(w, "%s %d %d %s", v.LV.Name, s.Off, s.Len, s.Target)
		for _, in := range s.Target.Inputs() {
			fmt.Fprintf(w, " %s", in)
			if in.PV != nil && !in.PV.Missing() {
				fmt.Fprintf(w, " of %s", in.PV.Found.Source.Stamp())
			}
		}
		fmt.Fprintln(w)
		for _, in := range s.Target.Inputs() {
			if in.Volume != nil {
				describe(w, in.Volume, seen)
			}
		}
	}
}
