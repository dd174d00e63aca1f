package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate/dm"
	"github.com/lvrescue/lvrescue/activate/domain"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/rebuild"
)

type activateOptions struct {
	evidenceFlags
	at      string
	name    string
	missing string
	overlay string
	dryRun  bool
}

func newActivate(a *app) *cobra.Command {
	var o activateOptions
	cmd := &cobra.Command{
		Use:   "activate VG|VG/LV... [SOURCE...]",
		Short: "Make read-only devices of LVs in /dev/mapper",
		Long: `Put an LV, or all LVs of a VG, on the kernel's device-mapper: read-only, without lvm2, and so that
not one bit of a source changes. Image files are attached to read-only loop devices, block devices
are used as they are.

With --overlay the devices can be written to, so that a filesystem may replay its journal or be
repaired: what is written goes to a file in DIR, which is used again the next time.

What is lost gives read errors at exactly its place. An LV that the kernel cannot give as lvrescue
reads it is refused, and export or serve offered instead. Each LV is made in full or not at all.
lvrescue status lists what was made, lvrescue deactivate takes it down.`,
		Example:     "  lvrescue activate vg0 disks/\n  mount -o ro,noload /dev/mapper/lvrescue-vg0-home /mnt\n  lvrescue activate vg0/home --overlay /var/tmp/vg0 disks/\n  lvrescue activate vg0/home --dry-run disks/",
		Annotations: ends("the devices were made, and can be read in full", "devices were made, but something is lost or doubtful, or an LV of several was refused"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runActivate(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.evidenceFlags.add(fs)
	fs.StringVar(&o.at, "at", "", "activate as of an older `SEQNO`; see lvrescue history")
	fs.StringVar(&o.name, "name", "", "the `NAME` of the device, for one LV (default lvrescue-VG-LV)")
	fs.StringVar(&o.missing, "missing", "error", "what is read where bytes are lost: `error|zero`")
	fs.StringVar(&o.overlay, "overlay", "", "make the devices writable: what is written goes to NAME.cow in `DIR`")
	fs.BoolVar(&o.dryRun, "dry-run", false, "print the commands for losetup and dmsetup that do the same, and do nothing")
	complete(cmd, "missing", "error", "zero")
	return cmd
}

// check refuses what cannot be meant.
func (o *activateOptions) check(w wanted) error {
	if o.missing != "error" && o.missing != "zero" {
		return usagef("", "--missing %q: expected error or zero", o.missing)
	}
	if o.name == "" {
		return nil
	}
	if len(w.names) != 1 {
		return usagef("name one LV: VG/LV", "--name is for one LV")
	}
	if err := dm.CheckName(o.name); err != nil {
		return usagef("", "--name: %w", err)
	}
	return nil
}

// activeRow is an LV that was made, or is there.
type activeRow struct {
	Device  string   `json:"device"`
	Full    string   `json:"lv_full_name"`
	UUID    string   `json:"dm_uuid"`
	Size    int64    `json:"lv_size,omitempty"`
	Health  string   `json:"rescue_health"`
	Reasons []string `json:"rescue_reasons"`
	Sources []string `json:"sources"`
	Script  string   `json:"script,omitempty"`
	Open    *int     `json:"open_count,omitempty"`
	Overlay string   `json:"overlay,omitempty"`
	Used    int64    `json:"overlay_used,omitempty"`
	Most    int64    `json:"overlay_size,omitempty"`
	Left    int64    `json:"overlay_left,omitempty"`
	Error   string   `json:"rescue_error,omitempty"`
}

func runActivate(ctx context.Context, a *app, o *activateOptions, args []string) error {
	w, sources, err := splitLVs(args)
	if err != nil {
		return err
	}
	if err := o.check(w); err != nil {
		return err
	}
	g, err := a.gather(ctx, &o.evidenceFlags, sources, o.at != "")
	if err != nil {
		return err
	}
	defer g.Close()
	lvs, err := g.pick(w, o.at, false)
	if err != nil {
		return err
	}
	a.warn(slices.Concat(failures(g.Result.Findings), lvs[0].vg.Findings))
	run := &activation{app: a, options: o, sources: dm.Sources{}}
	if o.overlay != "" {
		keep, err := g.protectedAll(lvs, len(sources) > 0)
		if err == nil {
			err = onNoSource(existing(o.overlay), keep)
		}
		if err != nil {
			return err
		}
	}
	if !o.dryRun {
		if run.host, err = dm.Open(); err != nil {
			return withAdvice(err)
		}
		defer run.host.Close()
	}
	worst := run.all(ctx, lvs)
	return errors.Join(run.print(g, lvs[0].vg), worst)
}

// existing is a folder, or the nearest above it that is there.
func existing(dir string) string {
	for !exists(dir) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
	}
	return dir
}

// activation is one call of activate.
type activation struct {
	app     *app
	options *activateOptions
	host    *dm.Host // nil in a dry run
	sources dm.Sources
	rows    []activeRow
	stacks  []*dm.Stack // of rows
	failed  []activeRow
}

// all makes the devices of the LVs, one after the other.
func (r *activation) all(ctx context.Context, lvs []*assessed) (worst error) {
	for _, s := range lvs {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := r.one(s)
		var live *dm.LiveError
		switch {
		case err == nil && s.whole():
			continue
		case err != nil && len(lvs) == 1, errors.As(err, &live): // which goes for all of the VG
			return err
		case err != nil:
			reportError(r.app.err, err)
			r.failed = append(r.failed, activeRow{Full: s.name(), Health: string(s.health), Reasons: []string{}, Sources: []string{}, Error: err.Error()})
		}
		worst = errPartial
	}
	if len(r.rows) == 0 {
		return &exitError{code: exitFailed}
	}
	return worst
}

// one makes the devices of one LV.
func (r *activation) one(s *assessed) error {
	if s.err != nil {
		return fmt.Errorf("%s: %w", s.name(), s.err)
	}
	opt := dm.Options{Name: r.options.name, ZeroLost: r.options.missing == "zero", Open: volume.OpenVolume}
	stack, err := dm.Compile(s.plan, opt, r.sources)
	if err != nil {
		return withAdvice(err)
	}
	row := activeRow{
		Device: "/dev/mapper/" + stack.Top().Name, Full: s.name(), UUID: stack.Top().UUID, Size: stack.Top().Size,
		Health: string(s.health), Reasons: list(append(r.app.causes(s.totals), s.gone(s.totals.Causes())...)), Sources: []string{},
	}
	needs, _ := domain.OfLVs(s.plan)
	for _, n := range needs {
		row.Sources = append(row.Sources, n.Source.Name)
	}
	if r.options.overlay != "" {
		o, err := stack.AddOverlay(r.options.overlay)
		if err != nil {
			return hinted(fmt.Errorf("%s: %w", s.name(), err), "use another folder, or remove the file if what was written is not needed")
		}
		row.Overlay = o.Path
	}
	if r.host != nil {
		if err := r.make(s, stack, row); err != nil {
			return withAdvice(fmt.Errorf("%s: %w", s.name(), err))
		}
	}
	r.rows, r.stacks = append(r.rows, row), append(r.stacks, stack)
	return nil
}

// make has the kernel make what is to be reported as row.
func (r *activation) make(s *assessed, stack *dm.Stack, row activeRow) error {
	if err := r.host.Live(s.vg.Meta.Name, s.vg.Meta.ID); err != nil {
		return err
	}
	if row.Overlay != "" {
		dir := filepath.Dir(row.Overlay)
		if left := r.host.Left(dir); left < row.Size {
			say(r.app.err, "warning: ", fmt.Sprintf("the overlay of %s may grow to %s, and %s has %s left: lvrescue status tells how full it is",
				row.Full, r.app.size(row.Size), dir, r.app.size(left)))
		}
	}
	return r.host.Activate(stack, dm.Record{Health: row.Health, Reasons: row.Reasons, Sources: row.Sources})
}

// print tells what was made.
func (r *activation) print(g *gathered, vg *rebuild.VG) error {
	a := r.app
	if a.json {
		if r.host == nil {
			for i := range r.rows {
				var b strings.Builder
				if err := dm.Script(&b, r.stacks[i:i+1]); err != nil {
					return err
				}
				r.rows[i].Script = b.String()
			}
		}
		return a.printJSON(g, slices.Concat(vg.Findings, g.Result.Findings), reportRows{Active: append(r.rows, r.failed...)})
	}
	if r.host == nil {
		for _, row := range r.rows {
			fmt.Fprintln(a.out, render.Comment(fmt.Sprintf("%s: %s, %s", row.Full, a.size(row.Size), health(row))))
		}
		return dm.Script(a.out, r.stacks)
	}
	if len(r.rows) == 0 {
		return nil
	}
	t := render.Table{Columns: []render.Column{render.Left("Device"), render.Left("LV"), render.Right("LSize"), render.Left("Health")}}
	for _, row := range r.rows {
		t.Add(row.Device, row.Full, a.size(row.Size), health(row))
	}
	return t.Write(a.out)
}

// health is the health of a row with its reasons.
func health(row activeRow) string {
	return strings.Join(append([]string{row.Health}, row.Reasons...), "; ")
}

// withAdvice adds to an error from device-mapper what the user may do.
func withAdvice(err error) error {
	var cannot *dm.CannotError
	var live *dm.LiveError
	var active *dm.ActiveError
	var name *dm.NameError
	var target *dm.TargetError
	var control *dm.ControlError
	var busy *dm.BusyError
	switch {
	case errors.As(err, &cannot):
		return hinted(err, "lvrescue export %[1]s and lvrescue serve %[1]s read it in user space", cannot.LV)
	case errors.As(err, &live):
		return hinted(err, "use LVM's own devices, or vgchange -an %s first; lvrescue export reads the disks as they are", live.VG)
	case errors.As(err, &active):
		return hinted(err, "lvrescue status shows it; lvrescue deactivate %s takes it down", active.LV)
	case errors.As(err, &name):
		return hinted(err, "--name gives the device another name")
	case errors.As(err, &target):
		return hinted(err, "load its module: modprobe %s; lvrescue export and lvrescue serve need no kernel", target.Module())
	case errors.As(err, &busy):
		return hinted(err, "unmount it, or end what uses it, then run the same command again")
	case errors.Is(err, fs.ErrPermission):
		return hinted(err, "run it as root; lvrescue export, lvrescue serve and activate --dry-run do not need that")
	case errors.As(err, &control):
		return hinted(err, "perhaps its module is not loaded: modprobe dm-mod; lvrescue export and lvrescue serve need no device-mapper")
	}
	return err
}
