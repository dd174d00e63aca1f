package carve_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lvrescue/lvrescue/carve"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/fixtures/demo"
	"github.com/lvrescue/lvrescue/scan"
)

// A disk has lost its label and the header of its metadata area. A search of the whole
// surface finds what is left.
func ExampleCase_Run() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disks, err := demo.Unpack(dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := damage.Zero(disks.Disk("sda"), 0, 8192); err != nil {
		log.Fatal(err)
	}
	ev, err := scan.Run(context.Background(), []string{disks.Disk("sda")}, scan.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer ev.Close()
	c, err := carve.OpenToWrite(filepath.Join(dir, "case"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	outcomes, err := c.Run(context.Background(), ev.Sources, carve.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range outcomes {
		fmt.Printf("%d of %d bytes searched\n", o.Searched, o.Wanted)
		for _, f := range o.Finds {
			if f.Kind == carve.Text {
				fmt.Printf("byte %d: seqno %d of VG %s: %s\n", f.Offset, f.Seqno, f.Name, f.Says)
			}
		}
	}
	// Output:
	// 12582912 of 12582912 bytes searched
	// byte 8192: seqno 3 of VG office: Write from lvextend -l +4 office/home /dev/loop1.
	// byte 10240: seqno 4 of VG office: Write from lvcreate -i 3 -I 32k -l 9 -n projects office /dev/loop0 /dev/loop1 /dev/loop2.
	// byte 12288: seqno 5 of VG office: Write from lvcreate -l 6 -n archive office /dev/loop2.
	// byte 14848: seqno 6 of VG office: Write from lvextend -l +6 office/archive /dev/loop3.
	// byte 17408: seqno 7 of VG office: Write from lvcreate -l 4 -n mail office /dev/loop1.
	// byte 20480: seqno 8 of VG office: Write from lvremove -y office/mail.
}
