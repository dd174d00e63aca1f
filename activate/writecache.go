package activate

import (
	"fmt"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/writecache"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Writecache is an origin in front of which a cache holds what was written last.
// Source: drivers/md/dm-writecache.c.
type Writecache struct {
	Origin, Cache Input           // Cache is used when there is a Map
	CacheSize     int64           // bytes
	Map           *writecache.Map // nil: the cache cannot be used
	Doubt         string          // why all of it may be older than it was; "": it is not
}

// Inputs implements [Target].
func (t Writecache) Inputs() []Input {
	if t.Map == nil {
		return []Input{t.Origin}
	}
	return []Input{t.Origin, t.Cache}
}

func (t Writecache) String() string {
	if t.Map == nil {
		return "writecache of which only the origin can be read"
	}
	return fmt.Sprintf("writecache, %d blocks of %d bytes at sequence %d", len(t.Map.Entries), t.Map.BlockSize, t.Map.Seq)
}

// writecache plans an LV with a writecache. Whatever is in that cache is newer than the
// origin, so without it, or with a part of it, all is doubtful.
func (p *planner) writecache(lv *metadata.LV, s *metadata.Segment, n int64, above []string) (Target, error) {
	f, err := s.Writecache()
	if err != nil {
		return nil, err
	}
	if s.StartExtent != 0 {
		return nil, fmt.Errorf("a writecache that begins at extent %d of its LV", s.StartExtent)
	}
	t := Writecache{}
	if t.Origin, err = p.input(metadata.Area{Name: f.Origin}, n, above); err != nil {
		return nil, fmt.Errorf("origin of the writecache: %w", err)
	}
	vol, err := p.named(f.Cache, above)
	if err == nil {
		t.Cache, t.CacheSize = Input{Volume: vol}, vol.Size
		t.Map, err = writecache.Read(p.peek(t.Cache, vol.Size), vol.Size, n)
	}
	if err != nil {
		t.Doubt = fmt.Sprintf("only the origin of %s can be read, and the writecache in front of it may hold newer content: %s", lv.Name, block.Why(err))
		return t, nil
	}
	p.judgeWritecache(lv, &t, f)
	return t, nil
}

// judgeWritecache decides what the entries of a writecache are worth.
func (p *planner) judgeWritecache(lv *metadata.LV, t *Writecache, f metadata.Writecache) {
	switch {
	case t.Map.Err != nil:
		t.Doubt = "the writecache may hold newer content, but its metadata is damaged: " + block.Why(t.Map.Err)
	case t.Map.BlockSize != f.BlockSize:
		t.Doubt = fmt.Sprintf("the writecache itself says blocks of %d bytes, the VG's metadata says %d", t.Map.BlockSize, f.BlockSize)
	}
	if t.Map.Uncommitted > 0 {
		p.note(lv, false, "%d blocks were on their way into the writecache when it stopped: as in the kernel they do not count", t.Map.Uncommitted)
	}
	if t.Doubt == "" {
		t.Doubt = p.doubts(t.Cache, t.Map.DataOffset())
	}
}
