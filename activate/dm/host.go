package dm

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lvrescue/lvrescue/metadata"
)

// kernel is what a Host asks of the machine, one step each.
type kernel interface {
	create(name, uuid string) (dev uint64, err error)
	load(name string, writable bool, table []line) error
	resume(name string) error
	remove(name string) error
	link(name string, dev uint64) error // makes the node in /dev/mapper
	unlink(name string) error
	settle() // waits for udev

	// attachSource and attachScratch give the number of a block device, which stays until hold
	// is closed and nothing stands on it.
	attachSource(*Source) (dev uint64, hold io.Closer, err error)
	attachScratch(*Scratch) (dev uint64, hold io.Closer, err error)

	devices() (names []string, err error)
	info(name string) (info, error)
	tableStatus(name string) ([]line, error)
	hasTarget(kind string) bool
	holders(dev uint64) []string // who has a device open, for people to read
	left(dir string) int64       // bytes that a filesystem has left
}

// line is a line of a table, as the kernel has it: sectors, and device numbers in params.
type line struct {
	start, length int64
	kind, params  string
}

// info is what the kernel tells of a device.
type info struct {
	name, uuid string
	dev        uint64
	open       int // how often
	active     bool
	readOnly   bool
}

// Host makes stacks on this machine and takes them down again. One Host at a time holds the
// machine's lock; Close gives it back.
type Host struct {
	kernel  kernel
	records records
	lock    io.Closer

	mu       sync.Mutex        // for known and tops, of which several goroutines may take away
	known    map[string]info   // all devices by name
	tops     map[string]string // by the UUID of an LV's own device, one of its devices
	live     []info            // LVM's devices
	attached map[Node]attachment
}

type attachment struct {
	dev  uint64
	hold io.Closer
}

// newHost looks at what there is.
func newHost(k kernel, r records, lock io.Closer) (*Host, error) {
	h := &Host{kernel: k, records: r, lock: lock, known: map[string]info{}, tops: map[string]string{}, attached: map[Node]attachment{}}
	names, err := k.devices()
	if err != nil {
		return nil, fmt.Errorf("listing the devices of device-mapper: %w", err)
	}
	for _, name := range names {
		i, err := k.info(name)
		switch {
		case err == nil:
			h.know(i)
		case !errors.Is(err, syscall.ENXIO): // it has gone since
			return nil, fmt.Errorf("device-mapper device %s: %w", name, err)
		}
	}
	return h, nil
}

// know keeps a device in mind.
func (h *Host) know(i info) {
	h.known[i.name] = i
	if top, ok := topUUID(i.uuid); ok && (h.tops[top] == "" || top == i.uuid) {
		h.tops[top] = i.name
	}
	if strings.HasPrefix(i.uuid, lvmPrefix) {
		h.live = append(h.live, i)
	}
}

// Close lets go of all that is not needed any more.
func (h *Host) Close() error {
	var errs []error
	for _, a := range h.attached {
		errs = append(errs, a.hold.Close())
	}
	return errors.Join(append(errs, h.lock.Close())...)
}

// LiveError says that LVM has the VG, or one with its UUID, active.
type LiveError struct {
	VG      string
	Devices []string
}

func (e *LiveError) Error() string {
	const most = 4
	list := strings.Join(e.Devices[:min(most, len(e.Devices))], ", ")
	if more := len(e.Devices) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("LVM has VG %s active on this machine (%s): its disks may change at any moment", e.VG, list)
}

// Live returns a *LiveError if LVM has a VG of this UUID active.
func (h *Host) Live(name string, id metadata.ID) error {
	var live []string
	for _, i := range h.live {
		if id != "" && strings.HasPrefix(i.uuid, lvmPrefix+string(id)) {
			live = append(live, i.name)
		}
	}
	if live == nil {
		return nil
	}
	return &LiveError{name, live}
}

// Activate makes a stack: all of it, or nothing.
func (h *Host) Activate(s *Stack, r Record) (err error) {
	if err := h.collision(s); err != nil {
		return err
	}
	r.Name, r.UUID, r.VG, r.LV = s.Top().Name, s.Top().UUID, s.VG, s.LV
	if s.overlay != nil {
		if r.Overlay, err = filepath.Abs(s.overlay.Path); err != nil {
			return err
		}
	}
	if err := h.records.write(r); err != nil {
		return err
	}
	made := map[*Device]uint64{}
	var order []string
	defer func() {
		for n := range h.attached { // what only this stack stands on
			if _, ok := n.(*Scratch); ok {
				h.attached[n].hold.Close()
				delete(h.attached, n)
			}
		}
		if err == nil {
			return
		}
		for _, name := range slices.Backward(order) {
			err = errors.Join(err, h.remove(name))
		}
		if s.overlay != nil {
			err = errors.Join(err, s.overlay.undo())
		}
		err = errors.Join(err, h.records.remove(r))
	}()
	if s.overlay != nil {
		if err := s.overlay.prepare(); err != nil {
			return fmt.Errorf("overlay: %w", err)
		}
	}
	for _, d := range s.Devices {
		table, err := h.resolve(d, made)
		if err != nil {
			return err
		}
		dev, err := h.kernel.create(d.Name, d.UUID)
		if err != nil {
			return fmt.Errorf("making device %s: %w", d.Name, err)
		}
		made[d], order = dev, append(order, d.Name)
		if err := h.kernel.load(d.Name, d.Writable, table); err != nil {
			return h.explain(d, err)
		}
		if err := h.kernel.resume(d.Name); err != nil {
			return h.explain(d, err)
		}
		if err := h.kernel.link(d.Name, dev); err != nil {
			return fmt.Errorf("the node of device %s: %w", d.Name, err)
		}
	}
	for _, d := range s.Devices {
		h.know(info{name: d.Name, uuid: d.UUID, dev: made[d], active: true})
	}
	return nil
}

// Left is the number of bytes that the filesystem of a folder has left.
func (h *Host) Left(dir string) int64 { return h.kernel.left(dir) }

// collision tells whether a name or UUID of a stack is taken.
func (h *Host) collision(s *Stack) error {
	if name, ok := h.tops[s.Top().UUID]; ok {
		return &ActiveError{s.VG + "/" + s.LV, name}
	}
	for _, d := range s.Devices {
		if i, ok := h.known[d.Name]; ok {
			return &NameError{s.Top().Name, i.name, i.uuid}
		}
	}
	return nil
}

// ActiveError says that an LV is active already, at least in part.
type ActiveError struct{ LV, Device string }

func (e *ActiveError) Error() string {
	return fmt.Sprintf("%s is active already, as device %s", e.LV, e.Device)
}

// NameError says that the name of a device is taken.
type NameError struct{ Name, Device, UUID string }

func (e *NameError) Error() string {
	return fmt.Sprintf("device %s cannot be made: there is a device %s already, which has the UUID %q", e.Name, e.Device, e.UUID)
}

// resolve attaches what a device stands on, and puts numbers into its table.
func (h *Host) resolve(d *Device, made map[*Device]uint64) ([]line, error) {
	var failed error
	name := func(n Node) string {
		dev, err := h.number(n, made)
		failed = errors.Join(failed, err)
		return fmt.Sprintf("%d:%d", major(dev), minor(dev))
	}
	table := make([]line, 0, len(d.Table))
	for _, t := range d.Table {
		table = append(table, line{t.Start, t.Len, t.Type, t.params(name)})
		if failed != nil {
			return nil, failed
		}
	}
	return table, nil
}

func (h *Host) number(n Node, made map[*Device]uint64) (uint64, error) {
	if a, ok := h.attached[n]; ok {
		return a.dev, nil
	}
	var a attachment
	var err error
	switch n := n.(type) {
	case *Device:
		return made[n], nil
	case *Source:
		a.dev, a.hold, err = h.kernel.attachSource(n)
	case *Scratch:
		a.dev, a.hold, err = h.kernel.attachScratch(n)
	}
	if err == nil {
		h.attached[n] = a
	}
	return a.dev, err
}

// major and minor split a device number as the kernel packs it (glibc's makedev).
func major(dev uint64) uint64 { return dev>>8&0xfff | dev>>32&0xfffff000 }
func minor(dev uint64) uint64 { return dev&0xff | dev>>12&0xffffff00 }

// explain says why a table was refused, as far as can be told.
func (h *Host) explain(d *Device, err error) error {
	for _, t := range d.Table {
		if !h.kernel.hasTarget(t.Type) {
			return &TargetError{t.Type}
		}
	}
	if errors.Is(err, syscall.EBUSY) {
		for _, t := range d.Table {
			for _, a := range t.Args {
				if s, ok := a.On.(*Source); ok {
					if who := h.kernel.holders(h.attached[s].dev); len(who) > 0 {
						return fmt.Errorf("%s is in use: %s", s.Path, strings.Join(who, ", "))
					}
				}
			}
		}
	}
	return fmt.Errorf("the kernel refuses the table of device %s: %w; its log (dmesg) says more", d.Name, err)
}

// TargetError says that the kernel lacks a kind of target.
type TargetError struct{ Target string }

func (e *TargetError) Error() string {
	return fmt.Sprintf("the kernel has no device-mapper target %q", e.Target)
}

// Module is the kernel module that has the target.
func (e *TargetError) Module() string { return "dm-" + e.Target }

// BusyError says that a device cannot be removed because it is in use.
type BusyError struct {
	Device string
	By     []string // for people to read; empty if it cannot be told
}

func (e *BusyError) Error() string {
	by := "it is open, by whom cannot be told"
	if len(e.By) > 0 {
		by = strings.Join(e.By, ", ")
	}
	return fmt.Sprintf("device %s is in use: %s", e.Device, by)
}

// remove takes a device and its node away. It waits a little for those who only had a look,
// as udev has.
func (h *Host) remove(name string) error {
	i, err := h.kernel.info(name)
	if errors.Is(err, syscall.ENXIO) {
		return h.kernel.unlink(name)
	}
	const tries = 40
	for try := 0; ; try++ {
		err = h.kernel.remove(name)
		switch {
		case err == nil || errors.Is(err, syscall.ENXIO):
			return h.kernel.unlink(name)
		case !errors.Is(err, syscall.EBUSY):
			return fmt.Errorf("removing device %s: %w", name, err)
		case try == tries:
			return &BusyError{name, h.kernel.holders(i.dev)}
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// ControlError says that there is no device-mapper to talk to.
type ControlError struct{ Err error }

func (e *ControlError) Error() string {
	return fmt.Sprintf("device-mapper cannot be reached: %v", e.Err)
}
func (e *ControlError) Unwrap() error { return e.Err }
