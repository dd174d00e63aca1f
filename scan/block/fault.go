package block

import (
	"fmt"
	"runtime/debug"
)

// Fault is a panic that has been caught. In a goroutine of its own a panic would end the
// program at once; as an error it reaches whoever waits for the goroutine, and what others
// have done is kept.
type Fault struct {
	Value any
	Stack []byte
}

func (f *Fault) Error() string { return fmt.Sprintf("internal error: %v", f.Value) }

// CaughtFault is the Fault of what recover has given; to be called by the deferred function.
func CaughtFault(value any) *Fault {
	if f, ok := value.(*Fault); ok { // passed on by a panic of the goroutine that waited
		return f
	}
	return &Fault{value, debug.Stack()}
}

// Guarded is f for a goroutine of its own: a panic in it becomes its error, a *Fault.
func Guarded(f func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = CaughtFault(p)
			}
		}()
		return f()
	}
}
