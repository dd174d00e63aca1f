package scan

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestListings(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.img", "a.img.MAP", "b.img"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	l := listings{}
	l.add(dir+"/", entries)
	for path, may := range map[string]bool{
		dir + "/a.img.map": true, // to some filesystems that is a.img.MAP
		dir + "/b.img.map": false,
		dir + "/a/b.map":   true, // was not listed
	} {
		assert.Equal(t, may, l.mayHold(path), path)
	}
	assert.True(t, listings(nil).mayHold(dir+"/b.img.map"))
}
