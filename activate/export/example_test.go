package export_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/activate/export"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Any device can be exported, an LV as well as this one: 1 MiB of zeros with a hole that
// could not be read.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	dev, err := block.NewOverlay(block.NewZero(1<<20), []block.Extent{
		{Off: 65536, Len: 4096, State: block.Bad, Why: "sdb.img: not read by ddrescue"},
	})
	if err != nil {
		log.Fatal(err)
	}
	sum, err := export.Run(context.Background(), dev, filepath.Join(dir, "lv.img"), export.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes, %d of them lost; see %s\n", sum.Size, sum.Totals.Bad, filepath.Base(sum.Map))
	for e := range sum.Lost {
		fmt.Printf("%d bytes at %d: %s\n", e.Len, e.Off, e.Why)
	}
	// Output:
	// 1048576 bytes, 4096 of them lost; see lv.img.map
	// 4096 bytes at 65536: sdb.img: not read by ddrescue
}
