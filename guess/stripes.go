package guess

import (
	"iter"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/dmraid"
	"github.com/lvrescue/lvrescue/scan"
)

// What stripes are tried: lvm2 takes 64 KiB unless told otherwise.
const (
	maxStripes = 8
	minChunk   = 4 << 10
	usualChunk = 64 << 10
	maxChunk   = 1 << 20
)

// striper works out how one filesystem is striped.
type striper struct {
	l       *Layout
	first   *scan.Sign
	begins  int64
	copies  []*scan.Sign
	sources []*scan.Source
	step    int64 // legs begin at multiples of it, counted from where others on the disk do
	left    int   // reads that may still be made for the stripes at hand
}

// maxReads bounds what is read to try stripes of one number and size.
const maxReads = 1 << 14

// read reads from a source; it is false when not all can be had, or too much was read already.
func (st *striper) read(source *scan.Source, at int64, b []byte) bool {
	if st.left--; st.left < 0 {
		return false
	}
	n, _ := source.Dev.ReadAt(b, at)
	return n == len(b)
}

// stripes finds the filesystems that lie in stripes over several disks: those of which not all
// stands where it would in one piece. How many stripes there are, of which size and where, is
// told by copies of the superblock and by blocks that know their place.
func (l *Layout) stripes(found []*scan.Sign) []*scan.Sign {
	var sources []*scan.Source
	for _, s := range found {
		if !slices.Contains(sources, s.Source) {
			sources = append(sources, s.Source)
		}
	}
	for _, v := range l.legs {
		for _, s := range v.spans() {
			if !slices.Contains(sources, s.source) {
				sources = append(sources, s.source)
			}
		}
	}
	var firsts []*scan.Sign
	for _, s := range found {
		begins, ok := s.Begins()
		if fills[s.Format] && ok && !s.Backup && begins >= 0 && s.Size > 0 && s.Size < 1<<60 && s.Checksum != metadata.ChecksumInvalid && len(firsts) < maxVolumes {
			firsts = append(firsts, s)
		}
	}
	firsts = slices.DeleteFunc(slices.Clone(firsts), func(s *scan.Sign) bool {
		return slices.ContainsFunc(firsts, func(o *scan.Sign) bool { // its journal has one, too
			return o.Source == s.Source && o.UUID == s.UUID && o.Format == s.Format && o.Offset < s.Offset && s.Offset-o.Offset < s.Size
		})
	})
	step := l.step(firsts)
	for _, s := range firsts {
		if len(sources) < 2 || l.holds(s) || len(l.legs) == maxVolumes {
			continue
		}
		begins, _ := s.Begins()
		st := &striper{l: l, first: s, begins: begins, sources: sources, step: step}
		for _, c := range found {
			if c.Backup && c.UUID == s.UUID && c.Format == s.Format && c.Size == s.Size && c.Start > 0 && c.Start < s.Size && len(st.copies) < maxCopies {
				st.copies = append(st.copies, c)
			}
		}
		if v := st.solve(); v != nil && !l.occupied(v) {
			l.legs = append(l.legs, v)
		}
	}
	return l.outside(found)
}

// step is what the distances of what was found on a disk are multiples of.
func (l *Layout) step(firsts []*scan.Sign) int64 {
	if len(l.legs) > 0 {
		return l.ExtentSize
	}
	step := int64(1 << 20)
	first := map[*scan.Source]int64{}
	for _, s := range firsts {
		begins, _ := s.Begins()
		if _, known := first[s.Source]; !known {
			first[s.Source] = begins
		}
		for step > minExtent && (begins-first[s.Source])%step != 0 {
			step /= 2
		}
	}
	return step
}

// solve finds the stripes; nil when the filesystem lies in one piece, as far as can be told, or
// nothing fits better.
func (st *striper) solve() *Volume {
	plain := st.try(1, max(st.first.Size, maxChunk))
	if plain == nil || plain.against == 0 {
		return nil
	}
	var best *Volume
	tied := false
	for n := 2; n <= min(maxStripes, len(st.sources)); n++ {
		for chunk := int64(minChunk); chunk <= maxChunk; chunk *= 2 {
			v := st.try(n, chunk)
			switch {
			case v == nil || v.score() <= max(plain.score(), 0):
			case best == nil || v.score() > best.score():
				best, tied = v, false
			case v.score() == best.score():
				if tied = true; chunk == usualChunk && n == len(best.Striping.Legs) {
					best = v
				}
			}
		}
	}
	if best == nil {
		return nil
	}
	best.note("%d of %d blocks that tell where they stand do so in these stripes, %d in one piece", best.proven, best.proven+best.against, plain.proven)
	best.Sure = Sure
	switch {
	case tied:
		best.note("other stripes would do as well")
		best.Sure = Weak
	case slices.ContainsFunc(best.Striping.Legs, func(l Leg) bool { return l.proofs < enough }):
		best.note("a stripe has hardly anything that tells of its place")
		best.Sure = Weak
	case best.proven < 8 || best.against > 0: // as after a power cut
		best.Sure = Likely
	}
	return best
}

// try supposes n stripes of a size, and counts what speaks for them and against them. It is nil
// when some stripe is nowhere.
func (st *striper) try(n int, chunk int64) *Volume {
	l, size := st.l, st.first.Size
	st.left = min(maxReads, l.left)
	defer func() { l.left -= min(maxReads, l.left) - max(st.left, 0) }()
	layout := dmraid.Layout{Devices: n, Chunk: chunk}
	es := l.ExtentSize
	v := &Volume{Sign: st.first, Size: size, claimed: true, Striping: &Striping{Type: "striped", Chunk: chunk, layout: layout}}
	legSize := (layout.LegSize(size) + es - 1) / es * es
	v.Striping.Legs = make([]Leg, n)
	for i := range v.Striping.Legs {
		v.Striping.Legs[i] = Leg{Len: legSize, Meta: -1}
	}
	v.Striping.Legs[0].Source, v.Striping.Legs[0].At, v.Striping.Legs[0].proofs = st.first.Source, st.begins, enough
	for _, c := range st.copies {
		i, at := v.Striping.place(c.Start)
		leg := &v.Striping.Legs[i]
		switch {
		case leg.Source == nil && c.Offset >= at && !v.Striping.on(c.Source):
			leg.Source, leg.At, leg.proofs = c.Source, c.Offset-at, enough
			v.proven++
		case leg.Source == c.Source && leg.At == c.Offset-at:
			v.proven++
		default:
			v.against++
		}
	}
	head := make([]byte, min(chunk, 64<<10))
	got, _ := st.first.Source.Dev.ReadAt(head, st.begins) // shorter at the end of the source
	all := proofs(st.first, head[:got])
	for i := range v.Striping.Legs {
		leg := &v.Striping.Legs[i]
		var mine []proof
		for _, p := range all {
			if p.off < 0 || p.off > size-p.size || p.off%chunk+p.size > chunk {
				continue
			}
			if on, at := v.Striping.place(p.off); on == i {
				mine = append(mine, proof{at, p.size, p.fit})
			}
		}
		if leg.Source == nil && !st.seek(v, i, mine) {
			continue
		}
		for _, p := range mine {
			switch st.hold(leg.Source, leg.At, p) {
			case fits:
				v.proven++
				leg.proofs++
			case differs:
				v.against++
			}
		}
	}
	if j := extJournal(head[:got]); st.first.Format == "ext4" && j != nil {
		proven, against := st.follow(v, j)
		v.proven, v.against = v.proven+proven, v.against+against
	}
	for _, leg := range v.Striping.Legs {
		switch {
		case leg.Source == nil || st.left < 0:
			return nil
		case leg.At+layout.LegSize(size) > leg.Source.Dev.Size():
			v.against++
		}
	}
	return v
}

// follow walks along the journal, and looks for the legs that are still to be found where the
// walk comes to them: where it then gets farthest.
func (st *striper) follow(v *Volume, j *journal) (proven, against int) {
	for {
		stuck := -1
		read := func(off int64, b []byte) bool {
			for n := 0; n < len(b); {
				i, at := v.Striping.place(off + int64(n))
				leg := v.Striping.Legs[i]
				if leg.Source == nil {
					stuck = i
					return false
				}
				m := min(len(b)-n, int(v.Striping.Chunk-at%v.Striping.Chunk))
				if !st.read(leg.Source, leg.At+at, b[n:n+m]) {
					return false
				}
				n += m
			}
			return true
		}
		proven, against = j.walk(read)
		if stuck < 0 {
			return proven, against
		}
		i := stuck
		leg, found, most := &v.Striping.Legs[i], Leg{}, proven
		for at := range st.places(v, leg.Len) {
			leg.Source, leg.At = at.source, at.at
			if got, bad := j.walk(read); bad == 0 && got > most {
				most, found = got, *leg
				found.proofs = enough
			}
			leg.Source = nil
		}
		if found.Source == nil {
			return proven, against
		}
		*leg = found
	}
}

// places yields where a leg may be: on the disks that have none yet, wherever an extent may
// begin; those first that are no farther from where the first leg begins on its disk.
func (st *striper) places(v *Volume, size int64) iter.Seq[span] {
	var free []*scan.Source
	far := int64(0)
	for _, s := range st.sources {
		if !v.Striping.on(s) {
			free = append(free, s)
			far = max(far, st.begins+st.step, s.Dev.Size())
		}
	}
	return func(yield func(span) bool) {
		for away := int64(0); away <= far && st.left > 0; away += st.step {
			for _, s := range free {
				near := st.begins/st.step*st.step + st.offset(s)
				for _, at := range [...]int64{near - away, near + away} {
					if at >= 0 && at <= s.Dev.Size()-size && !yield(span{s, at, at + size}) {
						return
					}
				}
			}
		}
	}
}

// on tells whether a source has a leg already: lvm2 puts each on another disk.
func (s *Striping) on(source *scan.Source) bool {
	return slices.ContainsFunc(s.Legs, func(l Leg) bool { return l.Source == source })
}

// hold reads the block of a proof.
func (st *striper) hold(source *scan.Source, begins int64, p proof) fitting {
	b := make([]byte, p.size)
	if !st.read(source, begins+p.off, b) {
		return tellsNothing
	}
	return p.fit(b)
}

// seek looks for a leg on the disks that have none yet, wherever an extent may begin, by the
// blocks that must stand on it. Of several places the one of which the most speaks is taken.
func (st *striper) seek(v *Volume, i int, mine []proof) bool {
	if len(mine) == 0 {
		return false
	}
	leg, found, most := &v.Striping.Legs[i], Leg{}, 0
	for at := range st.places(v, leg.Len) {
		n := 0
		for _, p := range mine {
			fit := st.hold(at.source, at.at, p)
			if fit == differs {
				n = 0
				break
			}
			if fit == fits {
				n++
			}
		}
		if n > most {
			most, found = n, Leg{Source: at.source, At: at.at}
		}
	}
	leg.Source, leg.At = found.Source, found.At
	return most > 0
}

// offset is where extents of a disk may begin, below a step.
func (st *striper) offset(source *scan.Source) int64 {
	at := st.begins // on disks that were made alike
	if i := slices.IndexFunc(st.l.legs, func(v *Volume) bool { return v.Striping.on(source) }); i >= 0 {
		for _, s := range st.l.legs[i].spans() {
			if s.source == source {
				at = s.at
			}
		}
	}
	return at % st.step
}
