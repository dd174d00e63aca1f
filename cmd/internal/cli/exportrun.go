package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/lvrescue/lvrescue/activate/domain"
	"github.com/lvrescue/lvrescue/activate/export"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// run exports one LV after the other. One that fails does not keep the next from its
// turn, unless the user has had enough.
func (o *exportOptions) run(ctx context.Context, a *app, g *gathered, jobs []exportJob, named bool) error {
	if o.all {
		if err := os.MkdirAll(o.out, 0o777); err != nil {
			return err
		}
	}
	a.warn(slices.Concat(failures(g.Result.Findings), jobs[0].lv.vg.Findings))
	var rows []lvRow
	var worst error
	failed := 0
	for _, job := range jobs {
		row, err := o.exportOne(ctx, a, g, job, named)
		var before *export.FinishedError
		if o.all && errors.As(err, &before) {
			row, err = a.finishedBefore(job.lv, before)
		}
		if codeOf(err) == exitFailed {
			failed++
		}
		if row != nil {
			rows = append(rows, *row)
		}
		if ctx.Err() != nil || len(jobs) == 1 {
			worst = err
			break
		}
		if err != nil && !errors.Is(err, errPartial) {
			reportError(a.err, fmt.Errorf("%s: %w", job.lv.name(), err))
		}
		switch {
		case isFault(err) || worst == errFault:
			worst = errFault
		case err != nil:
			worst = errPartial
		}
	}
	if worst == errPartial && failed == len(jobs) && len(jobs) > 1 && ctx.Err() == nil {
		worst = &exitError{code: exitFailed}
	}
	if a.json {
		findings := append(slices.Clone(jobs[0].lv.vg.Findings), g.Result.Findings...)
		if err := a.printJSON(g, findings, reportRows{LV: rows}); err != nil {
			return err
		}
	}
	return worst
}

// finishedBefore tells of an image that an earlier run of the command has finished.
func (a *app) finishedBefore(s *assessed, e *export.FinishedError) (*lvRow, error) {
	row := lvRowOf(s)
	row.File = e.Path
	if !a.json {
		fmt.Fprintln(a.out, render.Paragraph("", fmt.Sprintf("%s → %s: finished before, and left as it is", s.name(), e.Path)))
	}
	if !exists(e.Map) {
		return &row, nil
	}
	row.Map = e.Map
	if !a.json {
		fmt.Fprintf(a.out, "  map     %s\n", render.Printable(e.Map))
	}
	return &row, errPartial
}

// exportOne exports one LV. The row tells of what was delivered; it is nil if nothing was.
func (o *exportOptions) exportOne(ctx context.Context, a *app, g *gathered, job exportJob, named bool) (*lvRow, error) {
	s := job.lv
	if s.err != nil {
		return nil, s.err
	}
	keep, err := g.protected(s, named)
	if err != nil {
		return nil, err
	}
	opts := export.Options{
		Fill: export.Fill(o.fill), Hashes: o.hashes(), Resume: o.resume, Force: o.force,
		Identity: volume.Fingerprint(s.plan), Sources: keep,
	}
	closeProgress := func() {}
	if !a.quiet {
		p := render.NewProgress(a.err, s.name(), s.dev.Size())
		opts.Progress = func(e export.Progress) { p.Set(e.Done) }
		closeProgress = p.Close
	}
	sum, err := export.Run(ctx, s.dev, job.file, opts)
	closeProgress() // before anything else is printed
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, hinted(fmt.Errorf("%s: %w", s.name(), err), "the same command with --resume goes on from there")
	case errors.Is(err, syscall.ENOSPC):
		return nil, hinted(err, "make room, then run the same command again with --resume")
	case err != nil:
		return nil, err
	}
	row := lvRowOf(s)
	row.count(&sum.Totals)
	row.Health = string(volume.Assess(s.plan, &sum.Totals))
	row.File, row.Map, row.Hashes = sum.Path, sum.Map, map[string]string{}
	for _, h := range sum.Hashes {
		row.Hashes[h.Name] = fmt.Sprintf("%x", h.Sum)
	}
	if !a.json {
		a.printExport(s, sum)
	}
	if !sum.Totals.Whole() {
		return &row, errPartial
	}
	return &row, nil
}

// protected lists what the export must not write over: the sources that the user named, or,
// where all block devices of the machine are sources, those that hold the LV; their
// mapfiles; and backup files.
func (g *gathered) protected(s *assessed, named bool) ([]block.Identity, error) {
	sources := g.Sources
	if !named {
		sources = nil
		needs, _ := domain.OfLVs(s.plan)
		for _, n := range needs {
			sources = append(sources, n.Source)
		}
	}
	for _, c := range g.Copies {
		if c.Slot == scan.BackupFile {
			sources = append(sources[:len(sources):len(sources)], c.Source)
		}
	}
	return identities(sources)
}

// identities tells which storage the sources and their mapfiles are.
func identities(sources []*scan.Source) ([]block.Identity, error) {
	var ids []block.Identity
	for _, s := range sources {
		for _, path := range []string{s.Name, s.Mapfile} {
			if path == "" {
				continue
			}
			id, err := block.Identify(path)
			if errors.Is(err, fs.ErrNotExist) && s.Dev == nil {
				continue // no file, so that nothing can be written over
			}
			if err != nil {
				return nil, fmt.Errorf("%s: cannot make sure that it is not written to: %w", path, err)
			}
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// printExport tells what became of an export.
func (a *app) printExport(s *assessed, sum *export.Summary) {
	t := &sum.Totals
	line := fmt.Sprintf("%s → %s: %s, %s", s.name(), sum.Path, a.size(sum.Size), volume.Assess(s.plan, t))
	if !t.Whole() {
		line += fmt.Sprintf(": %s delivered", a.size(sum.Size-t.Bad))
	}
	if t.Bad > 0 {
		line += fmt.Sprintf(", %s lost", a.size(t.Bad))
	}
	if t.Doubtful > 0 {
		line += fmt.Sprintf(", %s doubtful", a.size(t.Doubtful))
	}
	if sum.Resumed > 0 {
		line += fmt.Sprintf("; %s were there from before", a.size(sum.Resumed))
	}
	fmt.Fprintln(a.out, render.Paragraph("", line+rate(sum)))
	causes := t.Causes()
	const most = 10
	for i, c := range causes {
		if i == most && !a.verbose {
			fmt.Fprintf(a.out, "  … and %d more reasons: the map has them all\n", len(causes)-i)
			break
		}
		mark := "-"
		if c.State == block.Doubtful {
			mark = "/"
		}
		fmt.Fprintln(a.out, render.Paragraph("  "+mark+" ", fmt.Sprintf("%s in %s: %s", a.size(c.Bytes), count(c.Ranges, "range"), c.Why)))
	}
	for _, text := range s.gone(causes) {
		fmt.Fprintln(a.out, render.Paragraph("  ! ", text))
	}
	if sum.Map != "" {
		fmt.Fprintf(a.out, "  map     %s\n", render.Printable(sum.Map))
	}
	for _, h := range sum.Hashes {
		fmt.Fprintf(a.out, "  %-7s %x\n", h.Name, h.Sum)
	}
}

// rate says how long an export took, if that was worth noting.
func rate(sum *export.Summary) string {
	if sum.Elapsed < time.Second {
		return ""
	}
	perSecond := float64(sum.Size-sum.Resumed) / cmp.Or(sum.Elapsed.Seconds(), 1)
	return fmt.Sprintf(" (%v, %s/s)", sum.Elapsed.Round(time.Second/10), render.Human.Size(int64(perSecond)))
}
