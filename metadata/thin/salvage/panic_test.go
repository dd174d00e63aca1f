package salvage

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

// failing is a device that panics.
type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { panic("oops") }

// TestPanicReachesWhoWaits has a panic on a core of its own, which would end the program
// where nobody can recover from it.
func TestPanicReachesWhoWaits(t *testing.T) {
	defer func() {
		text := fmt.Sprint(recover())
		require.Contains(t, text, "oops")
		require.Contains(t, text, "salvage.failing.ReadAt")
	}()
	_, _ = Run(failing{}, 10*batch*btree.BlockSize, Hints{})
}
