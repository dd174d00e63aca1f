package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print the version",
		Long:              "Print the version of lvrescue, the commit it was built from and the version of Go.",
		Example:           "  lvrescue version",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		Annotations:       ends("it was printed", ""),
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(nil, nil)
			}
			_, err := fmt.Fprintln(a.out, versionLine())
			return err
		},
	}
}

// version is the module's version, and the commit where that is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += " " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return v
}

func versionLine() string {
	return fmt.Sprintf("lvrescue %s, %s, %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(helpHint(cmd), "%s takes no arguments, found %q", cmd.CommandPath(), args[0])
	}
	return nil
}
