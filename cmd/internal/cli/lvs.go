package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

type lvsOptions struct {
	evidenceFlags
	at      string
	removed bool
	hidden  bool
	explain bool
}

func newLVs(a *app) *cobra.Command {
	var o lvsOptions
	cmd := &cobra.Command{
		Use:   "lvs [VG] [SOURCE...]",
		Short: "List LVs with their segments and health",
		Long: `List the LVs of one volume group, or of all, with their segments, the places that these lie in
and what can be had of each. The first argument names a VG if no such file exists.`,
		Example:     "  lvrescue lvs vg0 disks/\n  lvrescue lvs vg0 --removed disks/\n  lvrescue lvs vg0 --at 7 --explain disk1.img disk2.img",
		Annotations: ends("every LV that is listed can be read in full", "something of an LV is lost or doubtful, or a source could not be read"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLVs(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.evidenceFlags.add(fs)
	fs.StringVar(&o.at, "at", "", "look at an older `SEQNO`, or SEQNO:DIGEST of a fork; see lvrescue history")
	o.addStrict(fs, "--at and --removed")
	fs.BoolVar(&o.removed, "removed", false, "list LVs of older versions that the current one no longer has, and removed thin devices whose trees are left; with -v all older states of thin devices")
	fs.BoolVarP(&o.hidden, "all", "a", false, "list hidden LVs too")
	fs.BoolVar(&o.explain, "explain", false, "show how each LV is put together, byte by byte")
	return cmd
}

func runLVs(ctx context.Context, a *app, o *lvsOptions, args []string) error {
	if o.at != "" && o.removed {
		return usagef("", "--at and --removed exclude each other: --removed looks at all older versions")
	}
	vgName, sources, err := onlyVG("lvrescue lvs", args)
	if err != nil {
		return err
	}
	g, err := a.gather(ctx, &o.evidenceFlags, sources, o.at != "" || o.removed)
	if err != nil {
		return err
	}
	defer g.Close()
	groups, err := g.groups(vgName)
	if err != nil {
		return err
	}
	if o.at != "" && len(groups) > 1 {
		return usagef("lvrescue lvs VG --at "+o.at, "--at needs one VG, found %d", len(groups))
	}
	var all []*assessed
	var findings []scan.Finding
	var reports []lvsReport
	for _, group := range groups {
		r, err := o.report(group, a.verbose)
		if err != nil {
			return err
		}
		reports, all, findings = append(reports, r), append(all, r.lvs...), append(findings, r.vg.Findings...)
	}
	if a.json {
		err = a.printJSON(g, append(findings, g.Result.Findings...), o.rows(reports)...)
	} else {
		err = a.printLVsReports(o, reports)
		a.warn(slices.Concat(failures(g.Result.Findings), findings))
	}
	if err != nil {
		return err
	}
	return verdict(all, g.Sources)
}

// lvsReport is what lvs shows of one VG.
type lvsReport struct {
	vg  *rebuild.VG
	lvs []*assessed // with --removed, each of the version that had it last
}

// report looks at the LVs of a VG; with --removed, all older states of thin devices too if
// wanted.
func (o *lvsOptions) report(g *rebuild.Group, all bool) (lvsReport, error) {
	vg, err := at(g, o.at)
	if err != nil {
		return lvsReport{}, err
	}
	if !o.removed {
		return lvsReport{vg, assessVG(vg, o.hidden)}, nil
	}
	r := lvsReport{vg: vg}
	placed := map[*rebuild.Version]*rebuild.VG{}
	shown := map[*rebuild.Version]map[*metadata.LV]*metadata.LV{}
	for _, lv := range g.Removed() {
		v := lv.Version
		if placed[v] == nil {
			placed[v], shown[v] = g.At(v), v.Meta.Shown()
		}
		if o.hidden || shown[v][lv.LV] != nil {
			r.lvs = append(r.lvs, assess(placed[v], lv.LV).show(shown[v]))
		}
	}
	for _, o := range activate.OlderThins(vg, volume.OpenVolume, all) {
		if all || !r.hasThin(o) {
			r.lvs = append(r.lvs, assess(vg, o.LV))
		}
	}
	return r, nil
}

// hasThin tells whether an older version of the VG has given a removed thin device its name.
func (r *lvsReport) hasThin(o activate.OlderThin) bool {
	return slices.ContainsFunc(r.lvs, func(s *assessed) bool {
		for _, seg := range s.lv.Segments {
			f, err := seg.Thin()
			if err == nil && f.Pool == o.Pool.Name && f.DeviceID == int64(o.State.ID) && o.State.Known != nil && f.TransactionID == int64(o.State.Known.TransactionID) {
				return true
			}
		}
		return false
	})
}

func (o *lvsOptions) rows(reports []lvsReport) []reportRows {
	var rows []reportRows
	for _, r := range reports {
		row := reportRows{VG: []vgRow{vgRowOf(r.vg, usageOf(r.vg.Meta))}}
		for _, s := range r.lvs {
			lv := lvRowOf(s)
			if o.explain && s.plan != nil {
				lv.Plan = planRows(s.plan)
			}
			row.LV = append(row.LV, lv)
			row.Seg = append(row.Seg, segRows(s)...)
		}
		rows = append(rows, row)
	}
	return rows
}

// segRows lists the segments of an LV as the metadata has them.
func segRows(s *assessed) []segRow {
	es := s.vg.Meta.ExtentSize * block.SectorSize
	var rows []segRow
	for _, seg := range s.segments {
		row := segRow{LV: s.lv.Name, VG: s.vg.Meta.Name, Type: segType(seg), Start: seg.StartExtent * es, StartPE: seg.StartExtent,
			Size: seg.ExtentCount * es, SizePE: seg.ExtentCount, Stripes: len(legs(seg)), StripeSize: seg.StripeSize * block.SectorSize,
			Devices: devices(s.vg, seg), Health: string(volume.Lost)}
		if s.dev != nil {
			totals := s.totals
			if row.Size != s.dev.Size() {
				totals = block.Summarise(block.NewSection(s.dev, row.Start, row.Size, ""))
			}
			row.Health = string(volume.Judge(totals))
		}
		rows = append(rows, row)
	}
	return rows
}

// segType is the segment type as lvm2 reports it: the metadata calls linear ones striped.
func segType(s *metadata.Segment) string {
	if s.TypeName() == "striped" && len(s.Areas) == 1 {
		return "linear"
	}
	return s.TypeName()
}

// legs are the areas of a segment that hold data: all but the metadata of RAID legs, as
// lvs counts stripes and lists devices.
func legs(s *metadata.Segment) []metadata.Area {
	if !strings.HasPrefix(s.Type, "raid") {
		return s.Areas
	}
	raid, err := s.RAID()
	if err != nil {
		return s.Areas
	}
	var legs []metadata.Area
	for _, l := range raid.Legs {
		legs = append(legs, metadata.Area{Name: l.Image})
	}
	return legs
}

// devices names the places of a segment's areas as lvs -o devices does: device(extent).
func devices(vg *rebuild.VG, s *metadata.Segment) []string {
	names := []string{}
	for _, area := range legs(s) {
		name := area.Name
		if p := vg.PV(area.Name); p != nil && p.Missing() {
			name = "[" + p.Meta.Key + " missing]"
		} else if p != nil {
			name = p.Found.String()
		}
		names = append(names, fmt.Sprintf("%s(%d)", name, area.Start))
	}
	return names
}

func (a *app) printLVsReports(o *lvsOptions, reports []lvsReport) error {
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		if err := a.printLVsReport(o, r); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printLVsReport(o *lvsOptions, r lvsReport) error {
	m := r.vg.Meta
	head := fmt.Sprintf("VG %s, seqno %s", m.Name, r.vg.Version.ID())
	if !m.CreationTime.IsZero() {
		head += ", written " + m.CreationTime.UTC().Format(timeLayout)
	}
	if o.removed {
		head += "; removed LVs, as they were last"
	}
	fmt.Fprintln(a.out, render.Paragraph("", head))
	if a.verbose && r.vg.Version == r.vg.Group.Current {
		fmt.Fprintln(a.out, render.Paragraph("  ", r.vg.Group.Choice))
	}
	if len(r.lvs) == 0 {
		fmt.Fprintln(a.out, "  no LVs")
		return nil
	}
	lvs := render.Table{Columns: []render.Column{render.Left("LV"), render.Right("LSize"), render.Left("Health"), render.Left("")}}
	if o.removed {
		lvs.Columns = slices.Insert(lvs.Columns, 1, render.Right("Seqno"))
	}
	segs := render.Table{Columns: []render.Column{render.Left("LV"), render.Right("Start"), render.Right("SSize"), render.Left("Type"), render.Right("#Str"), render.Right("Stripe"), render.Left("Health"), render.Left("Devices")}}
	for _, s := range r.lvs {
		row := []string{s.shownName(), a.size(lvRowOf(s).Size), string(s.health), s.reason(a)}
		if o.removed {
			row = slices.Insert(row, 1, s.vg.Version.ID())
		}
		lvs.Add(row...)
		for _, seg := range segRows(s) {
			stripe := ""
			if seg.StripeSize > 0 {
				stripe = a.size(seg.StripeSize)
			}
			segs.Add(s.shownName(), a.size(seg.Start), a.size(seg.Size), seg.Type, strconv.Itoa(seg.Stripes), stripe, seg.Health, strings.Join(seg.Devices, " "))
		}
	}
	if err := a.printTable(&lvs); err != nil {
		return err
	}
	if err := a.printTable(&segs); err != nil || !o.explain {
		return err
	}
	return a.explain(r.lvs)
}

// shownName is the LV's name, a hidden one's in brackets, as lvm2 shows it.
func (s *assessed) shownName() string {
	if s.hidden {
		return "[" + s.lv.Name + "]"
	}
	return s.lv.Name
}

// explain prints the plans that the LVs are read by.
func (a *app) explain(lvs []*assessed) error {
	t := render.Table{Columns: []render.Column{render.Left("LV"), render.Right("Offset"), render.Right("Length"), render.Left("Target and what it reads, in bytes")}}
	for _, s := range lvs {
		if s.plan == nil {
			t.Add(s.lv.Name, "", "", s.err.Error())
			continue
		}
		for _, r := range planRows(s.plan) {
			t.Add(r.LV, strconv.FormatInt(r.Off, 10), strconv.FormatInt(r.Len, 10), strings.TrimSuffix(r.Target+": "+strings.Join(r.Inputs, " "), ": "))
		}
	}
	if err := a.printTable(&t); err != nil {
		return err
	}
	for _, s := range lvs {
		if s.plan == nil {
			continue
		}
		for _, n := range s.plan.Notes {
			fmt.Fprintln(a.out, render.Paragraph("  ! ", n.LV+": "+n.Text))
		}
	}
	return nil
}
