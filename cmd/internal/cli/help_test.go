package cli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// TestEveryCommandTellsHowToUseIt wants of each command a description, examples that it
// understands, and what its exit codes mean.
func TestEveryCommandTellsHowToUseIt(t *testing.T) {
	root := New(io.Discard, io.Discard)
	all := commands(root)
	require.Greater(t, len(all), 20)
	for _, cmd := range all {
		t.Run(strings.ReplaceAll(cmd.CommandPath(), " ", "_"), func(t *testing.T) {
			require.NotEmpty(t, cmd.Short)
			require.NotEmpty(t, cmd.Long)
			require.NotEmpty(t, cmd.Example)
			if !cmd.HasSubCommands() {
				require.Contains(t, cmd.Annotations, meansComplete)
				require.Contains(t, cmd.Example, cmd.CommandPath(), "an example of another command")
			}
			path := strings.Fields(cmd.CommandPath())[1:]
			var out bytes.Buffer
			require.Zero(t, Run(context.Background(), append(path, "--help"), &out, io.Discard))
			help := out.String()
			for _, section := range []string{"\nUSAGE\n", "\nFLAGS\n", "\nEXAMPLE\n", "\nEXIT STATUS\n", "\n  1   failed", "\n  2   wrong usage", "\n  70  a fault"} {
				require.Contains(t, help, section)
			}
			require.NotContains(t, help, "[flags]")
			for line := range strings.Lines(help) {
				require.LessOrEqual(t, len([]rune(line)), 101, "%s", line)
			}
		})
	}
}

// TestExamplesAreUnderstood looks for the command of each example, and parses its flags.
func TestExamplesAreUnderstood(t *testing.T) {
	understood := 0
	for _, cmd := range commands(New(io.Discard, io.Discard)) {
		for line := range strings.Lines(cmd.Example) {
			words := strings.Fields(line)
			if words[0] != "lvrescue" {
				continue
			}
			for i, w := range words {
				if strings.ContainsAny(w, "|>&") {
					words = words[:i]
					break
				}
			}
			root := New(io.Discard, io.Discard)
			found, rest, err := root.Find(joinDiff(words[1:]))
			require.NoError(t, err, line)
			require.NoError(t, found.ParseFlags(rest), line)
			require.NotSame(t, root, found, line)
			found.Flags().Visit(func(f *pflag.Flag) { require.NotEqual(t, "help", f.Name) })
			understood++
		}
	}
	require.Greater(t, understood, 40)
}
