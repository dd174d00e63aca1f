// Package dm puts LVs on the kernel's device-mapper, read-only: it turns a plan into tables,
// attaches image files to loop devices, makes the devices and takes them down again.
//
// A plan becomes a [Stack]: what has to be made for one LV, in order. [Compile] makes it and
// needs no kernel; [Script] prints it for a shell with losetup and dmsetup; a [Host]
// makes it.
//
// Whatever the plan decides is laid down in the tables: where a thin LV's chunks lie, which
// blocks a cache holds, which leg of a mirror is right. The kernel's own targets for these,
// which write as soon as they start, are not used. What raid and integrity stand on,
// which the kernel is needed for, has throw-away overlays, a fence each, so that nothing that
// is written reaches a source.
//
// All offsets and lengths are bytes, those of a [Target] sectors.
package dm

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
)

// Node is a block device that a table may stand on: a [*Source], a [*Scratch] or a [*Device].
type Node interface{ node() }

// Source is an image file or block device, from a byte on. A file is attached to a read-only
// loop device, and so is a block device of which the byte is not the first of a sector.
type Source struct {
	Path string
	File bool  // to be attached
	Off  int64 // of the loop device in the file; 0 for a block device used as it is
}

// Scratch is a sparse file, of Size bytes, on a loop device. It is where the kernel writes.
type Scratch struct {
	Path string // "": it has no name, and is gone when its loop device is
	Size int64
}

// Device is a device of device-mapper.
type Device struct {
	Name, UUID string
	Size       int64
	Writable   bool // else its table is loaded read-only
	Table      []Target

	lossy, doubt bool // some of what it stands on is lost, or in doubt
}

func (*Source) node()  {}
func (*Scratch) node() {}
func (*Device) node()  {}

// Target is a line of a device's table.
type Target struct {
	Start, Len int64 // sectors
	Type       string
	Args       []Arg
}

// Arg is a parameter of a target: a word, a node, for which its device stands, or a node
// behind a word.
type Arg struct {
	Text string
	On   Node
}

// Stack is what has to be made to have one LV: each device stands only on those before it,
// and the last one is the LV.
type Stack struct {
	VG, LV  string // their names, as they stand on the disks
	Devices []*Device

	overlay *Overlay // nil for none
}

// Top is the device that is the LV.
func (s *Stack) Top() *Device { return s.Devices[len(s.Devices)-1] }

// CannotError says why the kernel cannot give an LV as the plan has it. User space can.
type CannotError struct{ LV, Why string }

func (e *CannotError) Error() string {
	return fmt.Sprintf("%s cannot be had from device-mapper: %s", e.LV, e.Why)
}

// Prefixes of what lvrescue makes. LVM's own is "LVM-", so that neither takes the other's
// devices for its own.
const (
	NamePrefix = "lvrescue-"
	UUIDPrefix = "LVRESCUE-"
	lvmPrefix  = "LVM-"
)

// maxName is the longest name that the kernel takes, in bytes (DM_NAME_LEN without NUL).
const maxName = 127

// maxSuffix is kept free at the end of a name for devices below an LV.
const maxSuffix = 16

// DeviceName is the name of an LV's device: as LVM's, with hyphens doubled, behind a prefix.
// What LVM would not let be part of a name is written as =XX.
func DeviceName(vg, lv string) string {
	name := NamePrefix + mangle(vg) + "-" + mangle(lv)
	if len(name) <= maxName-maxSuffix {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%s=%x", name[:maxName-maxSuffix-9], sum[:4])
}

func mangle(name string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-"
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c == '-':
			b.WriteString("--")
		case strings.IndexByte(safe, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// CheckName refuses a name that the user has chosen for a device and that cannot be one.
func CheckName(name string) error {
	if name == "" || len(name) > maxName-maxSuffix || strings.ReplaceAll(mangle(name), "--", "-") != name || name == "control" || strings.HasPrefix(name, ".") {
		return fmt.Errorf("%q cannot be the name of a device: expected up to %d letters, digits and any of + _ . -", name, maxName-maxSuffix)
	}
	return nil
}

// ident is the UUID of a VG or LV as it is part of a device's. What has lost its own has one
// that is made of its name.
func ident(id metadata.ID, name string) string {
	if id.Valid() {
		return string(id)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(name)))[:idLength]
}
