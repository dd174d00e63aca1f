package export_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/export"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures/demo"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// An LV of which half lies on a disk that is gone becomes an image and a map. Any device can
// be exported; to have one of an LV takes a scan, a VG and a plan.
func ExampleRun() {
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
	lv, err := vg.LV("archive")
	if err != nil {
		log.Fatal(err)
	}
	plan, err := activate.New(vg, lv, volume.OpenVolume)
	if err != nil {
		log.Fatal(err)
	}
	sum, err := export.Run(context.Background(), volume.Open(plan), filepath.Join(dir, "archive.img"), export.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes, %d of them lost; see %s\n", sum.Size, sum.Totals.Bad, filepath.Base(sum.Map))
	for e := range sum.Lost {
		fmt.Printf("%d bytes at %d: %s\n", e.Len, e.Off, e.Why)
	}
	// Output:
	// 3145728 bytes, 1572864 of them lost; see archive.img.map
	// 1572864 bytes at 1572864: PV pv3 (U0IHMn-spqx-C2iq-aRYm-HgQ7-JXYC-Y4rdME) is missing
}
