package rebuild_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/fixtures/demo"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// One of four disks is gone: what the others tell of the VG, now and before.
func ExampleBuild() {
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
	ev, err := scan.Run(context.Background(), disks.Paths(), scan.Options{History: true})
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
	fmt.Println(len(office.Versions), "versions; now at seqno", office.Current.ID())
	for _, pv := range office.At(nil).PVs {
		if pv.Missing() {
			fmt.Println(pv.Meta.Key, "is missing")
		} else {
			fmt.Println(pv.Meta.Key, "is", filepath.Base(pv.Found.String()))
		}
	}
	for _, lv := range office.Removed() {
		fmt.Println(lv.LV.Name, "was removed; it was there at seqno", lv.Version.ID())
	}
	// Output:
	// 8 versions; now at seqno 8
	// pv0 is sda.img
	// pv1 is sdb.img
	// pv2 is sdc.img
	// pv3 is missing
	// mail was removed; it was there at seqno 7
}
