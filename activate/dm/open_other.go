//go:build !linux

package dm

import "errors"

// Open says that there is no device-mapper but on Linux.
func Open() (*Host, error) {
	return nil, &ControlError{errors.New("only Linux has one")}
}
