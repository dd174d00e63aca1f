package volume

import (
	"iter"
	"sort"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/exstore"
	"github.com/lvrescue/lvrescue/scan/block"
)

// snapshot is an origin over which the chunks of a store are laid.
type snapshot struct {
	origin, store    block.Device // origin is as long as the snapshot
	chunk            int64        // bytes
	runs             []exstore.Run
	listed, unlisted string // why bytes of the store, of the origin are doubtful; "": they are not
}

func (o opener) snapshot(t activate.Snapshot, n int64) block.Device {
	return &snapshot{
		origin: o.input(t.Origin, n), store: o.input(t.Store, t.StoreSize),
		chunk: t.ChunkSize, runs: t.List.Runs, listed: t.Listed, unlisted: t.Unlisted,
	}
}

func (s *snapshot) Size() int64 { return s.origin.Size() }

// at finds the piece of [off, end) that begins at off, and why it is doubtful.
func (s *snapshot) at(off, end int64) (piece, string) {
	i := sort.Search(len(s.runs), func(i int) bool { return (s.runs[i].Old+s.runs[i].Len)*s.chunk > off })
	if i < len(s.runs) {
		r := s.runs[i]
		start := r.Old * s.chunk
		if start <= off {
			in := off - start
			return piece{off, min(end-off, r.Len*s.chunk-in), s.store, r.New*s.chunk + in}, s.listed
		}
		end = min(end, start)
	}
	return piece{off, end - off, s.origin, off}, s.unlisted
}

// ReadAt implements io.ReaderAt.
func (s *snapshot) ReadAt(p []byte, off int64) (n int, err error) {
	p, eof := block.ClipRead(s.Size(), p, off)
	for end := off + int64(len(p)); n < len(p); {
		c, _ := s.at(off+int64(n), end)
		m, err := c.read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, eof
}

// Extents implements block.Device.
func (s *snapshot) Extents(off, n int64) iter.Seq[block.Extent] {
	return block.Merge(func(yield func(block.Extent) bool) {
		lo, hi := block.Clip(s.Size(), off, n)
		for lo < hi {
			c, why := s.at(lo, hi)
			if !c.extents(func(e block.Extent) bool { return yield(doubt(e, why)) }) {
				return
			}
			lo += c.n
		}
	})
}
