package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate/match"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// timeLayout shows times of metadata texts, in UTC.
const timeLayout = "2006-01-02 15:04:05 MST"

func newScan(a *app) *cobra.Command {
	var f evidenceFlags
	cmd := &cobra.Command{
		Use:   "scan [SOURCE...]",
		Short: "Find PVs, VGs and LVs, and say what can be had of each LV",
		Long: `Find the PVs on the sources, the volume groups that they belong to and the newest trustworthy
version of each, and say of every LV what of it can be read, what is lost, and why.

That version is the one that the disks call current. What was before, be it only a minute ago, is
told by lvrescue history.`,
		Example:     "  lvrescue scan disk1.img disk2.img\n  lvrescue scan --json disks/ | jq '.report[].lv'",
		Annotations: ends("every LV can be read in full", "something of an LV is lost or doubtful, a source could not be read, or there are PVs and no VG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runScan(cmd.Context(), a, &f, args)
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// maxProposals is how many places are proposed for a missing PV, if they are not alike.
const maxProposals = 2

// proposals tells of places where PVs that are missing may lie: the best for each, or all that
// nothing tells from the best.
func (g *gathered) proposals(vg *rebuild.VG) []scan.Finding {
	var list []scan.Finding
	for _, p := range vg.PVs {
		if !p.Missing() {
			continue
		}
		var best []*match.Candidate
		for _, c := range g.candidates {
			if c.Group.ID == vg.Group.ID && c.PV.ID == p.Meta.ID {
				best = append(best, c)
			}
		}
		alike := 0
		for alike < len(best) && best[alike].Why() == best[0].Why() {
			alike++
		}
		if alike > 1 {
			list = append(list, undecided(vg, best[:alike]))
			continue
		}
		for _, c := range best[:min(len(best), maxProposals)] {
			list = append(list, scan.Finding{Severity: scan.Warning, Code: "pv-candidate", Source: c.At.Source.Name, Offset: c.At.Offset,
				Text: fmt.Sprintf("may be PV %s of VG %s: %s; --assume %s uses it", c.PV.Key, vg.Meta.Name, c.Why(), c.Assume())})
		}
	}
	return list
}

// undecided tells of places that may all be one PV, for the same reasons.
func undecided(vg *rebuild.VG, alike []*match.Candidate) scan.Finding {
	const most = 8
	var places []string
	for _, c := range alike {
		places = append(places, c.At.String())
	}
	c := alike[0]
	return scan.Finding{Severity: scan.Warning, Code: "pv-candidate", Offset: -1,
		Text: fmt.Sprintf("PV %s of VG %s may be any of %s, for the same reasons: %s; nothing tells which; --assume %s=SOURCE[@OFFSET] uses one",
			c.PV.Key, vg.Meta.Name, enumerate(places, most, "place"), c.Why(), c.PV.ID)}
}

// scannedVG is a VG with all its LVs assessed.
type scannedVG struct {
	*rebuild.VG
	label string // its name, or where that is another's too, its UUID
	usage usage
	lvs   []*assessed
}

func runScan(ctx context.Context, a *app, f *evidenceFlags, sources []string) error {
	g, err := a.gather(ctx, f, sources, false)
	if err != nil {
		return err
	}
	defer g.Close()
	findings := slices.Clone(g.Result.Findings)
	var vgs []scannedVG
	var lvs []*assessed
	named := map[string]int{}
	for _, group := range g.Groups {
		named[group.Name()]++
	}
	for _, group := range g.Groups {
		vg := scannedVG{VG: group.At(nil), label: group.Name(), usage: usageOf(group.Current.Meta)}
		if named[group.Name()] > 1 {
			vg.label = group.ID.String()
		}
		vg.lvs = assessVG(vg.VG, false)
		findings = append(findings, vg.Findings...)
		findings = append(findings, g.proposals(vg.VG)...)
		vgs, lvs = append(vgs, vg), append(lvs, vg.lvs...)
	}
	if a.json {
		err = a.printJSON(g, findings, scanRows(g, vgs)...)
	} else {
		err = a.printScan(g, vgs, findings, nextSteps(vgs, f, sources, g.Result.Findings))
	}
	switch {
	case err != nil:
		return err
	case len(g.Groups) == 0 && len(g.Orphans) == 0:
		return &exitError{code: exitFailed}
	case len(g.Groups) == 0:
		return errPartial // PVs, but nothing that says what lies on them
	}
	return verdict(lvs, g.Sources)
}

func scanRows(g *gathered, vgs []scannedVG) []reportRows {
	var rows []reportRows
	for _, vg := range vgs {
		r := reportRows{VG: []vgRow{vgRowOf(vg.VG, vg.usage)}}
		for _, p := range vg.PVs {
			r.PV = append(r.PV, pvRowOf(vg.VG, p, vg.usage))
		}
		for _, s := range vg.lvs {
			r.LV = append(r.LV, lvRowOf(s))
		}
		rows = append(rows, r)
	}
	var orphans reportRows
	for _, p := range g.Orphans {
		orphans.PV = append(orphans.PV, pvRow{Name: p.String(), UUID: p.ID().String(), Format: "lvm2",
			DevSize: p.Label.DeviceSize, Tags: []string{}, Offset: &p.Offset, Where: p.Where})
	}
	if len(orphans.PV) > 0 {
		rows = append(rows, orphans)
	}
	return rows
}

// printScan is the report for a person: verdicts first, then what they rest on, and what
// to do next.
func (a *app) printScan(g *gathered, vgs []scannedVG, findings []scan.Finding, steps []string) error {
	if len(vgs) == 0 {
		fmt.Fprintf(a.out, "No volume group was found on %s.\n", count(len(g.Sources), "source"))
	}
	for _, vg := range vgs {
		fmt.Fprintln(a.out, render.Paragraph("", a.vgVerdict(vg)))
	}
	if err := a.printPVs(g, vgs); err != nil {
		return err
	}
	if err := a.printVGs(vgs); err != nil {
		return err
	}
	if err := a.printLVs(vgs); err != nil {
		return err
	}
	a.printFindings(findings)
	head := "\nNext: "
	for _, next := range steps {
		fmt.Fprintf(a.out, "%s%s\n", head, next)
		head = "      "
	}
	return nil
}

// vgVerdict says in a sentence what can be had of a VG.
func (a *app) vgVerdict(vg scannedVG) string {
	found := 0
	for _, p := range vg.PVs {
		if !p.Missing() {
			found++
		}
	}
	byHealth := map[volume.Health]int{}
	for _, s := range vg.lvs {
		byHealth[s.health]++
	}
	var lvs []string
	for _, h := range []volume.Health{volume.Complete, volume.Degraded, volume.Doubt, volume.Partial, volume.Lost} {
		switch n := byHealth[h]; {
		case n == 0:
		case len(lvs) == 0:
			lvs = append(lvs, count(n, "LV")+" "+string(h))
		default:
			lvs = append(lvs, fmt.Sprintf("%d %s", n, h))
		}
	}
	if len(lvs) == 0 {
		lvs = []string{"no LVs"}
	}
	name := vg.Meta.Name
	if vg.label != name {
		name += " (" + vg.label + ")"
	}
	s := fmt.Sprintf("VG %s: %d of %s found; %s", name, found, count(len(vg.PVs), "PV"), strings.Join(lvs, ", "))
	if lost := a.losses(vg.lvs); len(lost) > 0 {
		s += ": " + strings.Join(lost, "; ")
	}
	return s + "."
}

// losses says what is lost or doubtful of LVs, and for which reasons: a few of each.
func (a *app) losses(lvs []*assessed) []string {
	const mostReasons, mostLVs = 3, 4
	var reasons []string
	of := map[string][]string{}
	for _, s := range lvs {
		if s.whole() {
			continue
		}
		what, why := a.loss(s)
		if of[why] == nil {
			reasons = append(reasons, why)
		}
		of[why] = append(of[why], what)
	}
	var texts []string
	more := 0
	for i, why := range reasons {
		if what := of[why]; i < mostReasons {
			texts = append(texts, enumerate(what, mostLVs, "LV")+" "+why)
		} else {
			more += len(what)
		}
	}
	if more > 0 {
		texts = append(texts, fmt.Sprintf("and so on for %s", count(more, "more LV")))
	}
	return texts
}

// enumerate lists words, the last behind "and"; of many a few, and how many more there are.
func enumerate(words []string, most int, noun string) string {
	if more := len(words) - most; more > 0 {
		words = append(words[:most:most], count(more, "more "+noun))
	}
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// loss says how much of an LV is lost or doubtful, and the main reason.
func (a *app) loss(s *assessed) (what, why string) {
	n, state := s.totals.Bad, "lost"
	switch {
	case s.err != nil:
		return s.name(), fmt.Sprintf("cannot be read (%v)", s.err)
	case n == 0:
		n, state = s.totals.Doubtful, "doubtful"
	}
	part := "all"
	if n < s.totals.Size() {
		part = fmt.Sprintf("%s of %s", a.size(n), a.size(s.totals.Size()))
	}
	return part + " of " + s.name(), state + " because " + because(s.totals.Causes())
}

// because is the main reason, and how many more there are.
func because(causes []block.Cause) string {
	s := causes[0].Why
	if more := len(causes) - 1; more > 0 {
		s += " (and " + count(more, "other reason") + ")"
	}
	return s
}

func (a *app) printPVs(g *gathered, vgs []scannedVG) error {
	t := render.Table{Columns: []render.Column{render.Left("PV"), render.Left("VG"), render.Left("Key"), render.Right("PSize"), render.Right("PFree"), render.Left("")}}
	for _, vg := range vgs {
		for _, p := range vg.PVs {
			row := pvRowOf(vg.VG, p, vg.usage)
			note := p.Doubt
			switch {
			case p.Missing():
				note = "missing: " + p.Meta.ID.String()
				if p.Meta.Device != "" {
					note += ", last seen as " + p.Meta.Device
				}
			case note == "":
				note = p.Found.Where
			}
			t.Add(row.Name, vg.label, row.Key, a.size(row.Size), a.size(row.Free), note)
		}
	}
	for _, p := range g.Orphans {
		t.Add(p.String(), "", "", a.size(p.Label.DeviceSize), "", strings.TrimSuffix("in no VG that was found; "+p.Where, "; "))
	}
	return a.printTable(&t)
}

func (a *app) printVGs(vgs []scannedVG) error {
	t := render.Table{Columns: []render.Column{render.Left("VG"), render.Right("#PV"), render.Right("#LV"), render.Right("Seqno"), render.Right("VSize"), render.Right("VFree"), render.Left("Written"), render.Left("")}}
	for _, vg := range vgs {
		row := vgRowOf(vg.VG, vg.usage)
		note := row.Doubt
		if a.verbose {
			note = strings.TrimPrefix(note+"; "+row.Choice+"; UUID "+row.UUID, "; ")
		}
		t.Add(vg.label, strconv.Itoa(row.PVCount), strconv.Itoa(row.LVCount), row.Version, a.size(row.Size), a.size(row.Free), row.Written, note)
	}
	return a.printTable(&t)
}

func (a *app) printLVs(vgs []scannedVG) error {
	t := render.Table{Columns: []render.Column{render.Left("LV"), render.Left("VG"), render.Right("LSize"), render.Left("Health"), render.Left("")}}
	for _, vg := range vgs {
		for _, s := range vg.lvs {
			t.Add(s.lv.Name, vg.label, a.size(lvRowOf(s).Size), string(s.health), s.reason(a))
		}
	}
	return a.printTable(&t)
}

// printTable prints a table that has rows, behind an empty line.
func (a *app) printTable(t *render.Table) error {
	if len(t.Rows) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	return t.Write(a.out)
}

// opensFirst tells whether a finding names a format that has to be opened by other means before
// anything can be found in it.
func opensFirst(f scan.Finding) bool { return f.Code == scan.ImageFormat || f.Code == "luks" }

// nextSteps are the commands that go on from a scan.
func nextSteps(vgs []scannedVG, f *evidenceFlags, sources []string, findings []scan.Finding) []string {
	const most = 4
	var steps []string
	rest := append(f.args(), sources...)
	switch {
	case len(vgs) > 0, slices.ContainsFunc(findings, opensFirst):
	case f.caseDir != "":
		steps = append(steps, commandLine("lvrescue", "guess", "--case", f.caseDir))
	case len(sources) > 0:
		steps = append(steps, commandLine(append([]string{"lvrescue", "carve", "--case", "DIR"}, sources...)...))
	}
	for _, vg := range vgs {
		some := slices.ContainsFunc(vg.lvs, func(s *assessed) bool { return s.totals.Size() > s.totals.Bad })
		switch {
		case len(steps) == most:
		case some:
			steps = append(steps, commandLine(append([]string{"lvrescue", "export", vg.label, "--all", "-o", "DIR"}, rest...)...))
		case len(vg.lvs) == 0:
			steps = append(steps, commandLine(append([]string{"lvrescue", "lvs", vg.label, "--removed"}, rest...)...))
		}
	}
	return steps
}
