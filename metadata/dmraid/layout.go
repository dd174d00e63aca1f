package dmraid

import (
	"fmt"
	"math"
	"strconv"
)

// Layout says on which device of an array each chunk lies, as md does: level, the level's
// own layout number, number of devices, chunk size.
type Layout struct {
	Level     int   // 0, 1, 5 (raid4 too), 6 or 10
	Algorithm int   // md's layout number within the level
	Devices   int   // data and parity
	Chunk     int64 // bytes; 0 for raid1
}

// Layout numbers (drivers/md/raid5.h, ALGORITHM_*).
const (
	leftAsymmetric   = 0
	rightAsymmetric  = 1
	leftSymmetric    = 2
	rightSymmetric   = 3
	parityFirst      = 4
	parityLast       = 5 // in raid6: P and Q last
	rotatingZero     = 8
	rotatingN        = 9
	rotatingContinue = 10
	sixth            = 16 // a raid5 layout 0-3 plus this: raid6 with Q on an extra, last device

	raid10NearCopies = 0xff    // bits of a raid10 layout (drivers/md/raid10.c, setup_geo)
	raid10FarShift   = 8       // number of far copies: 1 means none but the near ones
	raid10Offset     = 1 << 16 // far copies stand in the next row
	raid10SetShift   = 17      // which devices far copies move among: see Spread
)

// names are lvm2's segment types (lib/raid/raid.c; drivers/md/dm-raid.c, raid_types). The
// first name of a layout is the one that the kernel uses.
var names = []struct {
	name             string
	level, algorithm int
}{
	{"raid0", 0, 0}, {"raid0_meta", 0, 0},
	{"raid1", 1, 0},
	{"raid4", 5, parityFirst},
	{"raid5_ls", 5, leftSymmetric}, {"raid5", 5, leftSymmetric},
	{"raid5_la", 5, leftAsymmetric}, {"raid5_ra", 5, rightAsymmetric},
	{"raid5_rs", 5, rightSymmetric}, {"raid5_n", 5, parityLast},
	{"raid6_zr", 6, rotatingZero}, {"raid6", 6, rotatingZero},
	{"raid6_nr", 6, rotatingN}, {"raid6_nc", 6, rotatingContinue},
	{"raid6_la_6", 6, sixth + leftAsymmetric}, {"raid6_ra_6", 6, sixth + rightAsymmetric},
	{"raid6_ls_6", 6, sixth + leftSymmetric}, {"raid6_rs_6", 6, sixth + rightSymmetric},
	{"raid6_n_6", 6, parityLast},
}

// LayoutOf gives the layout that a segment type of lvm2 stands for. copies counts for
// raid10 only; chunk is in bytes.
func LayoutOf(segType string, devices int, copies int, chunk int64) (Layout, error) {
	l := Layout{Devices: devices, Chunk: chunk}
	if segType == "raid10" || segType == "raid10_near" {
		l.Level, l.Algorithm = 10, copies|1<<raid10FarShift
		return l, l.Check()
	}
	for _, n := range names {
		if n.name == segType {
			l.Level, l.Algorithm = n.level, n.algorithm
			return l, l.Check()
		}
	}
	return l, fmt.Errorf("%q is no RAID level", segType)
}

// Name is the kernel's name for level and layout: "raid5_ls".
func (l Layout) Name() string {
	switch {
	case l.Level != 10:
	case l.far() == 1:
		return "raid10"
	case l.Algorithm&raid10Offset != 0:
		return "raid10_offset"
	default:
		return "raid10_far"
	}
	for _, n := range names {
		if n.level == l.Level && n.algorithm == l.Algorithm {
			return n.name
		}
	}
	return fmt.Sprintf("raid level %d layout %d", l.Level, l.Algorithm)
}

func (l Layout) String() string {
	if l.Level == 1 {
		return fmt.Sprintf("raid1 over %d", l.Devices)
	}
	if l.Level == 10 && l.Copies() != 2 {
		return fmt.Sprintf("%s over %d, %d copies, chunk %d", l.Name(), l.Devices, l.Copies(), l.Chunk)
	}
	return fmt.Sprintf("%s over %d, chunk %d", l.Name(), l.Devices, l.Chunk)
}

// least is the smallest number of devices that a level makes sense with. raid5 of 2 and
// raid6 of 3 come about between takeovers.
var least = map[int]int{0: 1, 1: 1, 5: 2, 6: 3, 10: 2}

// Check refuses what lvm2 and the kernel cannot have made, and layouts that only mdadm
// writes.
func (l Layout) Check() error {
	switch need, known := least[l.Level]; {
	case !known:
		return damaged("level", offLevel, "is %d, which is no level known here", l.Level)
	case l.Devices < need || l.Devices > maxDevices:
		return damaged("num_devices", offDevices, "is %d, want %d to %d for level %d", l.Devices, need, maxDevices, l.Level)
	case l.Level == 1:
		return nil
	case l.Chunk < 512 || l.Chunk > math.MaxUint32<<9:
		return damaged("stripe_sectors", offChunk, "is %d, want 1 to 2^32-1", l.Chunk>>9)
	case l.Level == 10:
		if n := l.Copies(); n < 2 || n > l.Devices || l.Algorithm>>raid10SetShift > 2 || l.Algorithm < 0 {
			return damaged("layout", offLayout, "%#x of raid10 over %d devices is none that the kernel makes", l.Algorithm, l.Devices)
		}
		return nil
	}
	for _, n := range names {
		if n.level == l.Level && n.algorithm == l.Algorithm {
			return nil
		}
	}
	return damaged("layout", offLayout, "is %d, which is not one of level %d that LVM makes", l.Algorithm, l.Level)
}

// Copies is how many devices hold each byte: the legs of raid1, the copies of raid10.
func (l Layout) Copies() int {
	switch l.Level {
	case 1:
		return l.Devices
	case 10:
		return (l.Algorithm & raid10NearCopies) * l.far()
	}
	return 1
}

// far is how often raid10 has its near copies.
func (l Layout) far() int { return l.Algorithm >> raid10FarShift & 0xff }

// Spreads tells whether the copies of raid10 do not simply stand side by side, in each row
// on the same devices: [Layout.Spread] then says where they are.
func (l Layout) Spreads() bool {
	return l.Level == 10 && (l.far() > 1 || l.Devices%l.Copies() != 0)
}

// Raid10Words is what the kernel's target is told of a layout of raid10 ("raid10_copies", "3",
// ...). Not of every layout that md has it can be (drivers/md/dm-raid.c,
// raid10_format_to_md_layout).
func (l Layout) Raid10Words() (words []string, ok bool) {
	words = []string{"raid10_copies", strconv.Itoa(l.Copies())}
	near, sets := l.Algorithm&raid10NearCopies, l.Algorithm>>raid10SetShift
	switch {
	case l.far() == 1:
		return words, true
	case near > 1 || sets == 1:
		return nil, false
	case l.Algorithm&raid10Offset != 0:
		words = append(words, "raid10_format", "offset")
	default:
		words = append(words, "raid10_format", "far")
	}
	if sets == 0 {
		words = append(words, "raid10_use_near_sets")
	}
	return words, true
}

// Parity is how many chunks of each row are parity: 1 for raid4 and raid5, 2 for raid6.
func (l Layout) Parity() int {
	switch l.Level {
	case 5:
		return 1
	case 6:
		return 2
	}
	return 0
}

// LegSize is how many bytes of each device an array of size bytes takes.
func (l Layout) LegSize(size int64) int64 {
	switch {
	case l.Level == 1:
		return size
	case l.Spreads():
		return l.Spread(size).legBytes
	}
	chunks := ceil(size, l.Chunk)
	return ceil(chunks, int64(l.Columns())) * l.Chunk
}

// Columns is how many different chunks a row of chunks holds, of an array that does not
// spread.
func (l Layout) Columns() int { return (l.Devices - l.Parity()) / l.Copies() }

// ceil divides and rounds up, without overflow.
func ceil(a, b int64) int64 {
	q := a / b
	if a%b != 0 {
		q++
	}
	return q
}

// Row says what the devices hold in one row of chunks of raid0 and raid4 to raid6.
type Row struct {
	P, Q int // devices; -1 for none
	l    Layout
}

// Row gives a row of chunks (drivers/md/raid5.c, raid5_compute_sector).
func (l Layout) Row(row int64) Row {
	n := l.Devices
	r := Row{P: -1, Q: -1, l: l}
	at := func(m int) int { return int(row % int64(m)) }
	switch {
	case l.Level == 5:
		r.P = parityDevice(l.Algorithm, at(n), n)
	case l.Level == 6 && l.Algorithm == parityLast:
		r.P, r.Q = n-2, n-1
	case l.Level == 6 && l.Algorithm >= sixth:
		r.P, r.Q = parityDevice(l.Algorithm-sixth, at(n-1), n-1), n-1
	case l.Level == 6 && l.Algorithm == rotatingZero:
		r.P, r.Q = at(n), (at(n)+1)%n
	case l.Level == 6 && l.Algorithm == rotatingN:
		p := n - 1 - int((row%int64(n)+1)%int64(n))
		r.P, r.Q = p, (p+1)%n
	case l.Level == 6 && l.Algorithm == rotatingContinue:
		p := n - 1 - at(n)
		r.P, r.Q = p, (p+n-1)%n
	}
	return r
}

// parityDevice is where raid5 over n devices has P; at is the row modulo n.
func parityDevice(algorithm, at, n int) int {
	switch algorithm {
	case leftAsymmetric, leftSymmetric:
		return n - 1 - at
	case rightAsymmetric, rightSymmetric:
		return at
	case parityFirst:
		return 0
	}
	return n - 1
}

// Device is where the row has its data chunk d, counted from 0.
func (r Row) Device(d int) int {
	l := r.l
	switch a := l.Algorithm; {
	case l.Level == 0:
		return d
	case l.Level == 5 && (a == leftSymmetric || a == rightSymmetric):
		return (r.P + 1 + d) % l.Devices
	case l.Level == 6 && (a == rotatingZero || a == rotatingN):
		if r.P == l.Devices-1 {
			return d + 1
		}
		if d >= r.P {
			return d + 2
		}
		return d
	case l.Level == 6 && a == rotatingContinue:
		return (r.P + 1 + d) % l.Devices
	case l.Level == 6 && (a == sixth+leftSymmetric || a == sixth+rightSymmetric):
		return (r.P + 1 + d) % (l.Devices - 1)
	}
	if d >= r.P {
		return d + 1
	}
	return d
}

// DataOf is which data chunk of the row a device holds; -1 when it holds parity.
func (r Row) DataOf(device int) int {
	for d := range r.l.Devices - r.l.Parity() {
		if r.Device(d) == device {
			return d
		}
	}
	return -1
}

// Exponent is the power of the generator with which Q counts the data on a device. In the
// DDF layouts zr, nr and nc it is the device's number; else data is counted from behind Q
// on, P and Q left out (lib/raid6, drivers/md/raid5.c, set_syndrome_sources).
func (r Row) Exponent(device int) int {
	switch r.l.Algorithm {
	case rotatingZero, rotatingN, rotatingContinue:
		return device
	}
	if device > r.P {
		return device - 1
	}
	return device
}
