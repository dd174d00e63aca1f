package salvage

import (
	"encoding/binary"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

// suspect tells whether a block whose checksum is wrong would else be a leaf of mappings of
// a device with so many blocks.
func suspect(n *btree.Node, b []byte, at, blocks uint64) bool {
	const ownNumber = 8
	return binary.LittleEndian.Uint64(b[ownNumber:]) == at && at != 0 && at < blocks &&
		n.Reset(b, at) == nil && n.Leaf && n.ValueSize == 8 && n.Entries > 0
}
