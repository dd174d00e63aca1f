package dm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The control device takes ioctls with a buffer: a header, and what the command needs or
// gives behind it (include/uapi/linux/dm-ioctl.h).
//
//	DmIoctl | what goes in: (DmTargetSpec, parameters, NUL, padding)...
//	        | what comes out: names, dependencies, status, versions

const (
	headerSize = int(unsafe.Sizeof(unix.DmIoctl{}))
	specSize   = int(unsafe.Sizeof(unix.DmTargetSpec{}))
)

// Flags for udev, in the upper half of Event_nr: none of its rules shall look into our
// devices (lvm2: libdm/libdevmapper.h, DM_UDEV_...).
const (
	udevDisableSubsystem = 0x2 << 16
	udevDisableDisk      = 0x4 << 16
	udevDisableOther     = 0x8 << 16
	udevPrimary          = 0x40 << 16

	udevQuiet = udevDisableSubsystem | udevDisableDisk | udevDisableOther
)

// control is the open control device.
type control struct{ f *os.File }

// request is one ioctl.
type request struct {
	cmd     uint
	name    string // of name and uuid one is enough
	uuid    string
	flags   uint32
	event   uint32
	targets int
	data    []byte // behind the header
	room    int    // for what comes out
}

// answer is what came out.
type answer struct {
	unix.DmIoctl
	data []byte // behind the header
}

// cstring is the text up to the first NUL.
func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// do runs a request. If the answer does not fit the room grows.
func (c *control) do(r request) (*answer, error) {
	const most = 1 << 28
	for room := r.room; ; room = max(4*room, 1<<12) {
		buf := make([]byte, headerSize+max(len(r.data), room))
		head := (*unix.DmIoctl)(unsafe.Pointer(&buf[0]))
		*head = unix.DmIoctl{
			Version:      [3]uint32{unix.DM_VERSION_MAJOR, 0, 0},
			Data_size:    uint32(len(buf)),
			Data_start:   uint32(headerSize),
			Target_count: uint32(r.targets),
			Flags:        r.flags,
			Event_nr:     r.event,
		}
		if len(r.name) >= len(head.Name) || len(r.uuid) >= len(head.Uuid) {
			return nil, fmt.Errorf("%q or %q is too long for device-mapper", r.name, r.uuid)
		}
		copy(head.Name[:], r.name)
		copy(head.Uuid[:], r.uuid)
		copy(buf[headerSize:], r.data)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, c.f.Fd(), uintptr(r.cmd), uintptr(unsafe.Pointer(&buf[0])))
		runtime.KeepAlive(buf)
		if errno != 0 {
			return nil, errno
		}
		if head.Flags&unix.DM_BUFFER_FULL_FLAG == 0 {
			end := min(max(int(head.Data_size), headerSize), len(buf))
			return &answer{*head, buf[headerSize:end]}, nil
		}
		if room > most {
			return nil, fmt.Errorf("device-mapper has more to say than %d bytes", room)
		}
	}
}

// create makes a device without a table, and gives its number.
func (c *control) create(name, uuid string) (dev uint64, err error) {
	a, err := c.do(request{cmd: unix.DM_DEV_CREATE, name: name, uuid: uuid})
	if err != nil {
		return 0, err
	}
	return a.Dev, nil
}

// load gives a device a table, which does not count before it is resumed. Loaded read-only,
// all that the table stands on is opened for reading only.
func (c *control) load(name string, writable bool, table []line) error {
	r := request{cmd: unix.DM_TABLE_LOAD, name: name, targets: len(table)}
	if !writable {
		r.flags = unix.DM_READONLY_FLAG
	}
	for _, l := range table {
		size := (specSize + len(l.params) + 1 + 7) / 8 * 8
		spec := make([]byte, size)
		if len(l.kind) >= unix.DM_MAX_TYPE_NAME {
			return fmt.Errorf("no target is called %q", l.kind)
		}
		binary.NativeEndian.PutUint64(spec[0:], uint64(l.start))
		binary.NativeEndian.PutUint64(spec[8:], uint64(l.length))
		binary.NativeEndian.PutUint32(spec[20:], uint32(size)) // to the next one
		copy(spec[24:], l.kind)
		copy(spec[specSize:], l.params)
		r.data = append(r.data, spec...)
	}
	_, err := c.do(r)
	return err
}

// resume makes a loaded table count.
func (c *control) resume(name string) error {
	_, err := c.do(request{cmd: unix.DM_DEV_SUSPEND, name: name, event: udevQuiet | udevPrimary})
	return err
}

// remove takes a device away that nobody has open.
func (c *control) remove(name string) error {
	_, err := c.do(request{cmd: unix.DM_DEV_REMOVE, name: name, event: udevQuiet | udevPrimary})
	return err
}

// info tells of a device.
func (c *control) info(name string) (info, error) {
	a, err := c.do(request{cmd: unix.DM_DEV_STATUS, name: name})
	if err != nil {
		return info{}, err
	}
	return info{
		name: cstring(a.Name[:]), uuid: cstring(a.Uuid[:]), dev: a.Dev, open: int(a.Open_count),
		active: a.Flags&unix.DM_ACTIVE_PRESENT_FLAG != 0, readOnly: a.Flags&unix.DM_READONLY_FLAG != 0,
	}, nil
}

// tableStatus gives what each target of a device says of itself.
func (c *control) tableStatus(name string) (lines []line, err error) {
	a, err := c.do(request{cmd: unix.DM_TABLE_STATUS, name: name, flags: unix.DM_NOFLUSH_FLAG, room: 1 << 16})
	if err != nil {
		return nil, err
	}
	at := 0
	for range a.Target_count {
		if at < 0 || at+specSize > len(a.data) {
			return lines, errors.New("device-mapper's status is cut short")
		}
		b := a.data[at:]
		lines = append(lines, line{
			start:  int64(binary.NativeEndian.Uint64(b)),
			length: int64(binary.NativeEndian.Uint64(b[8:])),
			kind:   cstring(b[24:specSize]),
			params: cstring(b[specSize:]),
		})
		at = int(binary.NativeEndian.Uint32(b[20:])) // from the start of the data
	}
	return lines, nil
}

// devices lists the names of all devices there are.
func (c *control) devices() (names []string, err error) {
	a, err := c.do(request{cmd: unix.DM_LIST_DEVICES, room: 1 << 17})
	if err != nil {
		return nil, err
	}
	for at := 0; at+12 <= len(a.data); { // dev u64, next u32, name
		if binary.NativeEndian.Uint64(a.data[at:]) == 0 {
			break // there is none
		}
		names = append(names, cstring(a.data[at+12:]))
		next := int(binary.NativeEndian.Uint32(a.data[at+8:]))
		if next <= 0 {
			break
		}
		at += next
	}
	return names, nil
}

// hasTarget asks for a kind of target, which makes the kernel load its module.
func (c *control) hasTarget(kind string) bool {
	_, err := c.do(request{cmd: unix.DM_GET_TARGET_VERSION, name: kind})
	if err == nil {
		return true
	}
	a, err := c.do(request{cmd: unix.DM_LIST_VERSIONS, room: 1 << 14}) // of kernels before 4.20
	if err != nil {
		return false
	}
	for at := 0; at+16 <= len(a.data); { // next u32, version [3]u32, name
		if cstring(a.data[at+16:]) == kind {
			return true
		}
		next := int(binary.NativeEndian.Uint32(a.data[at:]))
		if next <= 0 {
			break
		}
		at += next
	}
	return false
}
