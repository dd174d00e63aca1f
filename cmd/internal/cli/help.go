package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
)

// finish gives every command what all have alike: wrapped text, what a SOURCE is, and a usage
// with the exit codes.
func finish(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	describeCobras(root)
	cobra.AddTemplateFunc("usages", usages)
	cobra.AddTemplateFunc("exitStatus", exitStatus)
	root.SetUsageTemplate(strings.ReplaceAll(usageText, "WIDTH", strconv.Itoa(render.Width)))
	for _, cmd := range commands(root) {
		cmd.DisableFlagsInUseLine = true // see usages
		cmd.InitDefaultHelpFlag()
		cmd.Flags().Lookup("help").Usage = "show this help"
		text := cmd.Long
		switch {
		case cmd.Flags().Lookup("assume") != nil:
			text += "\n\n" + whatSourcesAre + "; without any, all block devices are looked at."
		case strings.Contains(cmd.Use, "SOURCE"):
			text += "\n\n" + whatSourcesAre + "."
		}
		cmd.Long = reflow(text)
	}
	root.InitDefaultVersionFlag()
	root.Flags().Lookup("version").Usage = "print the version"
}

const whatSourcesAre = "SOURCE is an image file, a block device or a directory of images"

// commands lists a command and all below it.
func commands(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		list = append(list, commands(c)...)
	}
	return list
}

// describeCobras words what cobra makes by itself as the rest is worded.
func describeCobras(root *cobra.Command) {
	for _, cmd := range commands(root) {
		switch {
		case cmd.Name() == "help":
			cmd.Use, cmd.Short = "help [COMMAND...]", "Show the help of a command"
			cmd.Long = "Show what a command does, its flags, examples and exit codes: the same as COMMAND --help."
			cmd.Example = "  lvrescue help export\n  lvrescue help thin check"
			cmd.Run = nil
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				found, rest, err := cmd.Root().Find(args)
				if err != nil || len(rest) > 0 {
					return unknownCommand(found, append(rest, args...))
				}
				return found.Help()
			}
		case cmd.Name() == "completion":
			cmd.Short = "Print a script that completes commands and flags in a shell"
			cmd.Long = "Print a script for bash, fish, PowerShell or zsh that completes lvrescue's commands, flags and their values. make install puts those of bash, fish and zsh into place."
			cmd.Example = "  source <(lvrescue completion bash)"
			cmd.Args = unknownCommand
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		case cmd.HasParent() && cmd.Parent().Name() == "completion":
			cmd.Short = "Print the script for " + cmd.Name()
			cmd.Long = "Print the script that completes lvrescue's commands in " + cmd.Name() + "."
			cmd.Example = map[string]string{
				"bash":       "  source <(lvrescue completion bash)\n  lvrescue completion bash > /etc/bash_completion.d/lvrescue",
				"fish":       "  lvrescue completion fish | source\n  lvrescue completion fish > ~/.config/fish/completions/lvrescue.fish",
				"powershell": "  lvrescue completion powershell | Out-String | Invoke-Expression",
				"zsh":        "  source <(lvrescue completion zsh)\n  lvrescue completion zsh > /usr/local/share/zsh/site-functions/_lvrescue",
			}[cmd.Name()]
		default:
			continue
		}
		cmd.Annotations = ends("it was printed", "")
	}
}

// usageText is cobra's, with the examples moved to the end and the exit codes behind them.
const usageText = `USAGE
{{usages .}}
{{- if .HasAvailableSubCommands}}

COMMANDS{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

FLAGS
{{.LocalFlags.FlagUsagesWrapped WIDTH | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableInheritedFlags}}

COMMON FLAGS
{{.InheritedFlags.FlagUsagesWrapped WIDTH | trimTrailingWhitespaces}}{{end}}
{{- if .HasExample}}

EXAMPLE
{{.Example}}{{end}}

{{exitStatus .}}
`

// usages gives the ways to call a command, a line each.
func usages(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return "  " + cmd.CommandPath() + " COMMAND [FLAG...] [ARGUMENT...]"
	}
	var lines []string
	above := strings.TrimSuffix(cmd.CommandPath(), cmd.Name())
	for way := range strings.SplitSeq(cmd.Use, " | ") {
		lines = append(lines, "  "+above+way+" [FLAG...]")
	}
	return strings.Join(lines, "\n")
}

// reflow wraps the paragraphs of a help text.
func reflow(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = render.Paragraph("", strings.Join(strings.Fields(p), " "))
	}
	return strings.Join(paragraphs, "\n\n")
}

func helpHint(cmd *cobra.Command) string {
	return fmt.Sprintf("%s --help shows the usage", cmd.CommandPath())
}

// What a command's end with 0 and with 3 means, among its annotations.
const (
	meansComplete = "exit 0"
	meansPartial  = "exit 3"
)

// ends says what it means when a command ends with 0, and when it ends with 3; "" if it never
// does.
func ends(complete, partial string) map[string]string {
	return map[string]string{meansComplete: complete, meansPartial: partial}
}

// exitCode is an exit code and what it means.
type exitCode struct {
	code    int
	meaning string
}

// exitCodes lists how a command may end; a command that has others below it for all of them.
func exitCodes(cmd *cobra.Command) []exitCode {
	complete, partial := cmd.Annotations[meansComplete], cmd.Annotations[meansPartial]
	if cmd.Annotations == nil && cmd.HasAvailableSubCommands() {
		complete, partial = "all that was asked for was delivered, complete", "delivered, but partial or doubtful: the output and the map say where"
	}
	all := []exitCode{
		{exitComplete, complete},
		{exitFailed, "failed: nothing was delivered"},
		{exitUsage, "wrong usage: nothing was tried"},
		{exitPartial, partial},
		{exitPanic, "a fault in lvrescue itself, reported with what was at hand"},
	}
	var list []exitCode
	for _, c := range all {
		if c.meaning != "" {
			list = append(list, c)
		}
	}
	return list
}

const raised = "A signal that ends lvrescue is raised again after it has tidied up."

// exitStatus is the section on exit codes at the end of every help text.
func exitStatus(cmd *cobra.Command) string {
	lines := []string{"EXIT STATUS"}
	for _, c := range exitCodes(cmd) {
		lines = append(lines, render.Paragraph(fmt.Sprintf("  %-3d ", c.code), c.meaning))
	}
	return strings.Join(append(lines, "  "+raised), "\n")
}

// ExitStatus is that section for manual pages, in Markdown.
func ExitStatus(cmd *cobra.Command) string {
	s := "# EXIT STATUS\n"
	for _, c := range exitCodes(cmd) {
		s += fmt.Sprintf("\n**%d**\n: %s\n", c.code, c.meaning)
	}
	return s + "\n" + raised + "\n"
}
