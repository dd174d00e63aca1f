package block

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// OnAllCores runs f for 0 to n-1 side by side: in a goroutine for each core, not in one for
// each number, of which thousands would have stacks grow. The error is a *[Fault].
func OnAllCores(n int, f func(i int)) error {
	var next atomic.Int64
	var g errgroup.Group
	for range min(runtime.GOMAXPROCS(0), n) {
		g.Go(Guarded(func() error {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
			return nil
		}))
	}
	return g.Wait()
}
