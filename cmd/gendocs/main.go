// Command gendocs writes lvrescue's manual pages and shell completions, made from the
// commands themselves:
//
//	gendocs DIR
//
// DIR/man8 holds the manual pages, DIR/completions the scripts for bash, zsh and fish. The
// date of the pages is SOURCE_DATE_EPOCH where that is set, so that builds can be repeated.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/lvrescue/lvrescue/cmd/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendocs DIR")
		os.Exit(2)
	}
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

func generate(dir string) error {
	// Each has a root of its own, since pages change the commands.
	return errors.Join(
		manPages(cli.New(io.Discard, io.Discard), filepath.Join(dir, "man8")),
		completions(cli.New(io.Discard, io.Discard), filepath.Join(dir, "completions")))
}

func manPages(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	prepare(root)
	hideFlags(root)
	return doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{
		Header:           &doc.GenManHeader{Section: "8", Source: "lvrescue", Manual: "System Administration"},
		Path:             dir,
		CommandSeparator: "-",
	})
}

// hideFlags hides the flags of a command and of all below it.
func hideFlags(cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	}
	for _, c := range cmd.Commands() {
		hideFlags(c)
	}
}

// prepare puts what the generator lacks into the descriptions, and has it leave out what it
// would say worse. Descriptions are Markdown for it: placeholders in capitals must not be taken
// for markup.
func prepare(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	for _, c := range cmd.Commands() {
		prepare(c)
	}
	parts := []string{plain.Replace(cmd.Long), options("OPTIONS", cmd.NonInheritedFlags())}
	if cmd.HasInheritedFlags() {
		parts = append(parts, options("COMMON OPTIONS", cmd.InheritedFlags()))
	}
	cmd.Long = strings.Join(append(parts, cli.ExitStatus(cmd)), "\n\n")
	const flags = " [FLAG...]"
	if cmd.HasSubCommands() {
		cmd.Use = cmd.Name() + " COMMAND" + flags + " [ARGUMENT...]"
	} else { // a line for each way to call it
		cmd.Use = strings.ReplaceAll(cmd.Use, " | ", flags+"**\n\n**"+cmd.Parent().CommandPath()+" ") + flags
	}
}

var plain = strings.NewReplacer("<", `\<`, "*", `\*`, "[", `\[`, "_", `\_`)

// options is a section on flags, which the generator then has not to know of.
func options(title string, flags *pflag.FlagSet) string {
	s := "# " + title + "\n"
	flags.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		name := "**--" + f.Name + "**"
		if f.Shorthand != "" {
			name = "**-" + f.Shorthand + "**, " + name
		}
		if value != "" {
			name += " *" + plain.Replace(value) + "*"
		}
		if value != "" && f.DefValue != "" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		s += "\n" + name + "\n: " + plain.Replace(usage) + "\n"
	})
	return s
}

func completions(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return errors.Join(
		root.GenBashCompletionFileV2(filepath.Join(dir, "lvrescue.bash"), true),
		root.GenZshCompletionFile(filepath.Join(dir, "_lvrescue")),
		root.GenFishCompletionFile(filepath.Join(dir, "lvrescue.fish"), true))
}
