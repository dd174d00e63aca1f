package scan

import (
	"bytes"
	"crypto/sha256"
	"hash/maphash"
	"slices"
	"sync"
)

// interner makes one Content of all texts with the same bytes. Most disks of a VG have the
// same text: of these only the first is worth a SHA-256.
type interner struct {
	mu    sync.Mutex
	texts map[uint64][]*Content // by a quick hash
	bytes int64                 // of all of them

	large sync.Mutex // held while a text of more than largeText bytes is read
}

var quickSeed = maphash.MakeSeed()

const largeText = 1 << 20

// content gives the Content of a text, and keeps raw if it is a new one. It gives nil when
// there are maxTextBytes of texts already.
func (in *interner) content(raw []byte) *Content {
	c, isNew := in.keep(raw)
	if isNew {
		c.SHA256 = sha256.Sum256(raw) // nobody asks for it before the scan is over
	}
	return c
}

func (in *interner) keep(raw []byte) (c *Content, isNew bool) {
	key := maphash.Bytes(quickSeed, raw)
	in.mu.Lock()
	defer in.mu.Unlock()
	if i := slices.IndexFunc(in.texts[key], func(c *Content) bool { return bytes.Equal(c.Raw, raw) }); i >= 0 {
		return in.texts[key][i], false
	}
	if in.bytes += int64(len(raw)); in.bytes > maxTextBytes {
		return nil, false
	}
	if in.texts == nil {
		in.texts = map[uint64][]*Content{}
	}
	c = &Content{Raw: raw}
	in.texts[key] = append(in.texts[key], c)
	return c, true
}
