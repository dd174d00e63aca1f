//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// raise ends the process by a signal, as if it had never been caught. It returns only when
// that cannot be done.
func raise(s os.Signal) {
	signal.Reset(s)
	if s == syscall.SIGPIPE { // the runtime raises this one itself
		_, _ = os.Stdout.WriteString("\n")
		return
	}
	if n, ok := s.(syscall.Signal); ok && syscall.Kill(syscall.Getpid(), n) == nil {
		time.Sleep(time.Second) // it arrives within this
	}
}
