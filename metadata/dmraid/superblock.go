package dmraid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/lvrescue/lvrescue/metadata"
)

// SuperblockSize is how many bytes of a metadata LV hold the superblock.
const SuperblockSize = 148

const (
	superblockMagic = 0x64526D44
	extended        = 1                  // compat_features: the fields behind byte 60 count
	maxSector       = math.MaxUint64     // how the kernel writes "all of it"
	maxDevices      = 253                // drivers/md/dm-raid.c, MAX_RAID_DEVICES
	maxSectors      = math.MaxInt64 >> 9 // that many bytes still fit an int64
)

// Offsets of fields, in bytes.
const (
	offCompat           = 4
	offDevices          = 8
	offPosition         = 12
	offEvents           = 16
	offFailed           = 24
	offRecovery         = 32
	offResync           = 40
	offLevel            = 48
	offLayout           = 52
	offChunk            = 56
	offFlags            = 60
	offReshapePosition  = 64
	offNewLevel         = 72
	offNewLayout        = 76
	offNewChunk         = 80
	offDelta            = 84
	offArraySectors     = 88
	offDataOffset       = 96
	offNewDataOffset    = 104
	offFailedExtended   = 120
	offIncompat         = 144
	flagReshapeActive   = 1
	flagReshapeBackward = 2
)

// Whole is the recovery and resync offset of what is in sync to its end.
const Whole = math.MaxInt64

// ErrNoSuperblock says that a leg's metadata LV carries none: the kernel has never seen the
// leg, or it was wiped.
var ErrNoSuperblock = errors.New("no RAID superblock")

// Superblock is what the kernel knew of the array, and of this leg, when it wrote it.
type Superblock struct {
	Position int    // of this leg in the array
	Events   uint64 // counts the kernel's updates: the highest is the freshest
	Failed   DeviceSet

	RecoveryOffset int64 // bytes of this leg that are rebuilt; Whole when all are
	ResyncOffset   int64 // up to where the array is in sync, in bytes of each leg, of raid10 in bytes of the array; Whole when all is

	Layout     Layout // in force; during a reshape the one that is left
	DataOffset int64  // bytes from the start of the image LV to the array's data
	ArraySize  int64  // usable bytes; 0 when not known

	Reshape *Reshape // nil when none is under way
}

// Reshape is a change of layout that is under way.
type Reshape struct {
	Layout     Layout // what the array is turned into
	DataOffset int64  // bytes from the start of the image LV to the data in that layout
	Position   int64  // bytes of the array; see Backward
	Backward   bool   // the new layout holds from Position on, not up to it
}

// DeviceSet is a set of array positions.
type DeviceSet [4]uint64

// Has tells whether a position is in the set.
func (s DeviceSet) Has(i int) bool { return i >= 0 && i < 256 && s[i/64]>>(i%64)&1 != 0 }

// Empty tells whether the set has no member.
func (s DeviceSet) Empty() bool { return s == DeviceSet{} }

// superblockReader collects what is odd while it reads.
type superblockReader struct {
	b        []byte
	problems []metadata.Problem
}

func (r *superblockReader) u32(off int) uint32 { return binary.LittleEndian.Uint32(r.b[off:]) }
func (r *superblockReader) u64(off int) uint64 { return binary.LittleEndian.Uint64(r.b[off:]) }

// bytes turns a field of sectors into bytes. What no disk can have is a problem and reads
// as 0, which trusts nothing.
func (r *superblockReader) bytes(field string, off int) int64 {
	v := r.u64(off)
	if v > maxSectors {
		r.problems = append(r.problems, metadata.Problem{Code: "raid-offset", Field: field, Offset: int64(off),
			Text: fmt.Sprintf("is %d sectors, more than any disk holds", v)})
		return 0
	}
	return int64(v) << 9
}

// progress is bytes for a field in which all ones mean that all is done.
func (r *superblockReader) progress(field string, off int) int64 {
	if r.u64(off) == maxSector {
		return Whole
	}
	return r.bytes(field, off)
}

func damaged(field string, off int, format string, args ...any) error {
	return metadata.Damaged("raid-superblock", field, int64(off), format, args...)
}

// ReadSuperblock decodes the first SuperblockSize bytes of a metadata LV. It fails with
// ErrNoSuperblock or a *metadata.DamageError; problems come with a usable superblock.
func ReadSuperblock(b []byte) (*Superblock, []metadata.Problem, error) {
	if len(b) < SuperblockSize || binary.LittleEndian.Uint32(b) != superblockMagic {
		return nil, nil, ErrNoSuperblock
	}
	r := &superblockReader{b: b}
	if c := r.u32(offCompat); c != 0 && c != extended {
		return nil, nil, damaged("compat_features", offCompat, "has unknown bits: %#x", c)
	}
	n, position := r.u32(offDevices), r.u32(offPosition)
	switch {
	case n == 0 || n > maxDevices:
		return nil, nil, damaged("num_devices", offDevices, "is %d, want 1 to %d", n, maxDevices)
	case position >= maxDevices:
		return nil, nil, damaged("array_position", offPosition, "is %d, want less than %d", position, maxDevices)
	}
	s := &Superblock{
		Position:       int(position),
		Events:         r.u64(offEvents),
		Failed:         DeviceSet{r.u64(offFailed)},
		RecoveryOffset: r.progress("disk_recovery_offset", offRecovery),
		ResyncOffset:   r.progress("array_resync_offset", offResync),
		Layout:         r.layout(offLevel, offLayout, offChunk, int(n)),
	}
	var err error
	if r.u32(offCompat) == extended {
		err = r.extension(s, int(n))
	}
	if err == nil {
		err = s.Layout.Check()
	}
	if err != nil {
		return nil, nil, err
	}
	return s, r.problems, nil
}

func (r *superblockReader) layout(level, algorithm, chunk, devices int) Layout {
	return Layout{Level: int(int32(r.u32(level))), Algorithm: int(r.u32(algorithm)), Chunk: int64(r.u32(chunk)) << 9, Devices: devices}
}

// extension reads the fields behind byte 60.
func (r *superblockReader) extension(s *Superblock, devices int) error {
	if f := r.u32(offIncompat); f != 0 {
		return damaged("incompat_features", offIncompat, "has unknown bits: %#x", f)
	}
	for i := range 3 {
		s.Failed[i+1] = r.u64(offFailedExtended + 8*i)
	}
	s.DataOffset = r.bytes("data_offset", offDataOffset)
	s.ArraySize = r.bytes("array_sectors", offArraySectors)
	if r.u32(offFlags)&flagReshapeActive == 0 || r.u64(offReshapePosition) == maxSector {
		return nil
	}
	delta := int(int32(r.u32(offDelta)))
	if old := devices - delta; old < 1 || old > maxDevices {
		return damaged("delta_disks", offDelta, "is %d with num_devices %d", delta, devices)
	}
	s.Layout.Devices = devices - delta
	s.Reshape = &Reshape{
		Layout:     r.layout(offNewLevel, offNewLayout, offNewChunk, devices),
		DataOffset: r.bytes("new_data_offset", offNewDataOffset),
		Position:   r.bytes("reshape_position", offReshapePosition),
		Backward:   delta < 0 || delta == 0 && r.u32(offFlags)&flagReshapeBackward != 0,
	}
	if far := s.Layout.far() > 1 || s.Reshape.Layout.far() > 1; far && s.Layout.Level == 10 {
		return damaged("new_layout", offNewLayout, "is %#x: the kernel does not reshape far copies", s.Reshape.Layout.Algorithm)
	}
	return s.Reshape.Layout.Check()
}
