package scan

import (
	"bytes"
	"encoding/binary"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
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

// Where md superblocks have the level of their array, a signed 32-bit number.
const (
	md090Level = 28
	md1Level   = 72
	mdMirror   = 1 // the level whose members hold the array's bytes as they are
)

const (
	mdAdvice    = "assemble the array read-only and scan that (mdadm --assemble --readonly)"
	imageAdvice = "its bytes are not those of the disk that it holds; convert it to a raw one first (qemu-img convert -O raw)"
)

var signatures = [...]signature{
	{fromStart(0), "LUKS\xba\xbe", "luks", "this is encrypted with LUKS: what is in it can be scanned when it is open (cryptsetup open --readonly)"},
	{fromStart(0), mdMagic, "md-member", "this is a member of an md array (superblock 1.1); " + mdAdvice},
	{fromStart(4096), mdMagic, "md-member", "this is a member of an md array (superblock 1.2); " + mdAdvice},
	{md10, mdMagic, "md-member", "this is a member of an md array (superblock 1.0); a PV found on it is the array's; " + mdAdvice},
	{md090, mdMagic, "md-member", "this is a member of an md array (superblock 0.90); a PV found on it is the array's; " + mdAdvice},
	{fromStart(0), "QFI\xfb", ImageFormat, "this is a qcow image: " + imageAdvice},
	{fromStart(0), "QED\x00", ImageFormat, "this is a QED image: " + imageAdvice},
	{fromStart(0), "KDMV", ImageFormat, "this is a VMDK image: " + imageAdvice},
	{fromStart(0), "COWD", ImageFormat, "this is a VMDK image: " + imageAdvice},
	{fromStart(0), "conectix", ImageFormat, "this is a VHD image: " + imageAdvice},
	{fromStart(0), "vhdxfile", ImageFormat, "this is a VHDX image: " + imageAdvice},
	{fromStart(64), "\x7f\x10\xda\xbe", ImageFormat, "this is a VDI image: " + imageAdvice},
	{fromStart(0), "WithoutF", ImageFormat, "this is a Parallels image: " + imageAdvice},
	{fromStart(0), "WithouFr", ImageFormat, "this is a Parallels image: " + imageAdvice},
	{fromStart(0), "EVF\x09\x0d\x0a\xff\x00", ImageFormat, "this is an EWF (E01) image: export it as a raw one first (ewfexport)"},
	{fromStart(0), "EVF2\x0d\x0a\x81\x00", ImageFormat, "this is an EWF (Ex01) image: export it as a raw one first (ewfexport)"},
	{fromStart(0), "AFF10\x0d\x0a\x00", ImageFormat, "this is an AFF image: convert it to a raw one first (affconvert)"},
	{fromStart(0), "partclon", ImageFormat, "this is an image of partclone: restore it to a raw one first (partclone.restore)"},
}

// ImageFormat is the code of a finding about a source that holds a disk's bytes in another order.
const ImageFormat = "image-format"

// suspicion is a span of the source of which a PV's bytes may not be what they seem.
type suspicion struct {
	container
	why string
}

// suspect doubts what is found in a container of another format, of which a signature stands at
// byte at of dev. Of md arrays only a member of a mirror with its superblock at the end reads as
// the array does: otherwise a PV on it is the array's, in pieces, or left over from before.
func (s *sourceScan) suspect(c container, code string, dev block.Device, at int64) {
	doubt := func(why string) { s.suspicions = append(s.suspicions, suspicion{c, s.src.Name + " " + why}) }
	switch code {
	case "luks":
		doubt("is encrypted with LUKS: a PV on it is left over from before")
		return
	case "md-member":
	default:
		return
	}
	b, _ := read(dev, at, md1Level+4)
	if len(b) < md1Level+4 {
		return
	}
	level := binary.LittleEndian.Uint32(b[md1Level:])
	if at == md090(c.size) {
		level = binary.LittleEndian.Uint32(b[md090Level:])
	}
	if at <= 4096 || level != mdMirror {
		doubt("is a member of an md array: the array has the PV, not its member")
	}
}

// doubt says why a PV that begins at byte base may not have its bytes there.
func (s *sourceScan) doubt(base int64, where string) string {
	for _, x := range s.suspicions {
		if base >= x.start && base-x.start < x.size {
			return x.why
		}
	}
	if base == 0 && where == "" && s.partitioned {
		return s.src.Name + " has a partition table, which LVM allows on no PV: the PV may be left over from before"
	}
	return ""
}

// longestMagic is the most that is read for a signature, in bytes.
const longestMagic = 8

// signatures names what a container is if it is known not to be a PV. foreign tells that it holds
// a disk's bytes in another order.
func (s *sourceScan) signatures(c container) (foreign bool) {
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
			severity := Info
			if sig.code == ImageFormat {
				severity, foreign = Warning, true
			}
			s.find(severity, sig.code, c.start+at, "%s", sig.text)
			s.suspect(c, sig.code, dev, at)
		}
	}
	if bytes.Contains(head, []byte("contents = \"Text Format Volume Group\"")) {
		s.find(Info, "backup-as-source", c.start, "this is an lvm2 backup file, not a disk: name it with --backup")
	}
	return foreign
}
