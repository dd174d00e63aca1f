package writecache

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMapIsBounded reads as many entries as there is room for: what is not read is told, and
// entries that replace each other take no room.
func TestMapIsBounded(t *testing.T) {
	const part = chunkSize / entrySize
	device := func(different int) *Map {
		const blocks = 6 * part
		b := make([]byte, sbSize+blocks*entrySize)
		binary.LittleEndian.PutUint32(b, magic)
		binary.LittleEndian.PutUint32(b[sbVersion:], version)
		binary.LittleEndian.PutUint32(b[sbBlockSize:], sectorSize)
		binary.LittleEndian.PutUint64(b[sbBlocks:], blocks)
		binary.LittleEndian.PutUint64(b[sbSeq:], blocks)
		for i := range blocks {
			e := b[sbSize+i*entrySize:]
			binary.LittleEndian.PutUint64(e, uint64(i%different))
			binary.LittleEndian.PutUint64(e[entrySeq:], uint64(i))
		}
		m, err := read(bytes.NewReader(b), 1<<40, 1<<40, 4*part)
		require.NoError(t, err)
		require.LessOrEqual(t, len(m.Entries), 4*part)
		return m
	}
	m := device(6 * part)
	require.ErrorContains(t, m.Err, "more than 262144 blocks are committed: entries from 262144 on are not read")
	require.Len(t, m.Entries, 4*part)

	m = device(part)
	require.NoError(t, m.Err)
	require.Len(t, m.Entries, part)
	require.EqualValues(t, 5*part, m.Entries[0].Index)
	require.Less(t, maxEntries*binary.Size(Entry{}), 256<<20)
}
