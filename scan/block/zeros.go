package block

import "bytes"

// AllZero tells whether all bytes are zero.
func AllZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }
