package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
)

// Main runs lvrescue as a program and does not return.
//
// A signal, and a reader of stdout that has gone away, cancel the context. When the
// command has tidied up, the signal is raised again, so that the caller sees what ended
// it.
func Main() {
	limitMemory()
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup has it
			signal.Notify(signals, s)
		}
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // writes fail with EPIPE instead
	var caught os.Signal
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case caught = <-signals:
			signal.Reset() // a second one ends lvrescue at once
			cancel(fmt.Errorf("stopped by a signal (%v)", caught))
		case <-done:
		}
	})
	render.FitTerminal(os.Stdout)
	stdout := &pipe{w: os.Stdout, broken: func() { cancel(errPipe) }}
	code := Run(ctx, os.Args[1:], stdout, os.Stderr)
	close(done)
	watch.Wait()
	if errors.Is(context.Cause(ctx), errPipe) {
		caught = syscall.SIGPIPE
	}
	if caught != nil && code != exitPanic {
		raise(caught)
	}
	os.Exit(code)
}

// memoryLimit is what lvrescue shall get along with, in bytes; what may stay in memory of
// hostile input is bounded to less than that.
const memoryLimit = 192 << 20

// limitMemory has garbage collected seldom while little memory is in use, and all the more
// often towards the limit. GOMEMLIMIT and GOGC count more.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// errPipe is the cause of a cancelled context when nobody reads stdout any more.
var errPipe = &exitError{code: exitFailed}

// pipe writes to stdout and notices when its reader has gone: what follows is dropped
// without a word.
type pipe struct {
	w      io.Writer
	broken func()
}

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.broken()
		return len(b), nil
	}
	return n, err
}
