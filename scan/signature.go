package scan

import (
	"bytes"
	"fmt"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/signs"
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

// mdMirror is the level whose members hold the array's bytes as they are.
const mdMirror = 1

const (
	mdMember    = "md-member"
	imageAdvice = "its bytes are not those of the disk that it holds; convert it to a raw one first (qemu-img convert -O raw)"
)

var signatures = [...]signature{
	{fromStart(0), "LUKS\xba\xbe", "luks", "this is encrypted with LUKS: what is in it can be scanned when it is open (cryptsetup open --readonly)"},
	{fromStart(0), mdMagic, mdMember, "1.1"},
	{fromStart(4096), mdMagic, mdMember, "1.2"},
	{md10, mdMagic, mdMember, "1.0"},
	{md090, mdMagic, mdMember, "0.90"},
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
	{fromStart(0), "Bochs Vi", ImageFormat, "this is a Bochs image: " + imageAdvice},
	{fromStart(0), "VMA\x00", ImageFormat, "this is a backup of Proxmox (VMA): extract the raw images first (vma extract)"},
	{fromStart(0), "\x3a\xff\x26\xed", ImageFormat, "this is a sparse image of Android: convert it to a raw one first (simg2img)"},
	{fromStart(257), "ustar", ImageFormat, "this is a tar archive, which may hold a disk in pieces: unpack it first (tar -x)"},
	{fromStart(0), "partclon", ImageFormat, "this is an image of partclone: restore it to a raw one first (partclone.restore)"},
}

// ImageFormat is the code of a finding about a source that holds a disk's bytes in another order.
const ImageFormat = "image-format"

// suspicion is a span of the source of which a PV's bytes may not be what they seem.
type suspicion struct {
	container
	why string
}

// maxMirrors bounds how many members of mirrors a source has, also within each other.
const maxMirrors = 64

// withMirrors adds what members of md's mirrors hold to the containers; where that is all of
// one but its end, the container is it. Of all other arrays a PV on a member is the array's, in
// pieces, or left over from before.
func (s *sourceScan) withMirrors(list []container) []container {
	n := len(list)
	for i := 0; i < len(list); i++ {
		at, version, foreign := s.signatures(list[i])
		if list[i].foreign = foreign; foreign || at < 0 {
			continue
		}
		c := list[i]
		b, _ := read(s.device(c, c.start), at, signs.Length)
		sign := signs.Read(b)
		if sign == nil || sign.Array == nil || sign.Array.Level != mdMirror || sign.Checksum != metadata.ChecksumValid ||
			sign.Start != signs.Unknown && sign.Start != at || sign.Size <= 0 || sign.Array.Data >= c.size || len(list) == n+maxMirrors {
			s.find(Info, mdMember, c.start+at, "this is a member of %s (superblock %s), which is not read: assemble the array read-only and scan that (mdadm --assemble --readonly)", arrayOf(sign), version)
			s.suspicions = append(s.suspicions, suspicion{c, s.src.Name + " is a member of an md array: the array has the PV, not its member"})
			continue
		}
		a := sign.Array
		s.find(Info, mdMember, c.start+at, "this is a member of a mirror of md (superblock %s), %s: what the mirror holds is looked for on it", version, sign.UUID)
		mirror := &Mirror{Array: sign.UUID, Position: a.Position, Events: a.Events, Active: a.Active, Unsure: a.Unsure}
		if a.Data == 0 {
			list[i].mirror = mirror
			continue
		}
		where := "md mirror"
		if c.where != "" {
			where = c.where + ", md mirror"
		}
		c.mirror = mirror
		s.suspicions = append(s.suspicions, suspicion{c, s.src.Name + " is a member of a mirror of md, whose data begins elsewhere"})
		list = append(list, container{start: c.start + a.Data, size: sign.Size, where: where, mirror: mirror})
	}
	return list
}

// arrayOf names an md array by the superblock of a member.
func arrayOf(sign *signs.Sign) string {
	switch {
	case sign == nil || sign.Array == nil || sign.Checksum != metadata.ChecksumValid:
		return "an md array whose superblock is damaged"
	case sign.Array.Level < 0:
		return fmt.Sprintf("a linear md array of %d disks", sign.Array.Devices)
	}
	return fmt.Sprintf("an md array, raid%d of %d disks", sign.Array.Level, sign.Array.Devices)
}

// doubt says why a PV that begins at byte base may not have its bytes there.
func (s *sourceScan) doubt(base int64, c container) string {
	if c.mirror != nil && c.mirror.Unsure != "" {
		return fmt.Sprintf("%s is a member of a mirror of md: %s", s.src.Name, c.mirror.Unsure)
	}
	for _, x := range s.suspicions {
		inside := x.mirror != nil && c.mirror != nil // what the mirror holds
		if !inside && base >= x.start && base-x.start < x.size {
			return x.why
		}
	}
	if base == 0 && c.where == "" && s.partitioned {
		return s.src.Name + " has a partition table, which LVM allows on no PV: the PV may be left over from before"
	}
	return ""
}

// longestMagic is the most that is read for a signature, in bytes.
const longestMagic = 8

// signatures names what a container is if it is known not to be a PV. It gives where on it the
// superblock of a member of an md array stands, -1 for nowhere, and of which version it is;
// foreign tells that it holds a disk's bytes in another order.
func (s *sourceScan) signatures(c container) (member int64, version string, foreign bool) {
	member = -1
	dev := s.device(c, c.start)
	head, _ := read(dev, 0, metadata.SectorSize)
	if l, err := metadata.ParseLegacy(head); err == nil {
		s.find(Warning, "legacy-label", c.start, "this is a PV of %s, of %q: too old a format, not read", l.Format, l.Name)
	}
	for _, sig := range signatures {
		at := sig.at(c.size)
		var b []byte
		if at >= 0 && at+longestMagic <= int64(len(head)) {
			b = head[at:]
		} else {
			b, _ = read(dev, at, longestMagic)
		}
		if bytes.HasPrefix(b, []byte(sig.magic)) {
			severity := Info
			switch sig.code {
			case mdMember:
				member, version = at, sig.text
				continue
			case ImageFormat:
				severity, foreign = Warning, !s.properly(c)
				if !foreign {
					s.suspicions = append(s.suspicions, suspicion{c, s.src.Name + " begins as an image of another format does: the PV may be left over from before"})
				}
			case "luks":
				s.suspicions = append(s.suspicions, suspicion{c, s.src.Name + " is encrypted with LUKS: a PV on it is left over from before"})
			}
			s.find(severity, sig.code, c.start+at, "%s", sig.text)
		}
	}
	if bytes.Contains(head, []byte("contents = \"Text Format Volume Group\"")) {
		s.find(Info, "backup-as-source", c.start, "this is an lvm2 backup file, not a disk: name it with --backup")
	}
	return member, version, foreign
}
