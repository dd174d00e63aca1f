package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate/dm"
	"github.com/lvrescue/lvrescue/activate/domain"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/rebuild"
)

type activateOptions struct {
	evidenceFlags
	at      string
	name    string
	missing string
	dryRun  bool
}

func newActivate(a *app) *cobra.Command {
	var o activateOptions
	cmd := &cobra.Command{
		Use:   "activate VG|VG/LV [SOURCE...]",
		Short: "Make read-only devices of LVs in /dev/mapper",
		Long: `Put an LV, or all LVs of a VG, on the kernel's device-mapper: read-only, without lvm2, and so that
not one bit of a source changes. Image files are attached to read-only loop devices, block devices
are used as they are.

What is lost gives read errors at exactly its place. An LV that the kernel cannot give as lvrescue
reads it is refused, and export or serve offered instead. Each LV is made in full or not at all.
lvrescue status lists what was made, lvrescue deactivate takes it down.`,
		Example: "  lvrescue activate vg0 disks/\n  mount -o ro,noload /dev/mapper/lvrescue-vg0-home /mnt\n  lvrescue activate vg0/home --dry-run disks/",
		RunE: func(cmd *cobra.Command, args []string) error {
			return runActivate(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.evidenceFlags.add(fs)
	fs.StringVar(&o.at, "at", "", "activate as of an older `SEQNO`; see lvrescue history")
	fs.StringVar(&o.name, "name", "", "the `NAME` of the device, for one LV (default lvrescue-VG-LV)")
	fs.StringVar(&o.missing, "missing", "error", "what is read where bytes are lost: `error|zero`")
	fs.BoolVar(&o.dryRun, "dry-run", false, "print the commands for losetup and dmsetup that do the same, and do nothing")
	complete(cmd, "missing", "error", "zero")
	return cmd
}

// check refuses what cannot be meant.
func (o *activateOptions) check(args []string) error {
	switch {
	case len(args) == 0:
		return usagef("lvrescue scan lists VGs and LVs", "nothing was named: expected VG or VG/LV")
	case exists(args[0]) && !strings.HasPrefix(args[0], "/dev/"):
		return usagef("the VG or LV comes first, then the sources", "no VG or LV was named: %q is a file", args[0])
	case o.missing != "error" && o.missing != "zero":
		return usagef("", "--missing %q: expected error or zero", o.missing)
	case o.name == "":
		return nil
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
	Error   string   `json:"rescue_error,omitempty"`
}

func runActivate(ctx context.Context, a *app, o *activateOptions, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	g, lvs, err := o.find(ctx, a, args)
	if err != nil {
		return err
	}
	defer g.Close()
	a.warn(slices.Concat(failures(g.Result.Findings), lvs[0].vg.Findings))
	run := &activation{app: a, options: o, sources: dm.Sources{}}
	if !o.dryRun {
		if run.host, err = dm.Open(); err != nil {
			return withAdvice(err)
		}
		defer run.host.Close()
		if err := run.host.Live(lvs[0].vg.Meta.Name, lvs[0].vg.Meta.ID); err != nil {
			return withAdvice(err)
		}
	}
	var worst error
	done := 0
	for _, s := range lvs {
		if ctx.Err() != nil {
			worst = ctx.Err()
			break
		}
		err := run.one(s)
		switch {
		case err == nil && s.whole():
			done++
		case err == nil:
			done++
			worst = errPartial
		case len(lvs) == 1:
			return err
		default:
			reportError(a.err, err)
			worst = errPartial
		}
	}
	if done == 0 && ctx.Err() == nil {
		worst = &exitError{code: exitFailed}
	}
	return errors.Join(run.print(g, lvs[0].vg), worst)
}

// find assesses the LVs that the user named.
func (o *activateOptions) find(ctx context.Context, a *app, args []string) (*gathered, []*assessed, error) {
	what := strings.TrimPrefix(args[0], "/dev/")
	one := strings.Contains(what, "/")
	var name rebuild.LVName
	if one {
		var err error
		if name, err = rebuild.ParseLVName(args[0]); err != nil {
			return nil, nil, usagef("lvrescue scan lists the LVs", "%w", err)
		}
	}
	if o.name != "" && !one {
		return nil, nil, usagef("name one LV: VG/LV", "--name is for one LV, not for all of VG %s", what)
	}
	g, err := a.gather(ctx, &o.evidenceFlags, args[1:], o.at != "")
	if err != nil {
		return nil, nil, err
	}
	lvs, err := o.pick(g, what, name)
	if err != nil {
		g.Close()
	}
	return g, lvs, err
}

func (o *activateOptions) pick(g *gathered, what string, name rebuild.LVName) ([]*assessed, error) {
	if name.LV != "" {
		s, err := g.lv(name, o.at)
		return []*assessed{s}, err
	}
	groups, err := g.groups(what)
	if err != nil {
		return nil, err
	}
	vg, err := at(groups[0], o.at)
	if err != nil {
		return nil, err
	}
	lvs := assessVG(vg, false)
	if len(lvs) == 0 {
		return nil, fmt.Errorf("VG %s has no LVs at seqno %s", vg.Meta.Name, vg.Version.ID())
	}
	return lvs, nil
}

// activation is one call of activate.
type activation struct {
	app     *app
	options *activateOptions
	host    *dm.Host // nil in a dry run
	sources dm.Sources
	rows    []activeRow
	stacks  []*dm.Stack // of rows
}

// one makes the devices of one LV.
func (r *activation) one(s *assessed) error {
	if s.err != nil {
		return fmt.Errorf("%s: %w", s.name(), s.err)
	}
	stack, err := dm.Compile(s.plan, dm.Options{Name: r.options.name, ZeroLost: r.options.missing == "zero"}, r.sources)
	if err != nil {
		return withAdvice(err)
	}
	row := activeRow{
		Device: "/dev/mapper/" + stack.Top().Name, Full: s.name(), UUID: stack.Top().UUID, Size: stack.Top().Size,
		Health: string(s.health), Reasons: list(append(r.app.causes(s.totals), s.gone()...)), Sources: []string{},
	}
	needs, _ := domain.OfLVs(s.plan)
	for _, n := range needs {
		row.Sources = append(row.Sources, n.Source.Name)
	}
	if r.host != nil {
		record := dm.Record{Health: row.Health, Reasons: row.Reasons, Sources: row.Sources}
		if err := r.host.Activate(stack, record); err != nil {
			return withAdvice(fmt.Errorf("%s: %w", s.name(), err))
		}
	}
	r.rows, r.stacks = append(r.rows, row), append(r.stacks, stack)
	return nil
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
		return a.printJSON(g, slices.Concat(vg.Findings, g.Result.Findings), reportRows{Active: r.rows})
	}
	if r.host == nil {
		for _, row := range r.rows {
			fmt.Fprintln(a.out, render.Paragraph("# ", fmt.Sprintf("%s: %s, %s", row.Full, a.size(row.Size), health(row))))
		}
		return dm.Script(a.out, r.stacks)
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
		return hinted(err, "run it as root; --dry-run, lvrescue export and lvrescue serve do not need that")
	case errors.As(err, &control):
		return hinted(err, "perhaps its module is not loaded: modprobe dm-mod; lvrescue export and lvrescue serve need no device-mapper")
	}
	return err
}
