package block

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Identity tells which storage a file or block device is, whatever its name: links, hard
// links and device nodes of one thing have one identity, and loop devices, partitions and
// device-mapper devices know what they are made of.
type Identity struct {
	Name string // for messages
	self storage
	on   uint64 // device number of the filesystem that the file lies on
}

// storage is one file or one block device.
type storage struct {
	dev   uint64 // of the block device, or of the filesystem of the file
	inode uint64 // of the file; 0 for a block device
}

// Identify looks at a file, directory or block device, through symbolic links.
func Identify(path string) (Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Identity{}, err
	}
	return identify(path, info)
}

// IdentifyFile is Identify for a file that is already open.
func IdentifyFile(f *os.File) (Identity, error) {
	info, err := f.Stat()
	if err != nil {
		return Identity{}, err
	}
	return identify(f.Name(), info)
}

func identify(name string, info fs.FileInfo) (Identity, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Identity{}, fmt.Errorf("%s: no inode: cannot tell which storage it is", name)
	}
	return identityOf(name, st), nil
}

func identityOf(name string, st *syscall.Stat_t) Identity {
	id := Identity{Name: name, self: storage{dev: st.Dev, inode: st.Ino}, on: st.Dev}
	if st.Mode&syscall.S_IFMT == syscall.S_IFBLK {
		id.self = storage{dev: st.Rdev}
	}
	return id
}

// Same says whether a and b share storage directly: they are the same, or one is made of
// the other.
func (a Identity) Same(b Identity) bool {
	return layers(b.self)[a.self] || layers(a.self)[b.self]
}

// LiesOn says whether the filesystem that holds the file a is stored on b, so that writing
// to a changes b.
func (a Identity) LiesOn(b Identity) bool {
	seen := map[storage]bool{}
	for todo := []uint64{a.on}; len(todo) > 0; todo = todo[1:] {
		for s := range layers(storage{dev: todo[0]}) {
			if seen[s] {
				continue
			}
			seen[s] = true
			if s.inode != 0 { // a loop device's file lies on a filesystem too
				todo = append(todo, s.dev)
			}
		}
	}
	for _, s := range append(backing(b.self), b.self) {
		if seen[s] {
			return true
		}
	}
	return false
}

// layers is s and everything that it is made of: the disk of a partition, the slaves of a
// device-mapper or md device, the file behind a loop device, and so on down.
func layers(s storage) map[storage]bool {
	seen := map[storage]bool{s: true}
	for todo := []storage{s}; len(todo) > 0; todo = todo[1:] {
		for _, below := range append(backing(todo[0]), parts(todo[0])...) {
			if !seen[below] {
				seen[below] = true
				todo = append(todo, below)
			}
		}
	}
	return seen
}

// backing is the file or device behind a loop device.
func backing(s storage) []storage {
	if s.inode != 0 {
		return nil
	}
	name, err := os.ReadFile(filepath.Join(sysfs(s.dev), "loop/backing_file"))
	if err != nil {
		return nil
	}
	id, err := Identify(strings.TrimSuffix(string(name), "\n"))
	if err != nil {
		return nil
	}
	return []storage{id.self}
}

// parts are the block devices that a block device takes its bytes from.
func parts(s storage) []storage {
	if s.inode != 0 {
		return nil
	}
	dir := sysfs(s.dev)
	files, _ := filepath.Glob(dir + "/slaves/*/dev")
	if _, err := os.Stat(dir + "/partition"); err == nil {
		files = append(files, dir+"/../dev")
	}
	var list []storage
	for _, file := range files {
		if dev, ok := readDev(file); ok {
			list = append(list, storage{dev: dev})
		}
	}
	return list
}

// sysfs is the directory of a block device in sysfs, with links resolved, so that ".." is
// the disk of a partition.
func sysfs(dev uint64) string {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return dir
}

// readDev reads a "major:minor" file.
func readDev(file string) (uint64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(text), "%d:%d", &major, &minor); err != nil {
		return 0, false
	}
	return unix.Mkdev(major, minor), true
}
