package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate/verify"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/rebuild"
)

type verifyOptions struct {
	evidenceFlags
	at string
}

func newVerify(a *app) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify VG/LV [SOURCE...]",
		Short: "Compare the legs of RAID LVs, and name the one that lies where that can be told",
		Long: `Read all legs of the RAID LVs and mirrors that an LV stands on, and list where they disagree.
With raid6, or three copies, the leg that all others speak against is named; with integrity the
one whose own checksums do.

What cannot be compared is counted apart: legs that are missing or stale, sectors that cannot be
read, and parity that was never in sync.`,
		Example:     "  lvrescue verify vg0/home disks/",
		Annotations: ends("all legs were compared, and agree", "legs disagree, or could not be compared"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runVerify(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.evidenceFlags.add(fs)
	fs.StringVar(&o.at, "at", "", "look at an older `SEQNO`; see lvrescue history")
	return cmd
}

// mismatchRow is a range in which legs disagree; all numbers are bytes.
type mismatchRow struct {
	LV        string `json:"lv_name"`
	Offset    int64  `json:"offset"`
	Length    int64  `json:"length"`
	LegOffset int64  `json:"leg_offset"`
	LegLength int64  `json:"leg_length"`
	Suspect   string `json:"suspect,omitempty"`
}

// verifyRow sums up a verification; all numbers are bytes of all legs.
type verifyRow struct {
	LV         string        `json:"lv_name"`
	Checked    int64         `json:"checked"`
	Unchecked  int64         `json:"unchecked"`
	Wrong      int64         `json:"wrong"`
	Mismatches []mismatchRow `json:"mismatches"`
	More       int           `json:"more,omitempty"` // mismatches that are not listed
}

// mostMismatches bounds how many ranges are kept; the rest is counted.
const mostMismatches = 10000

func runVerify(ctx context.Context, a *app, o *verifyOptions, args []string) error {
	if len(args) == 0 {
		return usagef("lvrescue scan lists the LVs", "no LV was named: expected VG/LV")
	}
	name, err := rebuild.ParseLVName(args[0])
	if err != nil {
		return usagef("lvrescue scan lists the LVs", "%w", err)
	}
	g, err := a.gather(ctx, &o.evidenceFlags, args[1:], o.at != "")
	if err != nil {
		return err
	}
	defer g.Close()
	s, err := g.lv(name, o.at)
	if err != nil {
		return err
	}
	if s.err != nil {
		return s.err
	}
	a.warn(s.vg.Findings)
	row, err := a.verify(ctx, s)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(g, append(s.vg.Findings, g.Result.Findings...), reportRows{Verify: []verifyRow{row}})
	} else {
		err = a.printVerify(s, row)
	}
	if err == nil && (row.Wrong > 0 || row.Unchecked > 0) {
		return errPartial
	}
	return err
}

// verify compares the legs below one LV.
func (a *app) verify(ctx context.Context, s *assessed) (verifyRow, error) {
	row := verifyRow{LV: s.name(), Mismatches: []mismatchRow{}}
	var bar *render.Progress
	progress := func(done, total int64) {
		if bar == nil && !a.quiet {
			bar = render.NewProgress(a.err, s.name(), total)
		}
		if bar != nil {
			bar.Set(done)
		}
	}
	totals, err := verify.Run(ctx, s.plan, progress, func(m verify.Mismatch) {
		if len(row.Mismatches) >= mostMismatches {
			row.More++
			return
		}
		row.Mismatches = append(row.Mismatches, mismatchRow{m.LV, m.Off, m.Len, m.LegOff, m.LegLen, m.Suspect})
	})
	if bar != nil {
		bar.Close()
	}
	if err == nil && totals.Arrays == 0 {
		err = fmt.Errorf("%s stands on no RAID LV and no mirror: there is nothing to compare", s.name())
	}
	row.Checked, row.Unchecked, row.Wrong = totals.Checked, totals.Unchecked, totals.Wrong
	return row, err
}

func (a *app) printVerify(s *assessed, row verifyRow) error {
	for _, why := range s.gone(nil) {
		fmt.Fprintln(a.out, render.Printable(why))
	}
	fmt.Fprintf(a.out, "%s: %s of its legs compared, %s disagree, %s could not be compared.\n",
		render.Printable(row.LV), a.size(row.Checked), a.size(row.Wrong), a.size(row.Unchecked))
	if len(row.Mismatches) == 0 {
		return nil
	}
	const most = 40
	t := render.Table{Columns: []render.Column{render.Left("LV"), render.Right("Byte"), render.Right("Bytes"),
		render.Right("Leg byte"), render.Right("Leg bytes"), render.Left("Likely wrong")}}
	for _, m := range row.Mismatches[:min(most, len(row.Mismatches))] {
		suspect := m.Suspect
		if suspect == "" {
			suspect = "cannot be told"
		}
		t.Add(m.LV, strconv.FormatInt(m.Offset, 10), strconv.FormatInt(m.Length, 10),
			strconv.FormatInt(m.LegOffset, 10), strconv.FormatInt(m.LegLength, 10), suspect)
	}
	fmt.Fprintln(a.out)
	if err := t.Write(a.out); err != nil {
		return err
	}
	if more := len(row.Mismatches) - most + row.More; more > 0 {
		fmt.Fprintf(a.out, "and %s more; --json lists them\n", count(more, "range"))
	}
	return nil
}
