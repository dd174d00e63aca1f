package scan

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lvrescue/lvrescue/scan/block"
)

// sysBlock lists the machine's block devices.
const sysBlock = "/sys/class/block"

// expand turns arguments into the paths of sources, in order, each once however often it
// is named. It notes in listed what is in the directories among them.
func (ev *Evidence) expand(args []string, listed listings) ([]string, error) {
	if len(args) == 0 {
		return blockDevices(sysBlock)
	}
	var once distinct
	var paths []string
	add := func(path string, info os.FileInfo) {
		if first, ok := once.add(path, info); ok {
			paths = append(paths, path)
		} else if first != path {
			ev.find(Info, "source-twice", path, -1, "is the same as %s and counts once", first)
		}
	}
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			paths = append(paths, arg) // opening it will tell
		case info.IsDir():
			ev.expandDir(arg, listed, add)
		default:
			add(arg, info)
		}
	}
	return paths, nil
}

// expandDir adds what may be an image in a directory, not in those below.
func (ev *Evidence) expandDir(dir string, listed listings, add func(string, os.FileInfo)) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		ev.find(Error, "directory-unreadable", dir, -1, "cannot be read in full: %v", err)
	} else {
		listed.add(dir, entries)
	}
	n := 0
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if noImage(e.Name()) {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			ev.find(Warning, "source-unreadable", path, -1, "cannot be looked at, and is left out: %v", err)
		case !info.Mode().IsRegular():
		case info.Size() < block.SectorSize:
			ev.find(Info, "source-empty", path, -1, "is %d bytes long, too short for an image", info.Size())
		default:
			add(path, info)
			n++
		}
	}
	if n == 0 {
		ev.find(Warning, "directory-empty", dir, -1, "holds no file that may be an image")
	}
}

// noImage tells by its name that a file is no image: hidden, a mapfile, or unfinished.
func noImage(name string) bool {
	return strings.HasPrefix(name, ".") || slices.Contains([]string{".map", ".mapfile", ".part"}, filepath.Ext(name))
}

// distinct keeps files apart, through symbolic and hard links. Its keys are only there to
// compare few files with each other.
type distinct struct {
	seen map[distinctKey][]seenFile
}

type distinctKey struct {
	size     int64
	modified time.Time
}

type seenFile struct {
	path string
	info os.FileInfo
}

// add notes a file. For one that was noted before it gives the path it had then.
func (d *distinct) add(path string, info os.FileInfo) (first string, isNew bool) {
	key := distinctKey{info.Size(), info.ModTime()}
	for _, f := range d.seen[key] {
		if os.SameFile(f.info, info) {
			return f.path, false
		}
	}
	if d.seen == nil {
		d.seen = map[distinctKey][]seenFile{}
	}
	d.seen[key] = append(d.seen[key], seenFile{path, info})
	return path, true
}

// noDisks are the names of block devices that never hold a PV worth looking for.
var noDisks = []string{"ram", "zram", "fd"}

// blockDevices lists the block devices in a sysfs directory that may hold PVs: not empty
// ones, memory, what lvrescue itself has made, and partitions, which are found on their disks.
func blockDevices(sys string) ([]string, error) {
	entries, err := os.ReadDir(sys)
	if err != nil {
		return nil, fmt.Errorf("list of block devices: %w", err)
	}
	var paths []string
	for _, e := range entries {
		dir := filepath.Join(sys, e.Name())
		_, partition := os.Stat(filepath.Join(dir, "partition"))
		size := sysValue(dir, "size")
		switch {
		case partition == nil, size == "", size == "0":
		case slices.ContainsFunc(noDisks, func(prefix string) bool { return strings.HasPrefix(e.Name(), prefix) }):
		case strings.HasPrefix(sysValue(dir, "dm/uuid"), "LVRESCUE-"):
		default:
			paths = append(paths, deviceNode(dir, e.Name()))
		}
	}
	return paths, nil
}

// deviceNode is the path of a block device, as people know it.
func deviceNode(dir, name string) string {
	if mapped := sysValue(dir, "dm/name"); mapped != "" {
		return "/dev/mapper/" + mapped
	}
	return "/dev/" + strings.ReplaceAll(name, "!", "/")
}

// sysValue reads an attribute; "" when there is none.
func sysValue(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
