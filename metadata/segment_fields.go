package metadata

// Fields of segment types, in lvm2's order: text_export and text_import of lib/raid/raid.c,
// lib/mirror/mirrored.c, lib/snapshot/snapshot.c, lib/thin/thin.c,
// lib/cache_segtype/cache.c, lib/writecache/writecache.c, lib/integrity/integrity.c and
// lib/vdo/vdo.c. What else a type has is in segment_kinds.go.

var raidFields = []field[RAID]{
	{key: "data_copies", ref: func(r *RAID) any { return &r.DataCopies }, max: u32},
	{key: "region_size", ref: func(r *RAID) any { return &r.RegionSize }, max: u32},
	{key: "writebehind", ref: func(r *RAID) any { return &r.WriteBehind }, max: u32},
	{key: "min_recovery_rate", ref: func(r *RAID) any { return &r.MinRecoveryRate }, max: u32},
	{key: "max_recovery_rate", ref: func(r *RAID) any { return &r.MaxRecoveryRate }, max: u32},
	{key: "data_offset", ref: func(r *RAID) any { return &r.DataOffset }, max: u32},
}

var mirrorFields = []field[Mirror]{
	{key: "extents_moved", ref: func(m *Mirror) any { return &m.ExtentsMoved }, max: u32},
	{key: "mirror_log", ref: func(m *Mirror) any { return &m.Log }},
	{key: "region_size", ref: func(m *Mirror) any { return &m.RegionSize }, max: u32},
}

var snapshotFields = []field[snapshotText]{
	{key: "chunk_size", ref: func(s *snapshotText) any { return &s.ChunkSize }, need: true, max: u32},
	{key: "origin", ref: func(s *snapshotText) any { return &s.Origin }, need: true},
	{key: "cow_store", ref: func(s *snapshotText) any { return &s.cow }},
	{key: "merging_store", ref: func(s *snapshotText) any { return &s.merging }},
}

var thinPoolFields = []field[ThinPool]{
	{key: "metadata", ref: func(p *ThinPool) any { return &p.Metadata }, need: true},
	{key: "pool", ref: func(p *ThinPool) any { return &p.Data }, need: true},
	{key: "transaction_id", ref: func(p *ThinPool) any { return &p.TransactionID }, need: true, max: u64},
	{key: "chunk_size", ref: func(p *ThinPool) any { return &p.ChunkSize }, need: true, max: u32},
	{key: "discards", ref: func(p *ThinPool) any { return &p.Discards }},
	{key: "zero_new_blocks", ref: func(p *ThinPool) any { return &p.ZeroNewBlocks }, max: u32},
	{key: "crop_metadata", ref: func(p *ThinPool) any { return &p.CropMetadata }, max: u32},
}

var thinFields = []field[Thin]{
	{key: "thin_pool", ref: func(t *Thin) any { return &t.Pool }, need: true},
	{key: "transaction_id", ref: func(t *Thin) any { return &t.TransactionID }, need: true, max: u64},
	{key: "device_id", ref: func(t *Thin) any { return &t.DeviceID }, need: true, max: maxThinDevice},
	{key: "external_origin", ref: func(t *Thin) any { return &t.ExternalOrigin }},
	{key: "origin", ref: func(t *Thin) any { return &t.Origin }},
	{key: "merge", ref: func(t *Thin) any { return &t.Merge }},
}

// maxThinDevice is the largest id of a thin device: the kernel keeps 24 bits.
const maxThinDevice = 1<<24 - 1

var cachePoolFields = []field[CachePool]{
	{key: "data", ref: func(p *CachePool) any { return &p.Data }, need: true},
	{key: "metadata", ref: func(p *CachePool) any { return &p.Metadata }, need: true},
	{key: "metadata_format", ref: func(p *CachePool) any { return &p.MetadataFormat }, max: 2},
	{key: "chunk_size", ref: func(p *CachePool) any { return &p.ChunkSize }, max: u32},
	{key: "cache_mode", ref: func(p *CachePool) any { return &p.Mode }},
	{key: "policy", ref: func(p *CachePool) any { return &p.Policy }},
}

var cacheFields = []field[Cache]{
	{key: "cache_pool", ref: func(c *Cache) any { return &c.Pool }, need: true},
	{key: "origin", ref: func(c *Cache) any { return &c.Origin }, need: true},
	{key: "cleaner", ref: func(c *Cache) any { return &c.Cleaner }, max: u32},
	{key: "metadata_format", ref: func(c *Cache) any { return &c.MetadataFormat }, max: 2},
	{key: "chunk_size", ref: func(c *Cache) any { return &c.ChunkSize }, max: u32},
	{key: "cache_mode", ref: func(c *Cache) any { return &c.Mode }},
	{key: "policy", ref: func(c *Cache) any { return &c.Policy }},
	{key: "metadata_start", ref: func(c *Cache) any { return &c.MetadataStart }, max: maxSectors},
	{key: "metadata_len", ref: func(c *Cache) any { return &c.MetadataSize }, max: maxSectors},
	{key: "data_start", ref: func(c *Cache) any { return &c.DataStart }, max: maxSectors},
	{key: "data_len", ref: func(c *Cache) any { return &c.DataSize }, max: maxSectors},
	{key: "metadata_id", ref: func(c *Cache) any { return &c.MetadataID }},
	{key: "data_id", ref: func(c *Cache) any { return &c.DataID }},
}

var writecacheFields = []field[Writecache]{
	{key: "writecache", ref: func(w *Writecache) any { return &w.Cache }, need: true},
	{key: "origin", ref: func(w *Writecache) any { return &w.Origin }, need: true},
	{key: "writecache_block_size", ref: func(w *Writecache) any { return &w.BlockSize }, need: true, max: u32},
	{key: "cleaner", ref: func(w *Writecache) any { return &w.Cleaner }, max: u32},
}

var integrityFields = []field[Integrity]{
	{key: "origin", ref: func(i *Integrity) any { return &i.Origin }, need: true},
	{key: "data_sectors", ref: func(i *Integrity) any { return &i.DataSectors }, need: true, max: maxSectors},
	{key: "mode", ref: func(i *Integrity) any { return &i.Mode }, need: true},
	{key: "tag_size", ref: func(i *Integrity) any { return &i.TagSize }, need: true, max: u32},
	{key: "block_size", ref: func(i *Integrity) any { return &i.BlockSize }, need: true, max: u32},
	{key: "internal_hash", ref: func(i *Integrity) any { return &i.InternalHash }, need: true},
	{key: "meta_dev", ref: func(i *Integrity) any { return &i.Metadata }},
	{key: "recalculate", ref: func(i *Integrity) any { return &i.Recalculate }, max: u32},
	{key: "journal_sectors", ref: func(i *Integrity) any { return &i.JournalSectors }, max: u32},
	{key: "interleave_sectors", ref: func(i *Integrity) any { return &i.Interleave }, max: u32},
	{key: "buffer_sectors", ref: func(i *Integrity) any { return &i.BufferSectors }, max: u32},
	{key: "sectors_per_bit", ref: func(i *Integrity) any { return &i.SectorsPerBit }, max: maxSectors},
}

var vdoPoolFields = []field[VDOPool]{
	{key: "data", ref: func(p *VDOPool) any { return &p.Data }, need: true},
	{key: "header_size", ref: func(p *VDOPool) any { return &p.HeaderSize }, need: true, max: u32},
	{key: "virtual_extents", ref: func(p *VDOPool) any { return &p.VirtualExtents }, need: true, max: u32},
	{key: "use_compression", ref: func(p *VDOPool) any { return &p.Compression }, max: u32},
	{key: "use_deduplication", ref: func(p *VDOPool) any { return &p.Deduplication }, max: u32},
	{key: "use_metadata_hints", ref: func(p *VDOPool) any { return &p.MetadataHints }, max: u32},
	{key: "minimum_io_size", ref: func(p *VDOPool) any { return &p.MinimumIOSize }, max: u32},
	{key: "use_sparse_index", ref: func(p *VDOPool) any { return &p.SparseIndex }, max: u32},
	{key: "index_memory_size_mb", ref: func(p *VDOPool) any { return &p.IndexMemory }, max: u32},
	{key: "slab_size_mb", ref: func(p *VDOPool) any { return &p.SlabSize }, max: u32},
	{key: "write_policy", ref: func(p *VDOPool) any { return &p.WritePolicy }},
}

var vdoFields = []field[VDO]{
	{key: "vdo_pool", ref: func(v *VDO) any { return &v.Pool }, need: true},
	{key: "vdo_offset", ref: func(v *VDO) any { return &v.Offset }, need: true, max: u32},
}
