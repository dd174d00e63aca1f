package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/lvrescue/lvrescue/scan/block"
)

// socket is a unix socket that only its owner can open, and that is removed in the end.
type socket struct {
	net.Listener
	path   string
	remove func() error
}

// Close closes the socket and removes it; once.
func (s *socket) Close() error { return s.remove() }

// maxSocketPath leaves room, in what all systems allow, for the directory that the socket
// is made in.
const maxSocketPath = 90

// listenUnix listens at path, or at a place of its own choice. It never replaces anything
// but a socket that nobody listens on any more.
func listenUnix(path string, keep []block.Identity) (*socket, error) {
	if path == "" {
		path = filepath.Join(runtimeDir(), "lvrescue-"+strconv.Itoa(os.Getpid())+".sock")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if len(path) > maxSocketPath {
		return nil, hinted(fmt.Errorf("%s: the path of a unix socket has %d bytes at most", path, maxSocketPath), "--socket PATH names another place")
	}
	if err := onNoSource(filepath.Dir(path), keep); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// It gets its name only once nobody else may open it.
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".lvrescue-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	private := filepath.Join(tmp, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(private, 0o600); err == nil {
		err = os.Link(private, path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return &socket{l, path, sync.OnceValue(func() error { return errors.Join(l.Close(), os.Remove(path)) })}, nil
}

// runtimeDir is where sockets belong.
func runtimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/run"
	}
	return os.TempDir()
}

// removeStale removes a socket that a killed run has left. Anything else of that name is an
// error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is no socket: choose another path", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s: another server listens on it", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s is in the way: %w", path, err)
	}
	return os.Remove(path)
}

// onNoSource refuses a directory whose filesystem is stored on a source: a new file there
// would change the source.
func onNoSource(dir string, keep []block.Identity) error {
	id, err := block.Identify(filepath.Join(dir, "."))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no directory %s: make it first", dir)
	}
	if err != nil {
		return err
	}
	for _, source := range keep {
		if id.LiesOn(source) {
			return hinted(fmt.Errorf("the filesystem of %s is stored on the source %s: writing there would change it", dir, source.Name), "choose a place on another disk")
		}
	}
	return nil
}
