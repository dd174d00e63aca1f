package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/carve"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/scan"
)

type carveOptions struct {
	caseDir string
	maps    []string
	span    string
	deep    bool
	retry   bool
	merge   bool
}

func newCarve(a *app) *cobra.Command {
	var o carveOptions
	cmd := &cobra.Command{
		Use:   "carve SOURCE... --case DIR | carve --merge CASE... --case DIR",
		Short: "Search whole disks for labels, metadata and superblocks",
		Long: `Search every sector of the sources for what LVM2 leaves there: labels, metadata areas, metadata
texts, backup and archive files; and for superblocks that help to tell what stood where. What is
found goes into the case, a directory that all other commands then take with --case.

The same command goes on where a search has ended, after any interruption, also on another day;
more sources may be added at any time. What a mapfile calls unread, and holes of sparse files,
are not read.

With --range, several machines may each search a part of one source; --merge makes one case of
theirs.`,
		Example:     "  lvrescue carve disk.img --case found/\n  lvrescue scan --case found/\n  lvrescue carve disk.img --case part2/ --range 4T-8T\n  lvrescue carve --merge part1/ part2/ --case found/",
		Annotations: ends("all was searched", "something could not be searched, or too much was found to keep all of it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCarve(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.caseDir, "case", "", "the `DIR` that finds go to: a case, or new")
	fs.StringArrayVar(&o.maps, "map", nil, "a source and its ddrescue mapfile: `SOURCE=MAPFILE`")
	fs.StringVar(&o.span, "range", "", "search bytes `A-B` of the source only, as 0x10000-1G or 1T-")
	fs.BoolVar(&o.deep, "deep", false, "find texts at every byte: in tar files, journals, memory images; takes longer")
	fs.BoolVar(&o.retry, "retry", false, "read again what the disk refused before")
	fs.BoolVar(&o.merge, "merge", false, "add other cases to this one, instead of searching")
	return cmd
}

// gcPercent is how much memory may grow before it is tidied up: little, since a search runs for
// days beside other programs, and makes hardly any garbage.
const gcPercent = 30

// carveRow is what a search of one source has come to, as --json shows it.
type carveRow struct {
	Source   string        `json:"source"`
	ID       string        `json:"source_id"`
	Size     int64         `json:"size"`
	Wanted   int64         `json:"wanted"`
	Searched int64         `json:"searched"`
	Refused  int64         `json:"refused"`
	Unread   int64         `json:"unread"`
	New      int64         `json:"new_finds"`
	Left     string        `json:"left_out,omitempty"`
	Finds    []*carve.Find `json:"finds"`
}

func runCarve(ctx context.Context, a *app, o *carveOptions, args []string) error {
	debug.SetGCPercent(gcPercent)
	opt := carve.Options{Deep: o.deep, Retry: o.retry}
	var err error
	switch {
	case o.caseDir == "":
		return usagef("add --case DIR", "no case was named: finds need a directory to go to")
	case len(args) == 0 && o.merge:
		return usagef("lvrescue carve --merge CASE... --case DIR", "no case was named that is to be merged")
	case len(args) == 0:
		return usagef("name image files, block devices, or directories of images", "no source was named")
	case o.merge && (o.span != "" || o.deep || o.retry || len(o.maps) > 0):
		return usagef("", "--merge takes cases alone: nothing is searched")
	}
	if opt.From, opt.To, err = parseRange(o.span); err != nil {
		return err
	}
	if o.merge {
		return mergeCases(a, o, args)
	}
	maps, err := parseMaps(o.maps)
	if err != nil {
		return err
	}
	ev, err := scan.Run(ctx, args, scan.Options{Maps: maps})
	if err != nil {
		return err
	}
	defer ev.Close()
	if err := unopened(ev, true); err != nil {
		return err
	}
	for _, s := range ev.Sources {
		if s.Dev != nil && opt.From > 0 && opt.From >= s.Dev.Size() {
			return usagef("", "--range %q begins behind the end of %s, which has %d bytes", o.span, s.Name, s.Dev.Size())
		}
	}
	return o.search(ctx, a, ev, args, opt)
}

// search carves the sources that could be opened.
func (o *carveOptions) search(ctx context.Context, a *app, ev *scan.Evidence, args []string, opt carve.Options) error {
	keep, err := identities(ev.Sources)
	if err != nil {
		return err
	}
	if err := onNoSource(existing(o.caseDir), keep); err != nil {
		return err
	}
	c, err := carve.OpenToWrite(o.caseDir)
	if err != nil {
		return err
	}
	defer c.Close()
	var sources []*scan.Source
	for _, s := range ev.Sources {
		if s.Dev == nil {
			continue
		}
		if err := carve.Knowable(s); err != nil && c.Find(s) == nil {
			ev.Findings = append(ev.Findings, scan.Finding{Severity: scan.Error, Code: "source-unreadable", Source: s.Name, Offset: -1, Text: "is left out: " + err.Error()})
			continue
		}
		sources = append(sources, s)
		if old := c.Replaced(s); old != nil && c.Find(s) == nil {
			say(a.err, "warning: ", fmt.Sprintf("%s has other content than when it was searched into this case: it is searched as another disk", s.Name))
		}
	}
	var bar *render.Progress
	if !a.quiet {
		opt.Progress = a.carveProgress(&bar)
	}
	outcomes, err := c.Run(ctx, sources, opt)
	if bar != nil {
		bar.Close()
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	rows := carveRows(outcomes)
	findings := slices.Concat(failures(ev.Findings), carveFindings(a, outcomes))
	if a.json {
		err = errors.Join(err, a.printJSON(&gathered{Evidence: ev}, findings, reportRows{Carve: rows}))
	} else {
		err = errors.Join(err, a.printCarve(rows, findings, o.caseDir))
	}
	if ctx.Err() != nil {
		return hinted(fmt.Errorf("the search is not finished: %w", context.Cause(ctx)), "the same command goes on from there: %s", o.commandLine(args))
	}
	whole := !slices.ContainsFunc(rows, func(r carveRow) bool { return r.Searched < r.Wanted || r.Left != "" })
	if err == nil && (!whole || len(sources) < len(ev.Sources)) {
		return errPartial
	}
	return err
}

// commandLine is the command as the user would type it again.
func (o *carveOptions) commandLine(args []string) string {
	words := []string{"lvrescue", "carve", "--case", o.caseDir}
	if o.deep {
		words = append(words, "--deep")
	}
	if o.span != "" {
		words = append(words, "--range", o.span)
	}
	for _, m := range o.maps {
		words = append(words, "--map", m)
	}
	return commandLine(append(words, args...)...)
}

// carveProgress shows a search as soon as its size is known.
func (a *app) carveProgress(bar **render.Progress) func(carve.Progress) {
	var once sync.Once
	return func(p carve.Progress) {
		once.Do(func() { *bar = render.NewProgress(a.err, "carve", p.Total) })
		(*bar).Set(p.Done)
		(*bar).Note(count(int(p.Finds), "new find"))
	}
}

func carveRows(outcomes []*carve.Outcome) []carveRow {
	rows := []carveRow{}
	for _, o := range outcomes {
		rows = append(rows, carveRow{Source: o.Name, ID: o.Source.ID, Size: o.Source.Size, Wanted: o.Wanted,
			Searched: o.Searched, Refused: o.Refused, Unread: o.Unread, New: o.New, Left: o.Left, Finds: slices.Concat([]*carve.Find{}, o.Finds)})
	}
	return rows
}

// carveFindings tells what of the sources was not searched, and why.
func carveFindings(a *app, outcomes []*carve.Outcome) []scan.Finding {
	var all []scan.Finding
	for _, o := range outcomes {
		note := func(code, format string, args ...any) {
			all = append(all, scan.Finding{Severity: scan.Warning, Code: code, Source: o.Name, Offset: -1, Text: fmt.Sprintf(format, args...)})
		}
		if o.Unread > 0 {
			note("carve-unread", "%s were never read into it, and are not searched: once ddrescue has read them, the same command searches them", a.size(o.Unread))
		}
		if o.Refused > 0 {
			note("carve-refused", "%s cannot be read; --retry tries again", a.size(o.Refused))
		}
		if o.Changed {
			note("carve-changed", "was written to since it was searched last, as when ddrescue goes on: only what was left is searched now; a new case searches all of it")
		}
		if o.Left != "" {
			note("carve-limit", "there is too much of some kinds: left out are %s", o.Left)
		}
		if o.Damaged > 0 {
			note("case-damaged", "%d lines of its finds cannot be read; remove the case's map of it to search it again", o.Damaged)
		}
	}
	return all
}

// printCarve is the report for a person.
func (a *app) printCarve(rows []carveRow, findings []scan.Finding, dir string) error {
	t := render.Table{Columns: []render.Column{render.Left("Source"), render.Right("Offset"), render.Left("Kind"), render.Left("State"), render.Left("What it says")}}
	more := 0
	for _, r := range rows {
		fmt.Fprintln(a.out, render.Paragraph("", a.carveVerdict(r)))
		for _, f := range a.worthShowing(r.Finds) {
			if len(t.Rows) >= mostFindings && !a.verbose {
				more++
				continue
			}
			t.Add(r.Source, strconv.FormatInt(f.Offset, 10), f.Format(), findState(f), a.findText(f))
		}
	}
	if err := a.printTable(&t); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(a.out, "  … and %d more: --verbose shows all\n", more)
	}
	a.printFindings(findings)
	if slices.ContainsFunc(rows, func(r carveRow) bool { return len(r.Finds) > 0 }) {
		fmt.Fprintf(a.out, "\nNext: %s\n", commandLine("lvrescue", "scan", "--case", dir))
	}
	return nil
}

// carveVerdict says in a sentence what was found on a source.
func (a *app) carveVerdict(r carveRow) string {
	n := map[string]int{}
	var order []string
	for _, f := range r.Finds {
		kind := string(f.Kind)
		if n[kind] == 0 {
			order = append(order, kind)
		}
		n[kind]++
	}
	slices.Sort(order)
	var parts []string
	for _, kind := range order {
		parts = append(parts, count(n[kind], kind))
	}
	s := fmt.Sprintf("%s: %s of %s searched; ", r.Source, a.size(r.Searched), a.size(r.Wanted))
	if len(parts) == 0 {
		return s + "nothing was found."
	}
	return s + strings.Join(parts, ", ") + "."
}

// worthShowing orders finds for a person: what tells most first; of texts the newest.
func (a *app) worthShowing(finds []*carve.Find) []*carve.Find {
	list := slices.Clone(finds)
	slices.SortStableFunc(list, func(x, y *carve.Find) int {
		return cmp.Or(cmp.Compare(x.Kind.Rank(), y.Kind.Rank()), cmp.Compare(x.Name, y.Name), -cmp.Compare(x.Seqno, y.Seqno))
	})
	return list
}

// findState says how far a find can be trusted.
func findState(f *carve.Find) string {
	switch {
	case f.Checksum == "valid" && f.Damage == "":
		return "valid"
	case f.Checksum == "invalid":
		return "wrong checksum"
	case f.Damage != "":
		return "damaged"
	}
	return "whole"
}

// findText says what a find tells.
func (a *app) findText(f *carve.Find) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch f.Kind {
	case carve.Label, carve.Legacy:
		add("PV %s, %s", f.UUID, a.size(f.Size))
		if f.Says != "" {
			add("of %s, VG %s", f.Says, f.Name)
		}
	case carve.Area:
		add("%s with %s", a.size(f.Size), f.Says)
	case carve.Text, carve.Backup:
		add("VG %s seqno %d", f.Name, f.Seqno)
		if f.Time > 0 {
			add("%s", time.Unix(f.Time, 0).UTC().Format(timeLayout))
		}
		if f.Says != "" {
			add("%s", f.Says)
		}
	case carve.Devices:
		add("names of PVs; the case has it as texts/%s.vg", f.SHA256)
	case carve.Signed:
		a.signText(f, add)
	}
	if f.Start != nil && f.Kind != carve.Signed {
		add("PV from byte %d on", *f.Start)
	}
	if len(f.Pieces) > 0 {
		add("in %d pieces", len(f.Pieces))
	}
	if f.Damage != "" {
		add("%s", f.Damage)
	}
	return strings.Join(parts, "; ")
}

// signText says what a superblock tells.
func (a *app) signText(f *carve.Find, add func(format string, args ...any)) {
	if f.Size > 0 {
		add("%s", a.size(f.Size))
	}
	if f.Name != "" {
		add("label %s", f.Name)
	}
	if f.UUID != "" {
		add("UUID %s", f.UUID)
	}
	if r := f.Sign.Array; r != nil {
		add("level %d, position %d of %d", r.Level, r.Position, r.Devices)
	}
	if f.Sign.Backup {
		add("a copy")
	}
	if f.Start != nil {
		add("from byte %d on", *f.Start)
	}
}

// parseRange reads A-B, either of which may be missing.
func parseRange(s string) (from, to int64, err error) {
	if s == "" {
		return 0, 0, nil
	}
	a, b, ok := strings.Cut(s, "-")
	if ok && a != "" {
		from, err = parseBytes(a)
	}
	if ok && b != "" && err == nil {
		to, err = parseBytes(b)
	}
	switch {
	case err != nil:
		return 0, 0, usagef("", "--range %q: %w", s, err)
	case !ok || b != "" && to <= from:
		return 0, 0, usagef("", "--range %q: expected A-B with A below B, as 0-1T or 1T-", s)
	}
	return from, to, nil
}

// parseBytes reads a number of bytes, perhaps with a binary unit behind it.
func parseBytes(s string) (int64, error) {
	unit := int64(1)
	if i := strings.IndexByte("KMGTPE", strings.ToUpper(s)[len(s)-1]); i >= 0 && !strings.HasPrefix(strings.ToLower(s), "0x") {
		unit, s = 1<<(10*(i+1)), s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is no number of bytes", s)
	}
	return n * unit, nil
}

// parseMaps reads SOURCE=MAPFILE.
func parseMaps(list []string) (map[string]string, error) {
	maps := map[string]string{}
	for _, m := range list {
		source, mapfile, ok := splitPair(m)
		if !ok {
			return nil, usagef("", "--map %q: expected SOURCE=MAPFILE", m)
		}
		if !exists(mapfile) {
			return nil, hinted(fmt.Errorf("--map %q: there is no file %s", m, mapfile),
				"name the file that ddrescue was given behind source and image; without --map, SOURCE.map beside the source is used")
		}
		maps[source] = mapfile
	}
	return maps, nil
}
