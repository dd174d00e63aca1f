package export

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
)

// hashes runs checksums over the image, front to back, each on a CPU of its own.
type hashes struct {
	names []string
	list  []hash.Hash
}

func newHashes(names []string) (*hashes, error) {
	h := new(hashes)
	for _, name := range names {
		switch name {
		case "sha256":
			h.list = append(h.list, sha256.New())
		case "md5":
			h.list = append(h.list, md5.New())
		default:
			return nil, fmt.Errorf("unknown hash %q; want sha256 or md5", name)
		}
		h.names = append(h.names, name)
	}
	return h, nil
}

func (h *hashes) none() bool { return len(h.list) == 0 }

// write hashes the next bytes of the image.
func (h *hashes) write(p []byte) {
	h.each(func(one hash.Hash) { one.Write(p) })
}

// zeroChunk is what zeros are hashed from.
var zeroChunk = make([]byte, 256<<10)

// zeros hashes n bytes of zeros, which may take hours, or as many as it can until ctx ends.
func (h *hashes) zeros(ctx context.Context, n int64) {
	h.each(func(one hash.Hash) {
		for left := n; left > 0 && ctx.Err() == nil; {
			part := min(left, int64(len(zeroChunk)))
			one.Write(zeroChunk[:part])
			left -= part
		}
	})
}

// each lets all hashes work in parallel.
func (h *hashes) each(f func(hash.Hash)) {
	if len(h.list) == 1 {
		f(h.list[0])
		return
	}
	var wg sync.WaitGroup
	for _, one := range h.list {
		wg.Go(func() { f(one) })
	}
	wg.Wait()
}

func (h *hashes) sums() []Hash {
	var list []Hash
	for i, one := range h.list {
		list = append(list, Hash{h.names[i], one.Sum(nil)})
	}
	return list
}
