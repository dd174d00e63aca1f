package metadata

import (
	"fmt"
	"math"
)

// Problem is something wrong with an on-disk record that could be read all the same.
type Problem struct {
	Code   string // stable, for scripts: "label-crc"
	Field  string // as lvm2's headers name it: "label_header.crc_xl"
	Offset int64  // of the field, in bytes from the first byte of the record
	Text   string // what was expected and what was found, in plain words
}

func (p Problem) String() string {
	return fmt.Sprintf("%s at byte %d: %s", p.Field, p.Offset, p.Text)
}

// DamageError reports a record that is there, but too damaged to be used.
type DamageError struct{ Problem }

func (e *DamageError) Error() string { return e.Problem.String() }

// Damaged makes a *DamageError: see [Problem].
func Damaged(code, field string, offset int64, format string, args ...any) error {
	return &DamageError{Problem{code, field, offset, fmt.Sprintf(format, args...)}}
}

// problems collects what is wrong with one record.
type problems []Problem

func (p *problems) add(code, field string, offset int64, format string, args ...any) {
	*p = append(*p, Problem{code, field, offset, fmt.Sprintf(format, args...)})
}

// bytes64 turns an on-disk 64-bit number of bytes into an int64. A number that cannot be
// one is a problem and reads as 0.
func (p *problems) bytes64(v uint64, code, field string, offset int64) int64 {
	if v > math.MaxInt64 {
		p.add(code, field, offset, "is %d bytes, more than any disk holds", v)
		return 0
	}
	return int64(v)
}
