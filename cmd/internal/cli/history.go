package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

type historyOptions struct {
	evidenceFlags
	show string
	diff string
}

func newHistory(a *app) *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:   "history [VG] [SOURCE...]",
		Short: "List the versions of a VG's metadata that are still on the disks",
		Long: `List every version of a volume group's metadata that is found in the metadata areas, oldest
first: lvm2 overwrites old versions only when a ring is full, so that many are still there.
The version marked with * is the one that the other commands stand on; --at chooses another.
Above the list stands which VGs it came from; in it, which seqnos are missing, and what of a
damaged version was repaired from those beside it. -v adds hosts, disks and checksums.

--show prints a version as lvm2 would (vgcfgrestore reads it). --diff tells in LVM's terms
what changed between two versions, or from the one before.`,
		Example:     "  lvrescue history vg0 disks/\n  lvrescue history vg0 disks/ --show 12 > vg0.backup\n  lvrescue history vg0 disks/ --diff 9 12",
		Annotations: ends("it was printed", "a source could not be read, or the version that is printed is damaged"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runHistory(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.evidenceFlags.add(fs)
	fs.StringVar(&o.show, "show", "", "print the metadata text of version `SEQNO`")
	fs.StringVar(&o.diff, "diff", "", "tell what changed from version `A [B]`: from A to B, or from the one before to A")
	return cmd
}

var versionName = regexp.MustCompile(`^[0-9]+(:[0-9a-f]+)?$`)

// joinDiff makes one argument of "--diff A B", which the flag package cannot read.
func joinDiff(args []string) []string {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if arg == "--diff" && i+2 < len(args) && versionName.MatchString(args[i+1]) && versionName.MatchString(args[i+2]) && !exists(args[i+2]) {
			joined := append([]string{}, args[:i]...)
			return append(append(joined, "--diff="+args[i+1]+" "+args[i+2]), args[i+3:]...)
		}
	}
	return args
}

func runHistory(ctx context.Context, a *app, o *historyOptions, args []string) error {
	if o.show != "" && o.diff != "" {
		return usagef("", "--show and --diff exclude each other")
	}
	vgName, sources, err := onlyVG("lvrescue history", args)
	if err != nil {
		return err
	}
	g, err := a.gather(ctx, &o.evidenceFlags, sources, true)
	if err != nil {
		return err
	}
	defer g.Close()
	groups, err := g.groups(vgName)
	if err != nil {
		return err
	}
	a.warn(failures(g.Result.Findings))
	switch {
	case o.show == "" && o.diff == "":
		err = a.listVersions(g, groups)
	case len(groups) > 1:
		return usagef("name the VG before the sources", "--show and --diff need one VG, found %d", len(groups))
	case o.show != "":
		err = a.showVersion(g, groups[0], o.show)
	default:
		err = a.diffVersions(g, groups[0], o.diff)
	}
	if err != nil {
		return err
	}
	return verdict(nil, g.Sources)
}

type versionRow struct {
	VG          string    `json:"vg_name"`
	UUID        string    `json:"vg_uuid"`
	Seqno       uint32    `json:"vg_seqno"`
	ID          string    `json:"rescue_version"`
	Current     bool      `json:"rescue_current"`
	Fork        bool      `json:"rescue_fork"`
	Written     string    `json:"rescue_written,omitempty"`
	Host        string    `json:"rescue_host"`
	Description string    `json:"rescue_description"`
	PVCount     int       `json:"pv_count"`
	LVCount     int       `json:"lv_count"`
	Strength    string    `json:"rescue_strength"`
	Repaired    []string  `json:"rescue_repaired,omitempty"` // what was taken from the versions beside it
	Damage      string    `json:"rescue_damage,omitempty"`
	SHA256      string    `json:"rescue_sha256"`
	Copies      []copyRow `json:"rescue_copies"`
	Text        string    `json:"rescue_text,omitempty"`
}

type copyRow struct {
	Source   string `json:"source"`
	Offset   int64  `json:"offset"`
	Slot     string `json:"slot"`
	Checksum string `json:"checksum"`
}

// kinRow is how a VG has to do with another.
type kinRow struct {
	VG    string `json:"vg_name"`
	Kind  string `json:"kind"`
	Other string `json:"other_vg_uuid,omitempty"`
	Text  string `json:"text"`
}

// gapRow is a run of seqnos of which no whole version was found.
type gapRow struct {
	VG   string `json:"vg_name"`
	From uint32 `json:"from"`
	To   uint32 `json:"to"`
}

type changeRow struct {
	Kind string `json:"kind"`
	LV   string `json:"lv_name,omitempty"`
	PV   string `json:"rescue_pv_key,omitempty"`
	Text string `json:"text"`
}

func versionRowOf(g *rebuild.Group, v *rebuild.Version) versionRow {
	m := v.Meta
	row := versionRow{VG: m.Name, UUID: m.ID.String(), Seqno: m.Seqno, ID: v.ID(), Current: v == g.Current, Fork: v.Fork,
		Host: m.CreationHost, Description: m.Description, PVCount: len(m.PVs), LVCount: usageOf(m).visible,
		Strength: v.Strength().String(), SHA256: fmt.Sprintf("%x", v.Content.SHA256), Copies: []copyRow{}}
	if !m.CreationTime.IsZero() {
		row.Written = m.CreationTime.UTC().Format(timeLayout)
	}
	if v.Damage != nil {
		row.Damage = v.Damage.Error()
	}
	row.Repaired = v.Repaired
	for _, c := range v.Copies {
		row.Copies = append(row.Copies, copyRow{c.Source.Name, c.Offset, c.Slot.String(), c.Checksum.String()})
	}
	return row
}

func (a *app) listVersions(g *gathered, groups []*rebuild.Group) error {
	var rows []reportRows
	var findings []scan.Finding
	for i, group := range groups {
		findings = append(findings, group.Findings...)
		r := reportRows{}
		for _, v := range group.Versions {
			r.Version = append(r.Version, versionRowOf(group, v))
		}
		for _, gap := range group.Gaps() {
			r.Gap = append(r.Gap, gapRow{group.Name(), gap.From, gap.To})
		}
		for _, k := range group.Ancestry() {
			row := kinRow{group.Name(), k.Kind, "", k.Text}
			if k.Other != nil {
				row.Other = k.Other.ID.String()
			}
			r.Kin = append(r.Kin, row)
		}
		rows = append(rows, r)
		if a.json {
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		if err := a.printVersions(group, r); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(g, append(findings, g.Result.Findings...), rows...)
	}
	a.warn(findings)
	return nil
}

func (a *app) printVersions(g *rebuild.Group, r reportRows) error {
	rows := r.Version
	fmt.Fprintln(a.out, render.Paragraph("", fmt.Sprintf("VG %s, UUID %s: %s", g.Name(), g.ID, count(len(rows), "version"))))
	for _, k := range r.Kin {
		fmt.Fprintln(a.out, render.Paragraph("  ", k.Text))
	}
	t := render.Table{Columns: []render.Column{render.Right("Seqno"), render.Left(""), render.Left("Written"), render.Right("#PV"), render.Right("#LV"), render.Left("Copies"), render.Left("By")}}
	gaps := g.Gaps()
	for i, r := range rows {
		mark := ""
		if r.Current {
			mark = "*"
		}
		by := r.Description
		if r.Damage != "" {
			by = "damaged: " + r.Damage
		}
		if len(r.Repaired) > 0 {
			by = "repaired: " + strings.Join(r.Repaired, ", ") + "; " + by
		}
		if changes := a.changesInto(g, i); changes != "" {
			by += " → " + changes
		}
		if a.verbose {
			by += fmt.Sprintf(" (host %s; on %s; %s)", cmp.Or(r.Host, "unknown"), strings.Join(carriers(r.Copies), ", "), r.Strength)
		}
		if len(gaps) > 0 && gaps[0].Before == g.Versions[i] {
			t.Add("…", "", "("+gaps[0].String()+" not found whole)")
			gaps = gaps[1:]
		}
		t.Add(r.ID, mark, r.Written, strconv.Itoa(r.PVCount), strconv.Itoa(r.LVCount), slots(r.Copies), by)
	}
	return a.printTable(&t)
}

// carriers lists the sources that a version stands on, each once.
func carriers(copies []copyRow) []string {
	var names []string
	for _, c := range copies {
		if !slices.Contains(names, c.Source) {
			names = append(names, c.Source)
		}
	}
	return names
}

// changesInto says, with --verbose, what the i-th version changed.
func (a *app) changesInto(g *rebuild.Group, i int) string {
	if !a.verbose || i == 0 {
		return ""
	}
	var texts []string
	for _, c := range rebuild.Diff(g.Versions[i-1].Meta, g.Versions[i].Meta) {
		texts = append(texts, c.Text)
	}
	return strings.Join(texts, "; ")
}

// slots sums up where the copies of a version stand: "2 committed, 1 ring".
func slots(copies []copyRow) string {
	var order []string
	n := map[string]int{}
	for _, c := range copies {
		if n[c.Slot] == 0 {
			order = append(order, c.Slot)
		}
		n[c.Slot]++
	}
	for i, s := range order {
		order[i] = fmt.Sprintf("%d %s", n[s], s)
	}
	return strings.Join(order, ", ")
}

// showVersion prints a version's text as lvm2 writes backup files.
func (a *app) showVersion(g *gathered, group *rebuild.Group, name string) error {
	v, err := namedVersion(group, name)
	if err != nil {
		return err
	}
	text := metadata.Encode(v.Meta, metadata.File)
	if len(v.Repaired) > 0 {
		text = slices.Concat([]byte("# repaired from the versions before and behind it, which agree: "+render.Printable(strings.Join(v.Repaired, ", "))+"\n"), text)
	}
	if a.json {
		row := versionRowOf(group, v)
		row.Text = string(text)
		err = a.printJSON(g, group.Findings, reportRows{Version: []versionRow{row}})
	} else {
		_, err = a.out.Write(text)
	}
	if err != nil {
		return err
	}
	if v.Damage != nil {
		say(a.err, "warning: ", fmt.Sprintf("version %s is damaged; what is intact was printed: %v", v.ID(), v.Damage))
		return errPartial
	}
	return nil
}

// diffVersions prints what changed from one version to another.
func (a *app) diffVersions(g *gathered, group *rebuild.Group, arg string) error {
	from, to, err := diffPair(group, arg)
	if err != nil {
		return err
	}
	changes := rebuild.Diff(from.Meta, to.Meta)
	if a.json {
		rows := []changeRow{}
		for _, c := range changes {
			rows = append(rows, changeRow{c.Kind, c.LV, c.PV, c.Text})
		}
		return a.printJSON(g, group.Findings, reportRows{
			Version: []versionRow{versionRowOf(group, from), versionRowOf(group, to)}, Change: rows})
	}
	fmt.Fprintln(a.out, render.Paragraph("", fmt.Sprintf("VG %s from seqno %s to %s:", group.Name(), from.ID(), to.ID())))
	for _, c := range changes {
		fmt.Fprintln(a.out, render.Paragraph("  ", c.Text))
	}
	if len(changes) == 0 {
		fmt.Fprintln(a.out, "  no changes")
	}
	return nil
}

// diffPair finds the versions that --diff names: two, or one and the one before it.
func diffPair(g *rebuild.Group, arg string) (from, to *rebuild.Version, err error) {
	names := strings.Fields(strings.NewReplacer(",", " ", "..", " ").Replace(arg))
	switch len(names) {
	case 1:
		if to, err = namedVersion(g, names[0]); err != nil {
			return nil, nil, err
		}
		for _, v := range g.Versions {
			if v == to {
				break
			}
			from = v
		}
		if from == nil {
			return nil, nil, errors.New("no version before " + to.ID() + " was found to compare it with")
		}
		return from, to, nil
	case 2:
		if from, err = namedVersion(g, names[0]); err == nil {
			to, err = namedVersion(g, names[1])
		}
		return from, to, err
	}
	return nil, nil, usagef("", "--diff %q: expected one or two versions, as in --diff 9 12", arg)
}
