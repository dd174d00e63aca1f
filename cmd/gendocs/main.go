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
	root := cli.New(io.Discard, io.Discard)
	return errors.Join(manPages(root, filepath.Join(dir, "man8")), completions(root, filepath.Join(dir, "completions")))
}

func manPages(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	prepare(root)
	return doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{
		Header:           &doc.GenManHeader{Section: "8", Source: "lvrescue", Manual: "System Administration"},
		Path:             dir,
		CommandSeparator: "-",
	})
}

// prepare puts what the pages lack into the descriptions. Descriptions are Markdown for the
// generator: placeholders in capitals must not be taken for markup.
func prepare(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	if cmd.Name() != "completion" && (cmd.Parent() == nil || cmd.Parent().Name() != "completion") {
		cmd.Long = strings.NewReplacer("<", `\<`, "*", `\*`).Replace(cmd.Long) + "\n\n" + cli.ExitStatus()
	}
	for _, c := range cmd.Commands() {
		prepare(c)
	}
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
