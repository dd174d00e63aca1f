package block

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnAllCores(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		seen := make([]int, n)
		require.NoError(t, OnAllCores(n, func(i int) { seen[i]++ }))
		for i := range seen {
			require.Equal(t, 1, seen[i], i)
		}
	}
	var fault *Fault
	require.ErrorAs(t, OnAllCores(3, func(i int) { panic(i) }), &fault)
}
