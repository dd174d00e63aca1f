//go:build !unix

package cli

import "os"

// raise does nothing: there are no signals to raise, and the exit code has to do.
func raise(os.Signal) {}
