package metadata_test

import (
	"bytes"
	"fmt"
	"log"
	"os"

	"github.com/lvrescue/lvrescue/metadata"
)

// A text from an archive of lvm2, read into a VG and written again.
func Example() {
	raw, err := os.ReadFile("testdata/text/linear.backup.vg")
	if err != nil {
		log.Fatal(err)
	}
	text, err := metadata.Parse(raw)
	if err != nil {
		log.Fatal(err)
	}
	vg, err := metadata.Decode(text)
	if err != nil {
		log.Fatal(err)
	}
	for _, lv := range vg.LVs {
		for _, s := range lv.Segments {
			fmt.Printf("%s/%s: extents %d to %d on %s\n", vg.Name, lv.Name, s.StartExtent, s.StartExtent+s.ExtentCount-1, s.Areas[0].Name)
		}
	}
	var again bytes.Buffer
	if _, err := text.WriteTo(&again); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same bytes:", bytes.Equal(raw, again.Bytes()))
	// Output:
	// vg0/root: extents 0 to 19 on pv0
	// vg0/root: extents 20 to 34 on pv2
	// vg0/root: extents 35 to 46 on pv1
	// vg0/export: extents 0 to 29 on pv1
	// vg0/swap: extents 0 to 16 on pv2
	// the same bytes: true
}

// Of a damaged text everything is returned that is intact, and an error says what is not.
func ExampleParseTolerant() {
	raw, err := os.ReadFile("testdata/text/linear.backup.vg")
	if err != nil {
		log.Fatal(err)
	}
	copy(raw[bytes.Index(raw, []byte("pe_start")):], "\xff\xff\xff\xff")
	vg, err := metadata.ParseTolerant(raw)
	fmt.Println(err)
	fmt.Println(vg.Name, "has", len(vg.PVs), "PVs and", len(vg.LVs), "LVs")
	// Output:
	// damaged metadata text: line 31, column 4 (byte 818): expected text, found "\xff\xff\xff\xfftart" (and 3 more)
	// vg0 has 2 PVs and 3 LVs
}
