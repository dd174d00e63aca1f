package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

func TestGuardReportsPanics(t *testing.T) {
	var out bytes.Buffer
	code := guard(&out, []string{"scan", "x"}, func() error { panic("oops") })
	require.Equal(t, exitPanic, code)
	require.Contains(t, out.String(), "lvrescue: internal error: oops")
	require.Contains(t, out.String(), `command: ["scan" "x"]`)
	require.Contains(t, out.String(), "exit_test.go", "the stack")
}

func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitComplete},
		{errors.New("any"), exitFailed},
		{usagef("", "wrong"), exitUsage},
		{fmt.Errorf("wrapped: %w", errPartial), exitPartial},
		{hinted(errors.New("any"), "try"), exitFailed},
		{hinted(fmt.Errorf("export: %w", &block.Fault{Value: "oops"}), "try"), exitPanic},
	} {
		require.Equal(t, c.want, codeOf(c.err))
	}
}

func TestReportError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "lvrescue: plain\n"},
		{errors.Join(errors.New("one"), errors.New("two")), "lvrescue: one\nlvrescue: two\n"},
		{usagef("try this", "no \x1b[31m"), "lvrescue: no \\x1b[31m\nlvrescue: hint: try this\n"},
		{errPartial, ""},
		{context.Canceled, ""},
		{&fs.PathError{Op: "open", Path: "out/a.img", Err: fs.ErrPermission}, "lvrescue: open out/a.img: permission denied\nlvrescue: hint: this user may not use that file or directory: choose another place, or run lvrescue as a user who may\n"},
		{fmt.Errorf("open: %w", fs.ErrPermission), "lvrescue: open: permission denied\nlvrescue: hint: reading disks takes root, or membership of the group that owns them (often \"disk\")\n"},
		{fmt.Errorf("write: %w", syscall.ENOSPC), "lvrescue: write: no space left on device\nlvrescue: hint: make room, then run the same command again\n"},
	} {
		var out bytes.Buffer
		reportError(&out, c.err)
		require.Equal(t, c.want, out.String())
	}
}
