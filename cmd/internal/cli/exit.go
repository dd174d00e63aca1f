package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/scan/block"
)

// The exit codes. Scripts rely on them: they never change their meaning.
const (
	exitComplete = 0
	exitFailed   = 1
	exitUsage    = 2
	exitPartial  = 3
	exitPanic    = 70 // EX_SOFTWARE of sysexits.h
)

// exitError ends a command with a code of its own.
type exitError struct {
	code int
	err  error // nil when all has been said
	hint string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// errPartial ends a command that has delivered, and said of what something is missing.
var errPartial = &exitError{code: exitPartial}

// errFault ends a command in which there was a fault that has been reported.
var errFault = &exitError{code: exitPanic}

// usagef reports wrong usage.
func usagef(hint, format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// hinted adds to an error what the user may try next.
func hinted(err error, hint string, args ...any) error {
	return &exitError{code: exitFailed, err: err, hint: fmt.Sprintf(hint, args...)}
}

// isFault tells whether an error is a panic that was caught somewhere.
func isFault(err error) bool {
	var f *block.Fault
	return errors.As(err, &f)
}

// codeOf is the exit code that an error stands for.
func codeOf(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitComplete
	case isFault(err):
		return exitPanic
	case errors.As(err, &e):
		return e.code
	}
	return exitFailed
}

// hintFor says what to try next after an error, "" when there is nothing to say.
func hintFor(err error) string {
	var e *exitError
	var path *fs.PathError
	switch {
	case isFault(err):
		return "nothing was written to any source; please report this with the lines below"
	case errors.As(err, &e) && e.hint != "":
		return e.hint
	case errors.Is(err, fs.ErrPermission) && errors.As(err, &path) && !strings.HasPrefix(path.Path, "/dev/"):
		return "this user may not use that file or directory: choose another place, or run lvrescue as a user who may"
	case errors.Is(err, fs.ErrPermission):
		return "reading disks takes root, or membership of the group that owns them (often \"disk\")"
	case errors.Is(err, syscall.ENOTDIR):
		return "a directory is expected there, or none yet: name another place"
	case errors.Is(err, syscall.EROFS):
		return "that filesystem cannot be written to: name another place"
	case errors.Is(err, syscall.ENOSPC):
		return "make room, then run the same command again"
	}
	return ""
}

// reportError tells the user what went wrong, and what may help.
func reportError(w io.Writer, err error) {
	var e *exitError
	if errors.As(err, &e) && e.err == nil || errors.Is(err, context.Canceled) && hintFor(err) == "" {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		say(w, "", line)
	}
	if h := hintFor(err); h != "" {
		say(w, "hint: ", h)
	}
	var fault *block.Fault
	if errors.As(err, &fault) {
		fmt.Fprintf(w, "%s\n%s", versionLine(), fault.Stack)
	}
}

// say prints one message in the form that all messages on stderr have.
func say(w io.Writer, kind, text string) {
	fmt.Fprintf(w, "lvrescue: %s%s\n", kind, render.Printable(text))
}

// guard runs a command line and reports its error, or its panic. It returns the exit code.
func guard(stderr io.Writer, args []string, f func() error) int {
	err := block.Guarded(f)()
	if err != nil {
		reportError(stderr, err)
	}
	if isFault(err) {
		fmt.Fprintf(stderr, "command: %q\n", args)
	}
	return codeOf(err)
}
