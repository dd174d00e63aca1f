package cache

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/metadata/btree"
)

// TestMapIsBounded reads a real cache with room for two mappings.
func TestMapIsBounded(t *testing.T) {
	b, err := corpus.ReadPacked("testdata/wb1.zst")
	require.NoError(t, err)
	sb, err := ParseSuperblock(b[:btree.BlockSize])
	require.NoError(t, err)
	m := &Map{Superblock: sb}
	m.load(btree.Array{Reader: btree.NewReader(bytes.NewReader(b), int64(len(b))), Root: sb.MappingRoot, ValueSize: mappingSize, Len: uint64(sb.Blocks)}, 2)
	require.Len(t, m.Mappings, 2)
	require.ErrorContains(t, m.Err, "more than 2 blocks")
	require.Greater(t, m.Lost, int64(0))
	require.Less(t, m.Lost, sb.Blocks)
	require.Less(t, maxMappings*binary.Size(Mapping{}), 256<<20)
}
