package block

import (
	"cmp"
	"slices"
	"sync"
)

// maxDataRuns bounds the runs of data that are remembered of a file, and so the memory.
const maxDataRuns = 1 << 10

// dataRuns are the runs of data that a filesystem has told of. Some filesystems walk a run
// page by page to find its end, and an image is looked at more than once: to sum up what it
// has, and to read it, in many places side by side. A run that is no longer one does no harm:
// it reads as zeros.
type dataRuns struct {
	mu   sync.RWMutex
	list []dataRun // by start
}

// dataRun is the bytes from start to end.
type dataRun struct{ start, end int64 }

// at gives the end of the run that byte off lies in.
func (d *dataRuns) at(off int64) (end int64, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	i := d.behind(off)
	if i == 0 || d.list[i-1].end <= off {
		return 0, false
	}
	return d.list[i-1].end, true
}

// behind is the index of the first run that starts behind byte off.
func (d *dataRuns) behind(off int64) int {
	i, _ := slices.BinarySearchFunc(d.list, off, func(r dataRun, off int64) int {
		return cmp.Or(cmp.Compare(r.start, off), -1)
	})
	return i
}

// add remembers a run, in the place of those that lie in it. When there are too many, all
// others are forgotten.
func (d *dataRuns) add(start, end int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == maxDataRuns {
		d.list = d.list[:0]
	}
	i := d.behind(start - 1)
	j := i
	for j < len(d.list) && d.list[j].end <= end {
		j++
	}
	d.list = slices.Replace(d.list, i, j, dataRun{start, end})
}
