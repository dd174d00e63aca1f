package scan

import (
	"bytes"

	"github.com/lvrescue/lvrescue/metadata"
)

// signature tells a format that is not LVM2's, but stands between the user and the data.
type signature struct {
	at    func(size int64) int64 // its place in a container of size bytes
	magic string
	code  string
	text  string
}

// fromStart is a place n bytes behind the start.
func fromStart(n int64) func(int64) int64 { return func(int64) int64 { return n } }

// md superblocks (Linux, include/uapi/linux/raid/md_p.h, drivers/md/md.c).
const mdMagic = "\xfc\x4e\x2b\xa9"

// md090 is the place of a 0.90 superblock: the last whole 64 KiB.
func md090(size int64) int64 { return size&^(64<<10-1) - 64<<10 }

// md10 is the place of a 1.0 superblock: at least 8 KiB before the end, on 4 KiB.
func md10(size int64) int64 { return (size/metadata.SectorSize - 16) &^ 7 * metadata.SectorSize }

const mdAdvice = "assemble the array read-only and scan that (mdadm --assemble --readonly)"

var signatures = [...]signature{
	{fromStart(0), "LUKS\xba\xbe", "luks", "this is encrypted with LUKS: what is in it can be scanned when it is open (cryptsetup open --readonly)"},
	{fromStart(0), mdMagic, "md-member", "this is a member of an md array (superblock 1.1); " + mdAdvice},
	{fromStart(4096), mdMagic, "md-member", "this is a member of an md array (superblock 1.2); " + mdAdvice},
	{md10, mdMagic, "md-member", "this is a member of an md array (superblock 1.0); a PV found on it is the array's; " + mdAdvice},
	{md090, mdMagic, "md-member", "this is a member of an md array (superblock 0.90); a PV found on it is the array's; " + mdAdvice},
	{fromStart(0), "QFI\xfb", "image-format", "this is a qcow2 image: convert it to a raw one first (qemu-img convert -O raw)"},
	{fromStart(0), "KDMV", "image-format", "this is a VMDK image: convert it to a raw one first (qemu-img convert -O raw)"},
	{fromStart(0), "vhdxfile", "image-format", "this is a VHDX image: convert it to a raw one first (qemu-img convert -O raw)"},
	{fromStart(0), "EVF\x09\x0d\x0a\xff\x00", "image-format", "this is an EWF (E01) image: export it as a raw one first (ewfexport)"},
}

// longestMagic is the most that is read for a signature, in bytes.
const longestMagic = 8

// signatures names what a container is if it is known not to be a PV.
func (s *sourceScan) signatures(c container) {
	dev := s.device(c, c.start)
	head, _ := read(dev, 0, metadata.SectorSize)
	if l, err := metadata.ParseLegacy(head); err == nil {
		s.find(Warning, "legacy-label", c.start, "this is a PV of %s, of %q: too old a format, not read", l.Format, l.Name)
	}
	for _, sig := range signatures {
		at := sig.at(c.size)
		b := head
		if at != 0 {
			b, _ = read(dev, at, longestMagic)
		}
		if bytes.HasPrefix(b, []byte(sig.magic)) {
			s.find(Info, sig.code, c.start+at, "%s", sig.text)
		}
	}
	if bytes.Contains(head, []byte("contents = \"Text Format Volume Group\"")) {
		s.find(Info, "backup-as-source", c.start, "this is an lvm2 backup file, not a disk: name it with --backup")
	}
}
