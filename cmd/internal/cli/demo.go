package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
)

func newDemo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Break a small volume group and rescue it, step by step",
		Long: `Unpack the disks of a small volume group, made by real LVM, to a temporary directory, damage them,
take one away, and rescue what is left with the commands that you would type. In the end the
result is held against what the kernel read from the volumes while they were healthy.
Nothing is left behind.`,
		Example:           "  lvrescue demo",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		Annotations:       ends("the rescue went as it should", ""),
		RunE:              func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), a) },
	}
}

type stepRow struct {
	Text     string `json:"text"`
	Command  string `json:"command,omitempty"`
	ExitCode *int   `json:"exit_code,omitempty"`
	Output   string `json:"output,omitempty"`
}

// demo tells a story: text, and commands with their real output.
type demo struct {
	*app
	ctx   context.Context
	steps []stepRow
}

func runDemo(ctx context.Context, a *app) (err error) {
	dir, err := os.MkdirTemp("", "lvrescue-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	home, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Chdir(home)) }()
	d := &demo{app: a, ctx: ctx}
	if err := d.play(); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(nil, nil, reportRows{Step: d.steps})
	}
	return nil
}

// say tells what happens next.
func (d *demo) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	d.steps = append(d.steps, stepRow{Text: text})
	if !d.json {
		fmt.Fprintf(d.out, "\n%s\n", render.Paragraph("# ", text))
	}
}

// run types a command and shows what it prints. It fails if the command ends otherwise
// than the story has it.
func (d *demo) run(want int, args ...string) error {
	var captured bytes.Buffer
	out := d.out
	if d.json {
		out = io.Discard
	}
	fmt.Fprintf(out, "\n$ %s\n", commandLine(append([]string{"lvrescue"}, args...)...))
	to := io.MultiWriter(&captured, out)
	code := Run(d.ctx, args, to, to)
	step := &d.steps[len(d.steps)-1]
	step.Command, step.ExitCode, step.Output = commandLine(append([]string{"lvrescue"}, args...)...), &code, captured.String()
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if code != want {
		return fmt.Errorf("demo: lvrescue %s ended with exit code %d, not %d", args[0], code, want)
	}
	return nil
}
