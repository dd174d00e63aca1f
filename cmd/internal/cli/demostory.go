package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/fixtures/corpus"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	office "github.com/lvrescue/lvrescue/fixtures/demo"
	"github.com/lvrescue/lvrescue/scan/block"
)

// What the story breaks, in bytes of the disks of package demo.
const (
	labelBytes  = 4 * block.SectorSize // of sda: the label's place
	textStart   = 4096 + 512           // of sdc: the ring of metadata texts
	textBytes   = 1<<20 - textStart
	scratchedAt = 1<<20 + 4<<18 + 64<<10 // of sdb: in the first extent of office/projects there
	scratchedBy = 64 << 10
)

// play tells the story, from the damage to the proof.
func (d *demo) play() error {
	c, err := office.Unpack(".")
	if err != nil {
		return err
	}
	if err := breakDisks(c); err != nil {
		return err
	}
	d.say("A small office kept its files on the volume group \"office\", on four disks. Then the server fell. " +
		"disks/ holds the images of what is left: sda was half reinstalled and has lost its LVM label; sdb is scratched, " +
		"and ddrescue could not read 64 KiB of it (sdb.img.map); on sdc the metadata is garbage; sdd is gone.")
	d.say("First, look. lvrescue only ever reads the disks. Exit code 3 will mean: delivered, but not all.")
	if err := d.run(exitPartial, "scan", "disks"); err != nil {
		return err
	}
	d.say("One PV is missing. sda.img was known without its label by what stands on it; had nothing been left to tell, " +
		"--assume UUID=disks/sda.img would put it in its place. Now take everything that can be had. What is lost is filled with zeros and named in a map beside the image.")
	if err := d.run(exitPartial, "export", "office", "--all", "-o", "rescued", "disks"); err != nil {
		return err
	}
	return d.secondHalf(c)
}

// secondHalf brings back what was removed and what was scratched, and proves it all.
func (d *demo) secondHalf(c *corpus.Corpus) error {
	d.say("Somebody had removed the volume \"mail\" last week. Old versions of the metadata are still on the disks:")
	if err := d.run(exitComplete, "lvs", "office", "--removed", "disks"); err != nil {
		return err
	}
	mail, golden := removedLV(c)
	d.say("Nothing has been written over it since. --at reads it as of that version.")
	if err := d.run(exitComplete, "export", mail, "--at", strconv.Itoa(golden.Seqno), "-o", "rescued/mail.img", "disks"); err != nil {
		return err
	}
	d.say("projects lacks the 64 KiB that ddrescue could not read. The dying disk should be asked for these and nothing else:")
	if err := d.run(exitComplete, "domain", "office/projects", "-o", "rescued", "disks"); err != nil {
		return err
	}
	d.say("Say that ddrescue, at the second try, gets them (here the demo copies them from a healthy disk). Export projects again:")
	if err := rereadDisk(); err != nil {
		return err
	}
	if err := d.run(exitComplete, "export", "office/projects", "--force", "-o", "rescued/projects.img", "disks"); err != nil {
		return err
	}
	d.say("The proof: these disks were made by real LVM, and the kernel's own SHA-256 of every volume was noted while they were healthy.")
	return d.prove(c, mail, golden)
}

// breakDisks keeps healthy copies of what the story needs later, and does the damage.
func breakDisks(c *corpus.Corpus) error {
	if err := os.MkdirAll("healthy", 0o777); err != nil {
		return err
	}
	sdb, err := os.ReadFile(c.Disk("sdb"))
	if err != nil {
		return err
	}
	size := int64(len(sdb))
	m := &block.Mapfile{Status: byte(block.Finished), Pass: 1}
	m.Add(scratchedAt, block.Finished)
	m.Add(scratchedBy, block.BadSector)
	m.Add(size-scratchedAt-scratchedBy, block.Finished)
	return errors.Join(
		os.WriteFile("healthy/sdb.img", sdb, 0o666),
		c.Extract("office/archive", "healthy/archive.img"),
		damage.Zero(c.Disk("sda"), 0, labelBytes),
		damage.Zero(c.Disk("sdb"), scratchedAt, scratchedBy),
		block.SaveMapfile(c.Disk("sdb")+".map", m),
		damage.Noise(c.Disk("sdc"), textStart, textBytes, 1),
		os.Remove(c.Disk("sdd")))
}

// rereadDisk does what ddrescue would at its second try.
func rereadDisk() error {
	m := &block.Mapfile{Status: byte(block.Finished), Pass: 1}
	info, err := os.Stat("disks/sdb.img")
	if err != nil {
		return err
	}
	m.Add(info.Size(), block.Finished)
	return errors.Join(
		damage.CopyRange("disks/sdb.img", "healthy/sdb.img", scratchedAt, scratchedBy),
		block.SaveMapfile("disks/sdb.img.map", m))
}

// removedLV finds the LV of the corpus that was removed.
func removedLV(c *corpus.Corpus) (name string, g corpus.Golden) {
	for key, golden := range c.Golden {
		if golden.Seqno != 0 {
			name, _, _ = strings.Cut(key, "@")
			g = golden
		}
	}
	return name, g
}

// prove holds what was rescued against what the kernel read.
func (d *demo) prove(c *corpus.Corpus, mail string, golden corpus.Golden) error {
	t := render.Table{Columns: []render.Column{render.Left("LV"), render.Right("Delivered"), render.Left("Against what the kernel read")}}
	for _, lv := range []struct {
		name   string
		golden corpus.Golden
	}{{"office/home", c.Golden["office/home"]}, {"office/projects", c.Golden["office/projects"]}, {mail, golden}} {
		f, err := os.Open(filepath.Join("rescued", filepath.Base(lv.name)+".img"))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := lv.golden.Check(f); err != nil {
			return fmt.Errorf("%s: %w", lv.name, err)
		}
		t.Add(lv.name, d.size(lv.golden.Size), fmt.Sprintf("SHA-256 equal: %x…", lv.golden.SHA256[:8]))
	}
	delivered, err := sameWhereFinished("healthy/archive.img", "rescued/archive.img")
	if err != nil {
		return err
	}
	t.Add("office/archive", d.size(delivered), "every delivered byte equal; the map names the others: they were on sdd")
	var out bytes.Buffer
	if err := t.Write(&out); err != nil {
		return err
	}
	step := &d.steps[len(d.steps)-1]
	step.Output = out.String()
	if d.json {
		return nil
	}
	_, err = fmt.Fprintf(d.out, "\n%s\nThat was all of it; nothing is left behind. lvrescue --help lists the commands.\n", out.String())
	return err
}

// sameWhereFinished compares an export with the healthy LV wherever the export's map calls
// it finished, and returns how many bytes that are.
func sameWhereFinished(healthy, export string) (n int64, err error) {
	m, err := block.ReadMapfile(export + ".map")
	if err != nil {
		return 0, err
	}
	want, err := os.ReadFile(healthy)
	if err != nil {
		return 0, err
	}
	got, err := os.ReadFile(export)
	if err != nil {
		return 0, err
	}
	if len(got) != len(want) || m.End() != int64(len(want)) {
		return 0, fmt.Errorf("%s has %d bytes and a map of %d, not %d", export, len(got), m.End(), len(want))
	}
	for _, b := range m.Blocks {
		if b.Status != block.Finished {
			continue
		}
		if !bytes.Equal(got[b.Off:b.End()], want[b.Off:b.End()]) {
			return 0, fmt.Errorf("%s differs from the healthy volume in bytes %d-%d", export, b.Off, b.End()-1)
		}
		n += b.Len
	}
	return n, nil
}
