package salvage_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// A pool's metadata, as the kernel left it, loses its superblock. What the VG's text says of
// the pool helps to find the trees again.
func ExampleRun() {
	meta, err := corpus.ReadPacked("../testdata/tmeta.zst")
	if err != nil {
		log.Fatal(err)
	}
	clear(meta[:4096])
	hints := salvage.Hints{ChunkSize: 64 << 10, TransactionID: 9, Devices: map[uint32]uint64{}}
	for id := range uint32(9) {
		hints.Devices[id+1] = uint64(id) // the transaction that made it
	}
	pool, err := salvage.Run(bytes.NewReader(meta), int64(len(meta)), hints)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pool.SuperErr)
	dev, ok := pool.Device(2)
	if !ok {
		log.Fatal("no device 2")
	}
	blocks := map[thin.State]uint64{}
	for run := range dev.Runs(0, 1023) {
		if run.Doubt == "" {
			blocks[run.State] += run.Last - run.First + 1
		}
	}
	fmt.Printf("device 2, for sure: %d blocks mapped, %d holes; lost: %d\n", blocks[thin.Mapped], blocks[thin.Hole], blocks[thin.Lost])
	// Output:
	// metadata block 0 (byte 0): thin superblock.csum at byte 0: checksum is 0x00000000, computed 0x58cfd397
	// device 2, for sure: 71 blocks mapped, 953 holes; lost: 0
}
