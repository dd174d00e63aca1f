package block

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGuarded(t *testing.T) {
	require.NoError(t, Guarded(func() error { return nil })())
	plain := errors.New("plain")
	require.Equal(t, plain, Guarded(func() error { return plain })())

	err := Guarded(func() error {
		var list []int
		return errors.New(string(rune(list[3])))
	})()
	var fault *Fault
	require.ErrorAs(t, err, &fault)
	require.ErrorContains(t, err, "internal error: runtime error: index out of range [3]")
	require.Contains(t, string(fault.Stack), "fault_test.go:18", "where it happened")

	again := Guarded(func() error { panic(fault) })()
	require.Same(t, fault, again, "where it happened first is what counts")
}
