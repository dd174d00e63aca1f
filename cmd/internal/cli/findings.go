package cli

import (
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/scan"
)

// mostFindings is how many findings a person is shown at once; --verbose and --json show
// all.
const mostFindings = 40

// shown picks the findings that a person wants to see, gravest first: those that differ,
// and informational ones only if wanted.
func (a *app) shown(all []scan.Finding) []scan.Finding {
	var list []scan.Finding
	seen := map[scan.Finding]bool{}
	for _, f := range all {
		if !seen[f] && (f.Severity > scan.Info || !a.quiet) {
			seen[f] = true
			list = append(list, f)
		}
	}
	slices.SortStableFunc(list, func(x, y scan.Finding) int { return int(y.Severity) - int(x.Severity) })
	return list
}

// printFindings lists findings as part of a report.
func (a *app) printFindings(all []scan.Finding) {
	list := a.shown(all)
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(a.out, "\nFindings:")
	for i, f := range list {
		if i == mostFindings && !a.verbose {
			fmt.Fprintf(a.out, "  … and %d more: --verbose shows all\n", len(list)-i)
			return
		}
		text := f.String()
		if a.verbose {
			text += " [" + f.Code + "]"
		}
		fmt.Fprintln(a.out, render.Paragraph(fmt.Sprintf("  %-8s ", f.Severity.String()+":"), text))
	}
}

// failures picks what could not be looked at as what it is: sources, directories, backup files,
// images of other formats.
func failures(all []scan.Finding) []scan.Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f scan.Finding) bool {
		return f.Severity < scan.Error && f.Code != scan.ImageFormat
	})
}

// warn tells of findings beside the results of a command: on stderr, and only what may
// make a difference. With --json they stand in the object.
func (a *app) warn(all []scan.Finding) {
	if a.json {
		return
	}
	n := 0
	for _, f := range a.shown(all) {
		if f.Severity == scan.Info && !a.verbose || f.Code == "pv-missing" { // the results name what that costs
			continue
		}
		if n++; n > mostFindings && !a.verbose {
			continue
		}
		say(a.err, f.Severity.String()+": ", f.String())
	}
	if n > mostFindings && !a.verbose {
		say(a.err, "warning: ", fmt.Sprintf("%d more findings: --verbose shows all", n-mostFindings))
	}
}
