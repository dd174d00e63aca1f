package carve

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
)

// Backup files in a filesystem of small blocks may lie in pieces. One whose start was found
// is put together from fragments when the grammar allows it and in one way only. They lie
// behind it, in order. Each line
// that goes over from one piece to the next must be one of lvm2's, with a key that stands
// elsewhere too, indented as deep as its section is; and the whole must read as a VG without a
// contradiction. Otherwise it is left alone: a text that was put together wrongly is worse
// than none.

// blockUnit is what blocks of filesystems are multiples of, in bytes.
const blockUnit = 1024

// Bounds of the work.
const (
	maxHeads     = 256
	maxFragments = 4096
	maxJoins     = 1 << 17 // that are tried for one start
	maxAllJoins  = 1 << 20
	maxPieces    = 64
	maxJoined    = 1 << 20 // bytes of a text that was put together
	maxHeld      = 8 << 20 // bytes of starts and fragments that are looked at
)

// shred is a piece of a text with its place.
type shred struct {
	at    int64
	text  []byte // with what follows its last whole line up to the end of its block
	lines int    // bytes of text up to the first line that goes on elsewhere
	same  int    // number of the content: copies of a block, as in a journal, share it
}

// joiner puts the texts of one source together.
type joiner struct {
	fragments []shred
	keys      map[string]bool
	left, all int // joins that may still be tried, for one start and in all
	results   map[[sha256.Size]byte]*strand
}

// strand is what was put together so far.
type strand struct {
	text   []byte
	lines  lines
	whole  int // bytes of text in whole lines
	pieces []Piece
}

// join puts together what it can of the finds of a source, and gives finds for it with
// their texts. read gives the text of a find.
func join(finds []*Find, read func(f *Find) ([]byte, error)) (joined []*Find, texts [][]byte) {
	j := &joiner{keys: map[string]bool{}, all: maxAllJoins}
	var heads []shred
	var names []*Find
	content, held := map[string]int{}, int64(0)
	for _, f := range finds {
		head := f.Kind == Backup && f.Damage != "" && f.How == BySector && len(heads) < maxHeads
		fragment := f.Kind == Fragment && len(j.fragments) < maxFragments
		if !head && !fragment || f.Length > maxJoined || held+f.Length > maxHeld {
			continue
		}
		held += f.Length
		text, err := read(f)
		if err != nil || head && (len(text)+len(f.Cut))%blockUnit != 0 {
			continue // it does not go on at the start of a block
		}
		s := shred{f.Offset, append(text, f.Cut...), len(text), len(content)}
		j.learn(text)
		if head {
			heads, names = append(heads, s), append(names, f)
		} else {
			if n, ok := content[f.SHA256+f.Cut]; ok {
				s.same = n
			} else {
				content[f.SHA256+f.Cut] = s.same
			}
			j.fragments = append(j.fragments, s)
		}
	}
	for i, h := range heads {
		if s := j.complete(h); s != nil {
			joined = append(joined, s.find(names[i]))
			texts = append(texts, s.text)
		}
	}
	return joined, texts
}

// learn takes down the keys of the whole lines of a text.
func (j *joiner) learn(text []byte) {
	for i, line := range bytes.Split(text, []byte{'\n'}) {
		key, _, ok := bytes.Cut(bytes.TrimLeft(line, "\t"), []byte(" = "))
		if ok && i > 0 && len(key) < maxName {
			j.keys[string(key)] = true
		}
	}
}

// complete finds the one way in which a start becomes a whole text; nil when there is none,
// or more than one.
func (j *joiner) complete(head shred) *strand {
	var s strand
	if n, ours := s.lines.check(head.text, 0); !ours || s.lines.depth < 1 {
		return nil
	} else {
		s.whole = n
	}
	s.text, s.pieces = head.text, []Piece{{head.at, int64(len(head.text))}}
	j.left, j.results = min(maxJoins, j.all), map[[sha256.Size]byte]*strand{}
	behind := slices.DeleteFunc(slices.Clone(j.fragments), func(f shred) bool { return f.at < head.at || (f.at-head.at)%blockUnit != 0 })
	tries := j.left
	j.extend(s, behind)
	j.all -= tries - j.left
	if j.left <= 0 || len(j.results) != 1 {
		return nil
	}
	for _, r := range j.results {
		return r
	}
	return nil
}

// extend tries the fragments that lie behind a strand, in order: filesystems do not write a
// file backwards.
func (j *joiner) extend(s strand, behind []shred) {
	tried := map[int]bool{}
	for i, f := range behind {
		if j.left--; j.left <= 0 || len(j.results) > 1 {
			return
		}
		if tried[f.same] || len(s.pieces) == maxPieces || len(s.text)+len(f.text) > maxJoined {
			continue
		}
		tried[f.same] = true
		j.left -= len(s.text) / (16 * blockUnit) // what it costs to put a long text together
		next, whole, ok := j.append(s, f)
		switch {
		case !ok:
		case !whole:
			j.extend(next, behind[i+1:])
		case isVG(next.text):
			j.results[sha256.Sum256(next.text)] = &next
		}
	}
}

// append puts a fragment behind a strand, if the lines fit. whole tells that the text ends
// in it.
func (j *joiner) append(s strand, f shred) (next strand, whole, ok bool) {
	first := bytes.IndexByte(f.text, '\n')
	if first < 0 {
		return next, false, false
	}
	next.lines = s.lines
	line, at := slices.Concat(s.text[s.whole:], f.text[:first]), first+1
	if !j.plausible(line) || !next.fits(line) {
		return next, false, false
	}
	for !(next.lines.depth <= 0) {
		end := bytes.IndexByte(f.text[at:], '\n')
		if end < 0 || at >= f.lines {
			break // it goes on elsewhere
		}
		if !next.fits(f.text[at : at+end]) {
			return next, false, false
		}
		at += end + 1
	}
	used := f.text
	if whole = next.lines.depth <= 0; whole {
		used = f.text[:at]
	} else if len(f.text)%blockUnit != 0 {
		return next, false, false // it ends in its block, but the text does not
	}
	next.text = slices.Concat(s.text, used)
	next.whole = len(s.text) + at
	next.pieces = append(slices.Clone(s.pieces), Piece{f.at, int64(len(used))})
	return next, whole, next.lines.depth >= 0 && once(next.text[:next.whole])
}

// fits takes the next line, if it is in its place there.
func (s *strand) fits(line []byte) bool {
	depth := s.lines.depth
	kind := s.lines.next(line)
	return kind != foreign && indented(line, kind, depth)
}

// once tells whether no section has two fields or sections of one name, and no UUID stands
// in the text twice: else it is no text of one VG at one time.
func once(text []byte) bool {
	sections := []map[string]bool{{}}
	ids := map[string]bool{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		key, value, field := bytes.Cut(line, []byte(" = "))
		name, opened := bytes.CutSuffix(line, []byte(" {"))
		here := sections[len(sections)-1]
		switch {
		case len(line) == 0 || line[0] == '#' || line[0] == '"':
		case line[0] == '}':
			if sections = sections[:len(sections)-1]; len(sections) == 0 {
				return false
			}
		case opened:
			if here[string(name)] {
				return false
			}
			here[string(name)] = true
			sections = append(sections, map[string]bool{})
		case field:
			if here[string(key)] || string(key) == "id" && ids[string(value)] {
				return false
			}
			here[string(key)] = true
			if string(key) == "id" {
				ids[string(value)] = true
			}
		}
	}
	return true
}

// indented tells whether a line begins with as many tabs as lvm2 writes in sections of that
// depth.
func indented(line []byte, kind lineKind, depth int) bool {
	if len(line) == 0 {
		return true
	}
	want := depth
	switch kind {
	case closes:
		want--
	case element:
		want++
	}
	tabs := len(line) - len(bytes.TrimLeft(line, "\t"))
	return tabs == want
}

// plausible looks at a line that goes over from one piece to the next.
func (j *joiner) plausible(line []byte) bool {
	line = bytes.TrimLeft(line, "\t")
	key, value, ok := bytes.Cut(line, []byte(" = "))
	if !ok || line[0] == '#' || line[0] == '"' {
		return true
	}
	if !j.keys[string(key)] {
		return false
	}
	if string(key) == "id" {
		_, err := metadata.ParseID(string(bytes.Trim(value, "\"")))
		return err == nil
	}
	return bytes.Count(value, []byte{'"'})%2 == 0
}

// isVG tells whether a text reads as a VG in which nothing contradicts anything.
func isVG(text []byte) bool {
	parsed, err := metadata.Parse(text)
	if err != nil {
		return false
	}
	vg, err := metadata.Decode(parsed)
	return err == nil && vg.ID != "" && len(metadata.Check(vg)) == 0
}

// find makes a find of a strand; head is that of its start.
func (s *strand) find(head *Find) *Find {
	sum := sha256.Sum256(s.text)
	f := &Find{Kind: Backup, Offset: head.Offset, Length: int64(len(s.text)), Pieces: s.pieces, How: ByJoin,
		Checksum: metadata.ChecksumAbsent.String(), SHA256: hex.EncodeToString(sum[:])}
	f.summarise(s.text)
	return f
}
