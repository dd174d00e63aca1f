// Package dmmirror reads the log of a device-mapper mirror: which of its regions are in
// sync, so that all legs hold the same bytes there.
//
// A log on disk (drivers/md/dm-log.c) is a header and a bitmap:
//
//	byte    0  u32 magic "MiRr"
//	        4  u32 version: 2, or 1 on little-endian machines
//	        8  u64 number of regions that the bitmap was kept for
//	     1024  a bit for each region, the lowest bit of a byte first: 1 where the region is
//	           in sync and was not being written
//
// Numbers are little-endian.
package dmmirror

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/lvrescue/lvrescue/metadata"
)

const (
	magic      = 0x4d695272 // "MiRr"
	headerSize = 16
	bitmapOff  = 1024 // bytes

	offMagic   = 0
	offVersion = 4
	offRegions = 8

	// maxRegions bounds the memory of a log: 32 MiB. lvm2 makes regions of 512 KiB, which
	// is 128 TiB.
	maxRegions = 1 << 28
)

// Log tells which regions are in sync.
type Log struct {
	regions int64
	bitmap  []byte // a byte more than is needed
}

// Read reads the log of a mirror of so many regions. The error is a *metadata.DamageError
// unless the log cannot be read.
func Read(r io.ReaderAt, regions int64) (*Log, error) {
	if regions <= 0 || regions > maxRegions {
		return nil, fmt.Errorf("a mirror of %d regions, want 1 to %d", regions, maxRegions)
	}
	header := make([]byte, headerSize)
	if err := readFull(r, header, 0); err != nil {
		return nil, err
	}
	kept, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	l := &Log{regions: regions, bitmap: make([]byte, regions/8+1)}
	kept = min(kept, uint64(regions)) // those that came when the mirror grew are not in sync
	known := l.bitmap[:(kept+7)/8]
	if err := readFull(r, known, bitmapOff); err != nil {
		return nil, err
	}
	if kept%8 != 0 {
		known[len(known)-1] &= 1<<(kept%8) - 1
	}
	return l, nil
}

// readFull fills p.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%d bytes at byte %d of the mirror log: %w", len(p), off, err)
}

// parseHeader gives the number of regions that the bitmap was kept for.
func parseHeader(b []byte) (regions uint64, err error) {
	m, v := binary.LittleEndian.Uint32(b[offMagic:]), binary.LittleEndian.Uint32(b[offVersion:])
	switch {
	case m != magic:
		return 0, damage("log_header.magic", offMagic, "is %#x, want %#x", m, uint32(magic))
	case v != 1 && v != 2:
		return 0, damage("log_header.version", offVersion, "is %d, want 2", v)
	}
	return binary.LittleEndian.Uint64(b[offRegions:]), nil
}

func damage(field string, off int64, format string, args ...any) error {
	return metadata.Damaged("mirror-log", field, off, format, args...)
}

// Regions is the number of regions.
func (l *Log) Regions() int64 { return l.regions }

// InSync counts the regions that are in sync.
func (l *Log) InSync() (n int64) {
	for _, b := range l.bitmap {
		n += int64(bits.OnesCount8(b))
	}
	return n
}

// Run tells whether a region is in sync, and how many regions from it on are so too.
func (l *Log) Run(region int64) (inSync bool, n int64) {
	inSync = l.bit(region)
	uniform := byte(0)
	if inSync {
		uniform = 0xff
	}
	end := region
	for end < l.regions && l.bit(end) == inSync {
		if end%8 == 0 && l.bitmap[end/8] == uniform {
			end += 8
			continue
		}
		end++
	}
	return inSync, min(end, l.regions) - region
}

func (l *Log) bit(region int64) bool { return l.bitmap[region/8]>>(region%8)&1 != 0 }
