package scan_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/fixtures/demo"
	"github.com/lvrescue/lvrescue/scan"
)

// A directory of disk images, made by real LVM, is searched for PVs.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := demo.Unpack(dir); err != nil {
		log.Fatal(err)
	}
	ev, err := scan.Run(context.Background(), []string{filepath.Join(dir, "disks")}, scan.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer ev.Close()
	for _, pv := range ev.PVs {
		fmt.Printf("%s: %d bytes, %d metadata area\n", filepath.Base(pv.Source.Name), pv.Label.DeviceSize, len(pv.Areas))
	}
	fmt.Println(len(ev.Copies), "copies of metadata texts")
	// Output:
	// sda.img: 12582912 bytes, 1 metadata area
	// sdb.img: 12582912 bytes, 1 metadata area
	// sdc.img: 12582912 bytes, 1 metadata area
	// sdd.img: 12582912 bytes, 1 metadata area
	// 4 copies of metadata texts
}
