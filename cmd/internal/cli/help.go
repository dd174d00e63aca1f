package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
)

// usageTemplate is cobra's, with the examples moved to the end and the exit codes behind
// them.
func usageTemplate() string {
	return strings.ReplaceAll(usageText, "WIDTH", strconv.Itoa(render.Width)) + exitStatus() + "\n"
}

const usageText = `USAGE
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND [FLAG...] [ARGUMENT...]{{else}}{{.UseLine}}{{end}}
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

`

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

// ExitStatus is the text on exit codes for manual pages, in Markdown.
func ExitStatus() string {
	s := "# EXIT STATUS\n"
	for _, c := range exitCodes {
		s += fmt.Sprintf("\n**%d**\n: %s\n", c.code, c.meaning)
	}
	return s + "\nA signal that ends lvrescue is raised again after it has tidied up.\n"
}
