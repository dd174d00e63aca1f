package scan

import (
	"crypto/sha256"
	"sync"
)

// interner makes one Content of all texts with the same bytes.
type interner struct {
	mu    sync.Mutex
	texts map[[sha256.Size]byte]*Content
	bytes int64 // of all of them

	large sync.Mutex // held while a text of more than largeText bytes is read
}

const largeText = 1 << 20

// content gives the Content of a text, and keeps raw if it is a new one. It gives nil when
// there are maxTextBytes of texts already.
func (in *interner) content(raw []byte) *Content {
	sum := sha256.Sum256(raw)
	in.mu.Lock()
	defer in.mu.Unlock()
	if c := in.texts[sum]; c != nil {
		return c
	}
	if in.bytes += int64(len(raw)); in.bytes > maxTextBytes {
		return nil
	}
	if in.texts == nil {
		in.texts = map[[sha256.Size]byte]*Content{}
	}
	c := &Content{Raw: raw, SHA256: sum}
	in.texts[sum] = c
	return c
}
