package activate

import (
	"fmt"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/cache"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Cache is an origin of which a faster device holds some blocks, perhaps newer ones.
// Source: drivers/md/dm-cache-target.c.
type Cache struct {
	Origin         Input
	Metadata, Data Input // of the cache, used when there is a Map
	MetadataSize   int64 // bytes
	DataSize       int64 // bytes
	Mode           CacheMode
	Map            *cache.Map // nil: the cache cannot be used
	Stale          string     // why blocks that Map does not have may be older on the origin; "": they are not
	Doubt          string     // why all of it may not be right; "" when it is
}

// CacheMode says what the origin holds of blocks that are in the cache.
type CacheMode string

const (
	Writeback    CacheMode = "writeback"    // the cache may be newer
	Writethrough CacheMode = "writethrough" // both are the same
	Passthrough  CacheMode = "passthrough"  // both are the same; the origin is asked

	unknownMode = "unknown" // to be taken for the worst
)

// Inputs implements [Target].
func (t Cache) Inputs() []Input {
	if t.Map == nil {
		return []Input{t.Origin}
	}
	return []Input{t.Origin, t.Metadata, t.Data}
}

func (t Cache) String() string {
	if t.Map == nil {
		return fmt.Sprintf("cache, %s, of which only the origin can be read", t.Mode)
	}
	return fmt.Sprintf("cache, %s, chunk %d, %d blocks of the origin, clean %t", t.Mode, t.Map.ChunkSize, len(t.Map.Mappings), t.Map.Clean)
}

// cache plans a cached LV. A cache that cannot be read costs what only it may have.
func (p *planner) cache(lv *metadata.LV, s *metadata.Segment, n int64, above []string) (Target, error) {
	f, err := s.Cache()
	if err != nil {
		return nil, err
	}
	if s.StartExtent != 0 {
		return nil, fmt.Errorf("a cache that begins at extent %d of its LV", s.StartExtent)
	}
	t := Cache{}
	if t.Origin, err = p.input(metadata.Area{Name: f.Origin}, n, above); err != nil {
		return nil, fmt.Errorf("origin of the cache: %w", err)
	}
	settings, err := p.cacheParts(&t, f, above)
	t.Mode = cacheMode(settings.Mode)
	if err == nil {
		t.Map, err = cache.Read(p.peek(t.Metadata, t.MetadataSize), t.MetadataSize)
	}
	if err != nil {
		p.loseCache(lv, &t, err)
		return t, nil
	}
	p.judgeCache(lv, &t, settings.ChunkSize*block.SectorSize)
	return t, nil
}

// cacheParts finds the metadata and the data of a cache, which are LVs of a pool or parts
// of a cachevol, and the settings, which are the pool's or with a cachevol the LV's own.
func (p *planner) cacheParts(t *Cache, f metadata.Cache, above []string) (metadata.CacheSettings, error) {
	if f.UsesCachevol {
		vol, err := p.named(f.Pool, above)
		if err != nil {
			return f.CacheSettings, fmt.Errorf("cachevol: %w", err)
		}
		if f.MetadataStart > vol.Size/block.SectorSize-f.MetadataSize || f.DataStart > vol.Size/block.SectorSize-f.DataSize {
			return f.CacheSettings, fmt.Errorf("metadata and data of the cache lie beyond the %d bytes of LV %s", vol.Size, f.Pool)
		}
		t.Metadata, t.MetadataSize = Input{Volume: vol, Off: f.MetadataStart * block.SectorSize}, f.MetadataSize*block.SectorSize
		t.Data, t.DataSize = Input{Volume: vol, Off: f.DataStart * block.SectorSize}, f.DataSize*block.SectorSize
		return f.CacheSettings, nil
	}
	pool := p.lvs[f.Pool]
	if pool == nil || len(pool.Segments) != 1 {
		return metadata.CacheSettings{Mode: unknownMode}, fmt.Errorf("the metadata has no pool %q of one segment", f.Pool)
	}
	pf, err := pool.Segments[0].CachePool()
	if err != nil {
		return metadata.CacheSettings{Mode: unknownMode}, fmt.Errorf("pool %s: %w", f.Pool, err)
	}
	meta, err := p.named(pf.Metadata, above)
	if err != nil {
		return pf.CacheSettings, fmt.Errorf("metadata of pool %s: %w", f.Pool, err)
	}
	t.Metadata, t.MetadataSize = Input{Volume: meta}, meta.Size
	data, err := p.named(pf.Data, above)
	if err != nil {
		return pf.CacheSettings, fmt.Errorf("data of pool %s: %w", f.Pool, err)
	}
	t.Data, t.DataSize = Input{Volume: data}, data.Size
	return pf.CacheSettings, nil
}

// cacheMode reads a mode. One that is not known may be as bad as writeback; one that is not
// said is what it was before there was a choice (lib/cache_segtype/cache.c).
func cacheMode(said string) CacheMode {
	switch mode := CacheMode(said); mode {
	case "":
		return Writethrough
	case Writethrough, Passthrough:
		return mode
	}
	return Writeback
}

// loseCache notes that only the origin can be read, for the reason err.
func (p *planner) loseCache(lv *metadata.LV, t *Cache, err error) {
	if t.Mode == Writeback {
		t.Stale = fmt.Sprintf("only the origin of %s can be read, and the cache in front of it may hold newer content: %s", lv.Name, block.Why(err))
		return
	}
	p.note(lv, true, "the cache cannot be used, but being %s it holds nothing that the origin does not: %s", t.Mode, block.Why(err))
}

// judgeCache decides what the blocks of a cache are worth. chunkSaid is their size in bytes
// as the VG's metadata says it.
func (p *planner) judgeCache(lv *metadata.LV, t *Cache, chunkSaid int64) {
	m := t.Map
	if m.Lost > 0 {
		text := fmt.Sprintf("of %d of the %d blocks of the cache it is not known what they hold: %s", m.Lost, m.Blocks, block.Why(m.Err))
		if t.Mode == Writeback {
			t.Stale = text
		} else {
			p.note(lv, true, "%s", text)
		}
	}
	if !m.Clean && t.Mode == Writeback {
		p.note(lv, false, "the cache was not shut down cleanly: each of the %d blocks that it holds counts as newer than the origin", len(m.Mappings))
	}
	if m.NeedsCheck {
		p.note(lv, false, "the kernel has met an error in the cache's metadata and marked it for a check")
	}
	t.Doubt = p.doubts(t.Metadata, t.MetadataSize)
	if chunkSaid != m.ChunkSize {
		t.Doubt = fmt.Sprintf("the cache's own metadata says chunks of %d bytes, the VG's says %d", m.ChunkSize, chunkSaid)
	}
}
