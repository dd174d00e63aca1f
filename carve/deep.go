package carve

import (
	"bytes"

	"github.com/lvrescue/lvrescue/metadata"
)

// What a deep search looks for: texts that begin anywhere, as in tar files, journals and
// memory images. Both words stand at a known distance behind the start of what they are of.
var (
	rawID    = []byte("{\nid = \"") // behind the VG's name and a space
	maxStart = metadata.SectorSize  // bytes that the start of a text takes at most
)

// searchDeep looks at every byte of the piece for texts that begin on no sector.
func (s *searcher) searchDeep() {
	s.deepAll(backupStart, func(at int64) int64 { return at })
	s.deepAll(rawID, s.nameStart)
}

// deepAll looks for a word at every byte; start gives from its place where the text that it
// is of begins, or -1.
func (s *searcher) deepAll(word []byte, start func(at int64) int64) {
	piece, base := s.piece, s.base
	// A word may go on behind the piece.
	more, _ := s.window(base+int64(len(piece)), int64(len(word))-1)
	border := append(bytes.Clone(piece[max(len(piece)-len(word)+1, 0):]), more...)
	look := func(b []byte, at int64) {
		for i := 0; s.err == nil; {
			n := bytes.Index(b[i:], word)
			if n < 0 {
				return
			}
			i += n + 1
			if from := start(at + int64(i) - 1); from >= 0 && from%sector != 0 {
				s.deepText(from)
			}
		}
	}
	look(piece, base)
	look(border, base+int64(max(len(piece)-len(word)+1, 0)))
}

// nameStart goes back from what follows a VG's name to its start.
func (s *searcher) nameStart(at int64) int64 {
	from := max(at-maxName-2, 0)
	b, _ := s.window(from, at-from)
	if n := nameBefore(b); n >= 0 {
		return from + int64(n)
	}
	return -1
}

// nameBefore is where the name begins that b ends with, and a space; -1 when there is none.
func nameBefore(b []byte) int {
	end := len(b) - 1
	if end < 0 || b[end] != ' ' {
		return -1
	}
	n := end
	for n > 0 && isNameByte[b[n-1]] {
		n--
	}
	if n == end || end-n > maxName {
		return -1
	}
	return n
}

// deepText looks at a text that begins on no sector.
func (s *searcher) deepText(at int64) {
	b, _ := s.window(at, int64(maxStart))
	switch {
	case len(b) == 0:
	case bytes.HasPrefix(b, backupStart):
		s.backup(at, ByByte)
	case beginsText(b):
		s.rawText(at, ByByte)
	}
}

// nextAnywhere is where in b a text begins, other than at byte own; -1 for nowhere.
func nextAnywhere(b []byte, own int64, kind Kind) int {
	best := -1
	if kind == Backup {
		if best = bytes.Index(b, backupStart); int64(best) == own {
			best = -1
		}
	}
	for i := 0; ; {
		n := bytes.Index(b[i:], rawID)
		if n < 0 || best >= 0 && i+n > best {
			return best
		}
		i += n
		if from := nameBefore(b[:i]); from >= 0 && int64(from) != own && beginsText(b[from:]) {
			return from
		}
		i++
	}
}
