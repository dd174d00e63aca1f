package scan

import (
	"crypto/sha256"
	"sync"
)

// interner makes one Content of all texts with the same bytes.
type interner struct {
	mu    sync.Mutex
	texts map[[sha256.Size]byte]*Content
}

// content gives the Content of a text, and keeps raw if it is a new one.
func (in *interner) content(raw []byte) *Content {
	sum := sha256.Sum256(raw)
	in.mu.Lock()
	defer in.mu.Unlock()
	if c := in.texts[sum]; c != nil {
		return c
	}
	if in.texts == nil {
		in.texts = map[[sha256.Size]byte]*Content{}
	}
	c := &Content{Raw: raw, SHA256: sum}
	in.texts[sum] = c
	return c
}
