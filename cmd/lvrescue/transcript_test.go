package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// requireTranscript PAGE [HEADING] runs the commands of the console blocks of a page of
// documentation, or of those below a heading, and wants what they print to be what the page
// shows. With -update the page is written anew.
//
// Commands begin with "$ " and are sh's; what they print on stderr is shown too, and an
// empty line stands behind output that more commands follow.
func requireTranscript(ts *testscript.TestScript, _ bool, args []string) {
	file := filepath.Join("..", "..", args[0])
	page, err := os.ReadFile(file)
	ts.Check(err)
	part := string(page)
	if len(args) > 1 {
		_, below, ok := strings.Cut(part, "\n## "+args[1]+"\n")
		if !ok {
			ts.Fatalf("%s has no heading %q", args[0], args[1])
		}
		part, _, _ = strings.Cut(below, "\n## ")
	}
	blocks := consoles(part)
	if len(blocks) == 0 {
		ts.Fatalf("%s shows no commands", args[0])
	}
	renewed := part
	for _, shown := range blocks {
		renewed = strings.Replace(renewed, shown, run(ts, shown), 1)
	}
	if renewed == part {
		return
	}
	if !*update {
		ts.Fatalf("%s shows\n%s\nbut the commands print\n%s", args[0], strings.Join(blocks, "\n"), strings.Join(consoles(renewed), "\n"))
	}
	ts.Check(os.WriteFile(file, []byte(strings.Replace(string(page), part, renewed, 1)), 0o666))
}

// rates matches what export adds when it took more than a second.
var rates = regexp.MustCompile(` \([0-9.]+s, [^)]*/s\)`)

// consoles cuts the console blocks out of a page.
func consoles(page string) []string {
	const begin, end = "\n```console\n", "\n```\n"
	var blocks []string
	for _, block := range strings.Split(page, begin)[1:] {
		block, _, _ = strings.Cut(block, end)
		blocks = append(blocks, block+"\n")
	}
	return blocks
}

// run runs the commands of a console block, and returns it with what they print.
func run(ts *testscript.TestScript, shown string) string {
	var b strings.Builder
	printed := ""
	for line := range strings.Lines(shown) {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		if printed != "" {
			b.WriteString("\n")
		}
		_ = ts.Exec("sh", "-c", "exec 2>&1\n"+command) // a partial export ends with 3
		printed = ts.ReadFile("stdout")
		b.WriteString(line + rates.ReplaceAllString(printed, ""))
	}
	return b.String()
}
