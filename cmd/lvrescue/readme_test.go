package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// readme is the README's path from this folder.
var readme = filepath.Join("..", "..", "README.md")

// requireTranscript runs the commands of the README's transcript, and wants what they print
// to be what the README shows. With -update the README is written anew.
func requireTranscript(ts *testscript.TestScript, _ bool, _ []string) {
	text, err := os.ReadFile(readme)
	ts.Check(err)
	shown := transcript(ts, string(text))
	var printed strings.Builder
	for line := range strings.Lines(shown) {
		command, ok := strings.CutPrefix(line, "$ lvrescue ")
		if !ok {
			continue
		}
		if printed.Len() > 0 {
			printed.WriteString("\n")
		}
		_ = ts.Exec("lvrescue", strings.Fields(command)...) // a partial export ends with 3
		printed.WriteString(line + ts.ReadFile("stdout"))
	}
	if bytes.Equal(blank([]byte(printed.String())), blank([]byte(shown))) {
		return
	}
	if !*update {
		ts.Fatalf("the README shows\n%s\nbut lvrescue prints\n%s", shown, printed.String())
	}
	ts.Check(os.WriteFile(readme, []byte(strings.Replace(string(text), shown, printed.String(), 1)), 0o666))
}

// transcript cuts the first console block that shows lvrescue's own output from the README.
func transcript(ts *testscript.TestScript, text string) string {
	const begin, end = "```console\n", "```\n"
	_, text, ok := strings.Cut(text, begin+"$ lvrescue ")
	if !ok {
		ts.Fatalf("no transcript in the README")
	}
	shown, _, _ := strings.Cut("$ lvrescue "+text, end)
	return shown
}
