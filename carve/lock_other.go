//go:build !unix

package carve

// lock is left to the user where there is no flock.
func lock(string) (unlock func() error, err error) {
	return func() error { return nil }, nil
}
