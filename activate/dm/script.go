package dm

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Script writes the stacks as commands for a shell: losetup for files, dmsetup with the
// tables in its concise form. Run as root they make what Activate makes.
func Script(w io.Writer, stacks []*Stack) error {
	s := &script{w: w, names: map[Node]string{}}
	for _, stack := range stacks {
		for _, d := range stack.Devices {
			s.device(d)
		}
	}
	return s.err
}

// script prints what is needed of a stack when it is first needed.
type script struct {
	w     io.Writer
	names map[Node]string // of what was printed, as the shell knows it
	loops int
	err   error
}

func (s *script) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(s.w, format, args...); s.err == nil {
		s.err = err
	}
}

// name is how a node is called in a table; files are attached on the way.
func (s *script) name(n Node) string {
	if name := s.names[n]; name != "" {
		return name
	}
	name := fmt.Sprintf("$loop%d", s.loops)
	switch n := n.(type) {
	case *Device:
		return "/dev/mapper/" + n.Name
	case *Source:
		if !n.File {
			return escape(n.Path)
		}
		s.printf("loop%d=$(losetup --find --show --read-only --offset %d -- %s)\n", s.loops, n.Off, quote(n.Path))
	case *Scratch:
		if n.Path != "" {
			s.printf("mkdir --parents -- %s\n", quote(filepath.Dir(n.Path)))
			s.printf("truncate --size %d -- %[2]s\nloop%d=$(losetup --find --show -- %[2]s)\n", n.Size, quote(n.Path), s.loops)
			break
		}
		s.printf("file%[1]d=$(mktemp)\ntruncate --size %[2]d $file%[1]d\nloop%[1]d=$(losetup --find --show $file%[1]d)\nrm $file%[1]d\n", s.loops, n.Size)
	}
	s.loops++
	s.names[n] = name
	return name
}

// device prints the command that makes a device: "NAME,UUID,MINOR,FLAGS,TABLE[,TABLE...]".
func (s *script) device(d *Device) {
	flags := "ro"
	if d.Writable {
		flags = "rw"
	}
	fields := []string{d.Name, d.UUID, "", flags}
	for _, t := range d.Table {
		fields = append(fields, t.text(s.name))
	}
	s.printf("dmsetup create --concise \"%s\"\n", strings.Join(fields, ","))
}

// text is a line of a table, with nodes named by name.
func (t Target) text(name func(Node) string) string {
	return strings.TrimSuffix(fmt.Sprintf("%d %d %s %s", t.Start, t.Len, t.Type, t.params(name)), " ")
}

// params are the parameters of a target.
func (t Target) params(name func(Node) string) string {
	words := make([]string, len(t.Args))
	for i, a := range t.Args {
		words[i] = a.Text
		if a.On != nil {
			words[i] += name(a.On)
		}
	}
	return strings.Join(words, " ")
}

// quote makes a word of a shell command of a path.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// escape puts a path into a concise table within double quotes.
func escape(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		switch c {
		case ',', ';': // of the concise form
			b.WriteString(`\\`)
		case '"', '$', '`':
			b.WriteByte('\\')
		case '\\':
			b.WriteString(`\\\`)
		}
		b.WriteByte(c)
	}
	return b.String()
}
