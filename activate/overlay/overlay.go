// Package overlay makes a block.Device writable without ever writing to it: what is written
// goes to two files of its own, and is there again when they are opened another time.
//
//	NAME.data      sparse, as long as the device: the sectors that were written
//	NAME.written   magic [16] @0 | size u64 @16 | length u32 @24 | identity @28 | crc32 @4092
//	               then from 4096 on a bit for each sector of 512 bytes, the lowest first:
//	               that it is in NAME.data
//
// A bit is brought to the disk only after its sector, and is never taken back. So whatever
// happens, each sector reads as it was when Sync last returned, or as it was written since;
// a torn write of bits is none the worse.
//
// A sector that was written is good, also where the device below is bad.
package overlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/lvrescue/lvrescue/activate/outfile"
	"github.com/lvrescue/lvrescue/scan/block"
)

const (
	magic       = "LVRESCUEOVERLAY\x01"
	headerSize  = 4096
	maxIdentity = headerSize - 28 - 4
	sector      = block.SectorSize
)

// Overlay is a device with what was written over it. All methods but Close may be called
// side by side.
type Overlay struct {
	base       block.Device
	size       int64
	data, bits *os.File

	// sectors is held for reading by whoever writes whole sectors, and alone by whoever
	// changes a part of one, who has to read the rest of it first.
	sectors sync.RWMutex

	mu    sync.RWMutex // guards what follows
	pages map[int64]*page
	dirty map[int64]bool // pages of which bits are not on the disk

	syncing sync.Mutex
	failed  error // a sync that failed: nothing is known of the files since
}

// Files names the two files of an overlay.
func Files(dir, name string) (data, written string) {
	return filepath.Join(dir, name+".data"), filepath.Join(dir, name+".written")
}

// Open opens the overlay NAME in dir over base, or makes it. identity stands for the bytes
// of base: an overlay is only opened over what it was made over.
func Open(dir, name, identity string, base block.Device) (*Overlay, error) {
	if len(identity) > maxIdentity {
		return nil, fmt.Errorf("identity of %d bytes; want %d at most", len(identity), maxIdentity)
	}
	o := &Overlay{base: base, size: base.Size(), pages: map[int64]*page{}, dirty: map[int64]bool{}}
	if err := o.open(dir, name, identity); err != nil {
		o.closeFiles()
		return nil, err
	}
	return o, nil
}

func (o *Overlay) open(dir, name, identity string) error {
	dataPath, bitsPath := Files(dir, name)
	var err error
	if o.bits, err = openFile(bitsPath, os.O_CREATE); err != nil {
		return err
	}
	if err := outfile.Lock(o.bits); err != nil {
		return err
	}
	info, err := o.bits.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return o.create(dir, dataPath, identity)
	}
	if err := o.readHeader(info.Size(), identity); err != nil {
		return fmt.Errorf("%s: %w", bitsPath, err)
	}
	if err := o.load(bitsPath); err != nil {
		return fmt.Errorf("%s: %w", bitsPath, err)
	}
	o.data, err = openFile(dataPath, 0)
	if errors.Is(err, fs.ErrNotExist) && len(o.pages) == 0 { // the run that made it got no further
		return o.createData(dir, dataPath)
	}
	if err != nil {
		return err
	}
	if info, err = o.data.Stat(); err != nil {
		return err
	}
	if info.Size() != o.size {
		return fmt.Errorf("%s has %d bytes, want %d: it has been cut, or belongs to something else", dataPath, info.Size(), o.size)
	}
	return nil
}

// openFile opens a regular file to read and write.
func openFile(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|outfile.NoFollow|flags, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is in the way: it is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// create makes a new overlay: the bits, which are none, before the file for the data.
func (o *Overlay) create(dir, dataPath, identity string) error {
	if _, err := os.Lstat(dataPath); err == nil {
		os.Remove(o.bits.Name())
		return fmt.Errorf("%s is there already, and nothing says what it is: move it away", dataPath)
	}
	h := make([]byte, headerSize)
	copy(h, magic)
	binary.LittleEndian.PutUint64(h[16:], uint64(o.size))
	binary.LittleEndian.PutUint32(h[24:], uint32(len(identity)))
	copy(h[28:], identity)
	binary.LittleEndian.PutUint32(h[headerSize-4:], crc32.ChecksumIEEE(h[:headerSize-4]))
	_, err := o.bits.WriteAt(h, 0)
	if err == nil {
		err = o.bits.Truncate(headerSize + o.pageCount()*pageSize)
	}
	if err == nil {
		err = o.bits.Sync()
	}
	if err != nil {
		return err
	}
	return o.createData(dir, dataPath)
}

func (o *Overlay) createData(dir, path string) (err error) {
	if o.data, err = openFile(path, os.O_CREATE|os.O_EXCL); err != nil {
		return err
	}
	if err := o.data.Truncate(o.size); err != nil {
		return err
	}
	return errors.Join(o.data.Sync(), block.SyncDir(dir))
}

// readHeader holds the header against what the overlay must be made for.
func (o *Overlay) readHeader(size int64, identity string) error {
	h := make([]byte, headerSize)
	if _, err := o.bits.ReadAt(h, 0); err != nil && err != io.EOF {
		return err
	}
	if string(h[:len(magic)]) != magic {
		return errors.New("it is no overlay made by lvrescue: move it away, or choose another directory")
	}
	if sum := binary.LittleEndian.Uint32(h[headerSize-4:]); sum != crc32.ChecksumIEEE(h[:headerSize-4]) {
		return fmt.Errorf("the header at offset 0 has checksum %#x, want %#x: the file is damaged", sum, crc32.ChecksumIEEE(h[:headerSize-4]))
	}
	n := binary.LittleEndian.Uint32(h[24:])
	was := string(h[28 : 28+min(n, maxIdentity)])
	if had := binary.LittleEndian.Uint64(h[16:]); had != uint64(o.size) || was != identity {
		return &OtherError{Was: was, Is: identity}
	}
	if want := headerSize + o.pageCount()*pageSize; size != want {
		return fmt.Errorf("it has %d bytes, want %d: the file has been cut", size, want)
	}
	return nil
}

// OtherError says that an overlay was made over something else than what it is opened over.
type OtherError struct{ Was, Is string }

func (e *OtherError) Error() string {
	return fmt.Sprintf("it was made over %q, and this is %q: what was written there does not fit here", e.Was, e.Is)
}

// load reads the bits of an earlier run.
func (o *Overlay) load(path string) error {
	f, err := block.Open(path) // it knows where the holes are
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 256*pageSize)
	for e := range f.Extents(headerSize, f.Size()-headerSize) {
		if e.State != block.Data {
			continue
		}
		lo, end := (e.Off-headerSize)/pageSize, (e.End()-headerSize+pageSize-1)/pageSize
		for ; lo < end; lo += int64(len(buf)) / pageSize {
			p := buf[:min(int64(len(buf)), (end-lo)*pageSize)]
			if _, err := f.ReadAt(p, headerSize+lo*pageSize); err != nil && err != io.EOF {
				return err
			}
			for i := int64(0); i*pageSize < int64(len(p)); i++ {
				o.keep(lo+i, (*page)(p[i*pageSize:]))
			}
		}
	}
	return nil
}

// Sync brings everything that was written before to the disk.
func (o *Overlay) Sync() error {
	o.syncing.Lock()
	defer o.syncing.Unlock()
	if o.failed != nil {
		return o.failed
	}
	var full *fullError
	err := o.sync()
	if !errors.As(err, &full) {
		o.failed = err
	}
	return err
}

// fullError is a sync that may be tried again when there is room for the bits.
type fullError struct{ error }

func (e *fullError) Unwrap() error { return e.error }

// sync brings the sectors to the disk first: a bit is set only behind its sector's write.
func (o *Overlay) sync() error {
	todo := o.takeDirty()
	if err := outfile.SyncData(o.data); err != nil {
		return fmt.Errorf("%s: %w", o.data.Name(), err)
	}
	for i, w := range todo {
		if _, err := o.bits.WriteAt(w.bits, headerSize+w.first*pageSize); errors.Is(err, outfile.ErrDiskFull) {
			o.putBack(todo[i:])
			return &fullError{err}
		} else if err != nil {
			return err
		}
	}
	if len(todo) == 0 {
		return nil
	}
	if err := outfile.SyncData(o.bits); err != nil {
		return fmt.Errorf("%s: %w", o.bits.Name(), err)
	}
	return nil
}

// Close syncs and closes the overlay. Nothing else may be under way.
func (o *Overlay) Close() error { return errors.Join(o.Sync(), o.closeFiles()) }

func (o *Overlay) closeFiles() error {
	var errs []error
	for _, f := range []*os.File{o.data, o.bits} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Space tells how many bytes the overlay takes up, how many its filesystem has, and how
// many of these are left.
func (o *Overlay) Space() (used, size, free int64, err error) {
	if used, err = outfile.Used(o.data); err != nil {
		return 0, 0, 0, err
	}
	bits, err := outfile.Used(o.bits)
	if err != nil {
		return 0, 0, 0, err
	}
	size, free, err = outfile.Space(o.data)
	return used + bits, size, free, err
}
