package volume_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures/demo"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// From disks, one of them gone, to LVs that say of each byte what it is worth.
func Example() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disks, err := demo.Unpack(dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := disks.Drop("sdd"); err != nil {
		log.Fatal(err)
	}
	ev, err := scan.Run(context.Background(), disks.Paths(), scan.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer ev.Close()
	found, err := rebuild.Build(ev, rebuild.Options{})
	if err != nil {
		log.Fatal(err)
	}
	office, err := found.Find("office")
	if err != nil {
		log.Fatal(err)
	}
	vg := office.At(nil)
	for _, lv := range vg.Meta.LVs {
		plan, err := activate.New(vg, lv, volume.OpenVolume)
		if err != nil {
			log.Fatal(err)
		}
		dev := volume.Open(plan) // reads as the LV does
		totals := block.Summarise(dev)
		fmt.Printf("%s: %s, %d of %d bytes lost\n", lv.Name, volume.Assess(plan, totals), totals.Bad, dev.Size())
	}
	// Output:
	// home: complete, 0 of 3145728 bytes lost
	// projects: complete, 0 of 2359296 bytes lost
	// archive: partial, 1572864 of 3145728 bytes lost
}
