// Package mount shows block.Devices as the files of a read-only FUSE directory.
//
// A read that touches bad bytes fails with EIO, and nothing is ever filled in. The kernel
// reads a file through its cache in pages of 4096 bytes, and all of a page fails if one
// sector of it does; so that files of which something is known to be bad are read past the
// cache, byte for byte as asked, and so is any file that is opened with O_DIRECT.
package mount

import "github.com/lvrescue/lvrescue/scan/block"

// File is a device and the name that it gets.
type File struct {
	Name string // one element of a path
	Dev  block.Device
}

// Options says how to mount.
type Options struct {
	// Everybody lets all users of the machine read; otherwise only the one that mounts.
	Everybody bool
}
