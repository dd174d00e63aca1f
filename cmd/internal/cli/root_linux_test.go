package cli

import (
	"bytes"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestNotRoot makes devices without being root, as one thread of this process can.
func TestNotRoot(t *testing.T) {
	runtime.LockOSThread() // never unlocked, so that the thread ends with the test
	if os.Geteuid() == 0 {
		const nobody, same = 65534, ^uintptr(0)
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, nobody, same)
		require.Zero(t, errno)
		defer func() {
			_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, 0, same)
			require.Zero(t, errno)
		}()
	}
	for _, args := range [][]string{{"status"}, {"deactivate", "--all"}} {
		var out, said bytes.Buffer
		require.Equal(t, exitFailed, Run(t.Context(), args, &out, &said))
		require.Empty(t, out.String())
		require.Equal(t, "lvrescue: device-mapper takes root: permission denied\n"+
			"lvrescue: hint: run it as root; lvrescue export, lvrescue serve and activate --dry-run do not need that\n", said.String())
	}
}
