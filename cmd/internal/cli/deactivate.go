package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate/dm"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/scan"
)

func newDeactivate(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "deactivate VG|VG/LV|DEVICE... | deactivate --all",
		Short: "Take down what activate has made",
		Long: `Remove the devices that lvrescue activate has made, and nothing else: its loop devices go with
them. It also removes what was left behind by an activation that was killed half way.

An LV that is in use stays as it is, and whoever uses it is named.`,
		Example:     "  lvrescue deactivate vg0/home\n  lvrescue deactivate --all",
		Annotations: ends("all that was named is taken down", "some of it is, the rest is in use or could not be"),
		RunE: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("lvrescue status lists what is active", "name what to take down, or use --all")
			}
			return runDeactivate(a, args)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "everything that lvrescue has made on this machine")
	return cmd
}

// openActive lists what lvrescue has made on this machine.
func openActive() (*dm.Host, []*dm.Active, error) {
	h, err := dm.Open()
	if err != nil {
		return nil, nil, withAdvice(err)
	}
	list, err := h.Active()
	if err != nil {
		return nil, nil, errors.Join(err, h.Close())
	}
	return h, list, nil
}

// runDeactivate takes down what was named; nothing stands for everything.
func runDeactivate(a *app, names []string) error {
	h, active, err := openActive()
	if err != nil {
		return err
	}
	defer h.Close()
	for _, name := range names {
		if !slices.ContainsFunc(active, func(l *dm.Active) bool { return l.IsOf(name) }) {
			return hinted(fmt.Errorf("nothing of %q is active", name), "lvrescue status lists what is")
		}
	}
	if len(names) > 0 {
		active = slices.DeleteFunc(active, func(l *dm.Active) bool { return !slices.ContainsFunc(names, l.IsOf) })
	}
	rows := []activeRow{}
	failed := 0
	errs := h.DeactivateAll(active)
	for i, l := range active {
		row := activeRowOf(l)
		switch err := errs[i]; {
		case isFault(err):
			return err
		case err != nil:
			reportError(a.err, withAdvice(err))
			row.Error = err.Error()
			failed++
		case !a.json:
			fmt.Fprintf(a.out, "%s is no longer active\n", render.Printable(title(l)))
			if l.Overlay != "" {
				fmt.Fprintf(a.out, "  what was written to it is in %s\n", render.Printable(l.Overlay))
			}
		}
		rows = append(rows, row)
	}
	if a.json {
		err = a.printJSON(nil, nil, reportRows{Active: rows})
	}
	switch {
	case failed > 0 && failed == len(rows):
		return errors.Join(err, &exitError{code: exitFailed})
	case failed > 0:
		return errors.Join(err, errPartial)
	}
	return err
}

// title names an active LV for people.
func title(l *dm.Active) string {
	if l.LV == "" {
		return "what was left of " + l.UUID
	}
	return l.VG + "/" + l.LV
}

func activeRowOf(l *dm.Active) activeRow {
	row := activeRow{Full: title(l), UUID: l.UUID, Health: l.Health, Reasons: list(l.Reasons), Sources: list(l.Sources), Open: &l.Open}
	if l.Name != "" {
		row.Device = "/dev/mapper/" + l.Name
	}
	if l.Overlay != "" {
		row.Overlay, row.Used, row.Most, row.Left = l.Overlay, l.Used, l.Size, l.Left
		if l.Failed && l.Complete {
			row.Health = "failed"
			row.Reasons = []string{"its overlay " + l.Overlay + " was full or gave errors: what was written is lost, the sources are as they were"}
		}
	}
	if !l.Complete {
		row.Health = "incomplete"
		row.Reasons = []string{"its activation was not finished"}
	}
	return row
}

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:         "status",
		Short:       "List what activate has made",
		Long:        `List the LVs that lvrescue has put on device-mapper on this machine, what each is worth, and whether it is in use.`,
		Example:     "  lvrescue status",
		Args:        noArgs,
		Annotations: ends("it was printed", ""),
		RunE: func(*cobra.Command, []string) error {
			return runStatus(a)
		},
	}
}

func runStatus(a *app) error {
	h, active, err := openActive()
	if err != nil {
		return err
	}
	defer h.Close()
	rows := []activeRow{}
	t := render.Table{Columns: []render.Column{render.Left("Device"), render.Left("LV"), render.Left("Open"), render.Left("Overlay"), render.Left("Health")}}
	for _, l := range active {
		row := activeRowOf(l)
		rows = append(rows, row)
		t.Add(row.Device, row.Full, inUse(l.Open), a.overlayUse(l), health(row))
		if l.Overlay != "" && l.Full() > nearlyFull {
			say(a.err, "warning: ", fmt.Sprintf("the overlay of %s is nearly full: %s has %s left, and when there is nothing left all that was written is lost",
				row.Full, filepath.Dir(l.Overlay), a.size(l.Left)))
		}
	}
	switch {
	case a.json:
		return a.printJSON(nil, []scan.Finding{}, reportRows{Active: rows})
	case len(rows) == 0:
		fmt.Fprintln(a.out, "nothing is active")
		return nil
	}
	return t.Write(a.out)
}

// nearlyFull is from when on an overlay is warned of.
const nearlyFull = 0.8

// overlayUse says how full an overlay is.
func (a *app) overlayUse(l *dm.Active) string {
	if l.Overlay == "" {
		return "-"
	}
	return fmt.Sprintf("%s, %.0f%%", a.size(l.Used), 100*l.Full())
}

// inUse tells whether a device is open.
func inUse(open int) string {
	if open == 0 {
		return "no"
	}
	return "yes"
}
