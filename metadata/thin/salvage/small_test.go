package salvage_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// smallTree makes a tree of leaves of few mappings, so that parts of one device look like
// another's. data is the next block of the data.
func smallTree(m *pdata.Image, rnd *rand.Rand, data *uint64) (root, mapped uint64) {
	var children []pdata.Entry
	key := rnd.Uint64N(4)
	for range 1 + rnd.IntN(5) {
		var entries []pdata.Entry
		for range 2 + rnd.IntN(3) {
			entries = append(entries, pdata.Mapping(key, *data, uint32(rnd.IntN(3))))
			key, *data = key+1+rnd.Uint64N(3), *data+1
		}
		mapped += uint64(len(entries))
		children = append(children, pdata.Number(entries[0].Key, m.Node(true, 8, entries...)))
		key += rnd.Uint64N(6)
	}
	if len(children) == 1 && rnd.IntN(2) == 0 {
		return binary.LittleEndian.Uint64(children[0].Value), mapped
	}
	return m.Node(false, 8, children...), mapped
}

// smallPool makes a pool of a few devices, with what an older commit has left.
func smallPool(rnd *rand.Rand) ([]byte, []uint32, salvage.Hints) {
	m, data := pdata.New(), uint64(100_000)
	hints := salvage.Hints{ChunkSize: 65536, Devices: map[uint32]uint64{}, Guess: rnd.IntN(2) == 0}
	var devices []pdata.Device
	var ids []uint32
	commits := 1 + rnd.IntN(2)
	for i := range 2 + rnd.IntN(4) {
		d := pdata.Device{ID: uint32(i + 1), Transaction: uint64(i), Created: 1, Snapped: 2}
		if i > 0 && rnd.IntN(4) == 0 { // a snapshot
			d.Root, d.Mapped = devices[i-1].Root, devices[i-1].Mapped
		} else {
			d.Root, d.Mapped = smallTree(m, rnd, &data)
		}
		devices, ids = append(devices, d), append(ids, d.ID)
		hints.Devices[d.ID] = d.Transaction
	}
	for n := range commits {
		hints.TransactionID = uint64(len(devices) + n)
		m.Commit(pdata.Pool{Time: uint32(2 + n), Transaction: hints.TransactionID, Devices: devices})
		if n+1 < commits { // then a device is written anew
			d := &devices[rnd.IntN(len(devices))]
			d.Root, d.Mapped = smallTree(m, rnd, &data)
		}
	}
	return *m, ids, hints
}

// TestSmallPools damages some blocks of small pools, in which much looks alike: whatever is called
// sure is right.
func TestSmallPools(t *testing.T) {
	pools := 250 * *seeds
	if testing.Short() {
		pools /= 5
	}
	for seed := range uint64(pools) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 11))
			b, ids, hints := smallPool(rnd)
			want := truthOf(t, b, ids...)
			blocks := len(b) / btree.BlockSize
			for range 1 + rnd.IntN(5) {
				at := b[rnd.IntN(blocks)*btree.BlockSize:][:btree.BlockSize]
				switch rnd.IntN(3) {
				case 0:
					clear(at)
				case 1:
					at[rnd.IntN(len(at))]++
				default: // a number among the first keys or values, or how many there are
					at[[]int{16, 32 + rnd.IntN(48), 32 + 8*252 + rnd.IntN(48)}[rnd.IntN(3)]]++
				}
			}
			p, err := salvage.Run(image(b), int64(len(b)), hints)
			if err == nil {
				want.hold(t, p)
			}
		})
	}
}
