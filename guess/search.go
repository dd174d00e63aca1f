package guess

import (
	"context"

	"github.com/lvrescue/lvrescue/metadata/signs"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

const (
	window   = 4 << 20 // bytes that are read at once
	maxSigns = 1 << 16 // of one source
)

// Search finds the superblocks on a source by looking at each of its sectors; what cannot be
// read, and proven zeros, are passed over. progress, which may be nil, is told the bytes that
// are done. The error is that of ctx.
func Search(ctx context.Context, s *scan.Source, progress func(done int64)) ([]*scan.Sign, error) {
	var found []*scan.Sign
	buf := make([]byte, window+signs.Length)
	size := s.Dev.Size()
	for at := int64(0); at < size && len(found) < maxSigns; at += window {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if zero(s.Dev, at, min(window, size-at)) {
			continue
		}
		b := buf[:min(window+signs.Length, size-at)]
		clear(b)
		_ = block.ReadRange(s.Dev, b, at, func(block.Extent) {}) // what cannot be read stays zero
		for off := int64(0); off < min(window, int64(len(b))); off += block.SectorSize {
			if rest := b[off:]; len(rest) >= block.SectorSize && signs.Maybe(rest) {
				if sign := signs.Read(rest[:min(signs.Length, len(rest))]); sign != nil {
					found = append(found, &scan.Sign{Source: s, Offset: at + off, Sign: sign})
				}
			}
		}
		if progress != nil {
			progress(min(at+window, size))
		}
	}
	return found, nil
}

// zero tells whether a range is known to be zeros.
func zero(dev block.Device, off, n int64) bool {
	for e := range dev.Extents(off, n) {
		if e.State != block.Zero {
			return false
		}
	}
	return true
}
