package cli

import (
	"strings"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
)

// commandLine shows a command as the user would type it in a shell.
func commandLine(args ...string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	return strings.Join(quoted, " ")
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"

// shellQuote quotes a word for sh, and with escapes, which bash and zsh know, where it
// would not be printable.
func shellQuote(s string) string {
	switch {
	case render.Printable(s) != s:
		return "$'" + strings.ReplaceAll(render.Printable(strings.ReplaceAll(s, `\`, `\\`)), "'", `\'`) + "'"
	case s != "" && strings.Trim(s, shellSafe) == "":
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
