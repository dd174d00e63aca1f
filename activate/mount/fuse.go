//go:build linux && !386 && !arm

package mount

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/lvrescue/lvrescue/scan/block"
)

// maxRead is how many bytes the kernel asks for at once, and reads ahead.
const maxRead = 1 << 20

// Mount is a directory of devices, until it is unmounted.
type Mount struct {
	dir    string
	server *fuse.Server
	fault  atomic.Pointer[block.Fault] // a read that panicked
}

// New mounts files on the directory dir. Root needs nothing else for it; other users need
// the program fusermount3.
func New(dir string, files []File, opt Options) (*Mount, error) {
	m := &Mount{dir: dir}
	root := &directory{mount: m, files: files, opt: opt, now: time.Now()}
	valid := time.Hour // nothing ever changes
	server, err := fs.Mount(dir, root, &fs.Options{
		EntryTimeout: &valid, AttrTimeout: &valid, NegativeTimeout: &valid,
		MountOptions: fuse.MountOptions{
			Name: "lvrescue", FsName: "lvrescue", AllowOther: opt.Everybody,
			DirectMountStrict: os.Geteuid() == 0,
			DirectMountFlags:  unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC,
			Options:           mountOptions(),
			MaxWrite:          maxRead, MaxReadAhead: maxRead, DisableXAttrs: true,
			Logger: log.New(io.Discard, "", 0), // of reads that were interrupted
		},
	})
	if err != nil {
		return nil, fmt.Errorf("mount on %s: %w", dir, err)
	}
	m.server = server
	return m, nil
}

// mountOptions are those beside the flags: fusermount3 knows flags by name, the kernel does
// not.
func mountOptions() []string {
	if os.Geteuid() == 0 {
		return []string{"default_permissions"}
	}
	return []string{"ro", "noexec", "default_permissions"}
}

// Wait returns when the directory has been unmounted and the last file closed. The error is
// a *block.Fault when a read has panicked.
func (m *Mount) Wait() error {
	m.server.Wait()
	if f := m.fault.Load(); f != nil {
		return f
	}
	return nil
}

// Unmount takes the directory away. Where it is in use, inUse is true and it is out of
// sight, but files that are open can be read on: Wait waits for them.
func (m *Mount) Unmount() (inUse bool, err error) {
	if m.detach(false) == nil {
		return false, nil
	}
	return true, m.detach(true)
}

// detach unmounts; lazily also what is in use.
func (m *Mount) detach(lazily bool) error {
	if os.Geteuid() == 0 {
		flags := unix.UMOUNT_NOFOLLOW
		if lazily {
			flags |= unix.MNT_DETACH
		}
		return unix.Unmount(m.dir, flags)
	}
	args := []string{"-u", "--", m.dir}
	if lazily {
		args[0] = "-uz"
	}
	if out, err := exec.Command("fusermount3", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("fusermount3: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// directory is the root.
type directory struct {
	fs.Inode
	mount *Mount
	files []File
	opt   Options
	now   time.Time
}

var (
	_ fs.NodeOnAdder   = (*directory)(nil)
	_ fs.NodeGetattrer = (*directory)(nil)
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
)

func (d *directory) OnAdd(ctx context.Context) {
	for _, f := range d.files {
		child := d.NewPersistentInode(ctx, &file{dir: d, dev: f.Dev, damaged: anyBad(f.Dev)}, fs.StableAttr{})
		d.AddChild(f.Name, child, false)
	}
}

func anyBad(dev block.Device) bool {
	for e := range dev.Extents(0, dev.Size()) {
		if e.State == block.Bad {
			return true
		}
	}
	return false
}

// attr fills in what is the same for the directory and for files.
func (d *directory) attr(a *fuse.Attr, mode uint32) {
	a.Mode = mode
	if d.opt.Everybody {
		a.Mode |= mode>>3 | mode>>6
	}
	a.SetTimes(&d.now, &d.now, &d.now)
	a.Uid, a.Gid = uint32(os.Geteuid()), uint32(os.Getegid())
}

func (d *directory) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.attr(&out.Attr, 0o500)
	return 0
}

// file is one device.
type file struct {
	fs.Inode
	dir     *directory
	dev     block.Device
	damaged bool
}

func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.dir.attr(&out.Attr, 0o400)
	out.Size = uint64(f.dev.Size())
	out.Blocks = (out.Size + 511) / 512
	return 0
}

func (f *file) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	if f.damaged {
		return nil, fuse.FOPEN_DIRECT_IO, 0
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read reads all that is asked for, or fails: the kernel takes a short read for the end of
// the file.
func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	lo, hi := block.Clip(f.dev.Size(), off, int64(len(dest)))
	dest = dest[:hi-lo]
	if len(dest) == 0 {
		return fuse.ReadResultData(nil), 0
	}
	err := block.Guarded(func() error {
		if n, err := f.dev.ReadAt(dest, lo); n < len(dest) {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		return nil
	})()
	var fault *block.Fault
	if errors.As(err, &fault) {
		f.dir.mount.fault.CompareAndSwap(nil, fault)
	}
	if err != nil {
		return nil, syscall.EIO
	}
	return fuse.ReadResultData(dest), 0
}
