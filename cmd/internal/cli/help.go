package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// usageTemplate is cobra's, with the examples moved to the end and the exit codes behind
// them.
var usageTemplate = `USAGE
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND [FLAG...] [ARGUMENT...]{{else}}{{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}

COMMANDS{{range .Commands}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

FLAGS
{{.LocalFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableInheritedFlags}}

COMMON FLAGS
{{.InheritedFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}{{end}}
{{- if .HasExample}}

EXAMPLE
{{.Example}}{{end}}

` + exitStatus() + "\n"

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
