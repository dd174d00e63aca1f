//go:build !linux

package block

import (
	"io/fs"
	"os"
)

// Identity tells which file or block device a name stands for, whatever the name.
type Identity struct {
	Name string // for messages
	info fs.FileInfo
}

// Identify looks at a file, directory or block device, through symbolic links.
func Identify(path string) (Identity, error) {
	info, err := os.Stat(path)
	return Identity{path, info}, err
}

// IdentifyFile is Identify for a file that is already open.
func IdentifyFile(f *os.File) (Identity, error) {
	info, err := f.Stat()
	return Identity{f.Name(), info}, err
}

func identify(name string, info fs.FileInfo) (Identity, error) {
	return Identity{name, info}, nil
}

// Same says whether a and b are the same file or device.
func (a Identity) Same(b Identity) bool { return os.SameFile(a.info, b.info) }

// LiesOn would say whether the filesystem that holds a is stored on b. Only Linux tells.
func (a Identity) LiesOn(Identity) bool { return false }
