// Package cli is lvrescue's command line: flags, rendering, progress and exit codes. What
// the commands do is done by the library packages; each command is a factory, a struct of
// options and a run function in a file of its own.
//
// Results go to stdout, everything else to stderr.
package cli

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
)

// app is what all commands share.
type app struct {
	out, err io.Writer // results; progress, warnings and hints

	json    bool
	quiet   bool
	verbose bool
	unitArg string
	units   render.Units
}

// New makes the root command, writing to the given streams.
func New(stdout, stderr io.Writer) *cobra.Command {
	a := &app{out: stdout, err: stderr}
	root := &cobra.Command{
		Use:   "lvrescue",
		Short: "Rescue LVM2 volumes from damaged disks and images",
		Long: `lvrescue reads LVM2 volume groups from disks and disk images that lvm2 itself may refuse:
damaged, incomplete or out of step. It writes to none of them, and says of every byte that it
delivers whether it is right, doubtful or lost.

A SOURCE is an image file, a block device or a directory of images; without any, all block
devices of the system are looked at. SOURCE.map beside a source is read as its ddrescue mapfile.
A VG is named by name or UUID, an LV by VG/LV.`,
		Example:           "  lvrescue demo\n  lvrescue scan disks/\n  lvrescue export vg0/home disks/ -o home.img",
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              unknownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) (err error) { return a.check() },
	}
	root.Version = version()
	root.SetVersionTemplate(versionLine() + "\n")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(helpHint(cmd), "%w", err)
	})
	fs := root.PersistentFlags()
	fs.BoolVar(&a.json, "json", false, "print one JSON object, in lvm2's json_std shape, sizes in bytes")
	fs.BoolVarP(&a.quiet, "quiet", "q", false, "no progress, no informational findings")
	fs.BoolVarP(&a.verbose, "verbose", "v", false, "show more: places, reasons, codes of findings")
	fs.StringVar(&a.unitArg, "units", "h", "sizes as lvs prints them or in bytes: `h|b`")
	complete(root, "units", "h", "b")
	root.AddCommand(newScan(a), newCarve(a), newLVs(a), newHistory(a), newExport(a), newServe(a), newMount(a),
		newActivate(a), newDeactivate(a), newStatus(a), newDomain(a), newVerify(a), newThin(a), newGuess(a), newDemo(a), newVersion(a))
	finish(root)
	return root
}

// check looks at the flags that all commands have.
func (a *app) check() (err error) {
	if a.units, err = render.ParseUnits(a.unitArg); err != nil {
		return usagef("", "%w", err)
	}
	return nil
}

// size shows a number of bytes in the units that the user wants.
func (a *app) size(n int64) string { return a.units.Size(n) }

// complete names the values of a flag for shell completion.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag
	}
}

// unknownCommand refuses arguments of a command that only has others: they are mistyped.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmd.CommandPath() + " --help lists the commands"
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = "did you mean " + strings.Join(s, " or ") + "?"
	}
	return usagef(hint, "unknown command %q", args[0])
}

// Run executes a command line, without the name of the program, and returns its exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return guard(stderr, args, func() error {
		root := New(stdout, stderr)
		root.SetArgs(joinDiff(args))
		err := root.ExecuteContext(ctx)
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) && hintFor(err) == "" {
			err = cause
		}
		return err
	})
}
