package domain_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate/domain"
	"github.com/lvrescue/lvrescue/fixtures"
)

// TestVDOWantsAllButItsIndex also when it cannot be opened yet: then there is no telling
// where the index ends.
func TestVDOWantsAllButItsIndex(t *testing.T) {
	const (
		data  = 1 << 20 // where the pool's data begins on the disk, bytes
		size  = 5 << 30
		super = 679128 * 4096 // of the super block in it
	)
	c := fixtures.Open(t, "vdo-crash")
	_, plan := open(t, c.Paths(), "vgv/v1")
	needs, absent := domain.OfLVs(plan)
	require.Empty(t, absent)
	require.Len(t, needs, 1)
	require.Equal(t, domain.Ranges{{data, 4096}, {data + super, size - super}}, needs[0].Needed)

	f, err := os.OpenFile(c.Disk("a"), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 4096), data)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, plan = open(t, c.Paths(), "vgv/v1")
	needs, _ = domain.OfLVs(plan)
	require.Len(t, needs, 1)
	require.Equal(t, domain.Ranges{{data, size}}, needs[0].Needed)
}
