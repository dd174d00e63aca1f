package domain_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/domain"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/fixtures/demo"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// What an LV needs of each disk, and which of it the disk's mapfile says is still unread.
func ExampleOfLVs() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disks, err := demo.Unpack(dir)
	if err != nil {
		log.Fatal(err)
	}
	const read = "0 + 1\n0 2097152 +\n2097152 10485760 ?\n" // ddrescue has read 2 MiB of the disk
	if err := os.WriteFile(disks.Disk("sdc")+".map", []byte(read), 0o600); err != nil {
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
	needs, _ := domain.OfLVs(plan)
	for _, n := range needs {
		fmt.Printf("%s: %d bytes are needed, %d of them are not read yet\n", filepath.Base(n.Source.Name), n.Needed.Bytes(), n.Unread.Bytes())
	}
	// Output:
	// sdc.img: 1572864 bytes are needed, 1310720 of them are not read yet
	// sdd.img: 1572864 bytes are needed, 0 of them are not read yet
}
