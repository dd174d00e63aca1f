package vdo

import (
	"fmt"
	"iter"
)

// interior is the number of levels of the block map above the leaf pages.
const interior = 4

// RunState says what the block map tells of a run of logical blocks.
type RunState uint8

const (
	Hole   RunState = iota // zeros: never written, discarded, or known to hold nothing else
	Mapped                 // they lie in the volume, one after the other
	Packed                 // one block, a fragment of a compressed block
	Unsure                 // zeros for the kernel, which may come from damage
	Lost                   // the block map for them is damaged
)

// Run is a run of logical blocks, First to Last, of one state.
type Run struct {
	First, Last uint64
	State       RunState
	PBN         uint64 // of a mapped run: where First lies; of a packed one: the compressed block
	Slot        int    // of a packed run: the fragment in it
	Why         string // of an unsure or lost run
}

// then joins a run to the next one, if both are one.
func (r *Run) then(next Run) bool {
	if r.State != next.State || r.Why != next.Why || r.Last+1 != next.First || r.State == Packed {
		return false
	}
	if r.State == Mapped && next.PBN != r.PBN+(next.First-r.First) {
		return false
	}
	r.Last = next.Last
	return true
}

// Runs gives the logical blocks from first to last in runs: ordered, without gaps. Behind
// LogicalBlocks nothing is mapped.
func (v *Volume) Runs(first, last uint64) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		var held Run
		any := false
		for r := range v.pieces(first, last) {
			if any && held.then(r) {
				continue
			}
			if any && !yield(held) {
				return
			}
			held, any = r, true
		}
		if any {
			yield(held)
		}
	}
}

// pieces is Runs before runs are joined.
func (v *Volume) pieces(first, last uint64) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for at := first; at <= last; {
			number := at / entriesPerPage
			if number%v.Roots == 0 {
				if rows := v.emptyRows(number / v.Roots); rows > 0 {
					end := min(last, (number+rows*v.Roots)*entriesPerPage-1)
					if !yield(Run{First: at, Last: end}) {
						return
					}
					at = end + 1
					continue
				}
			}
			end := min(last, number*entriesPerPage+entriesPerPage-1)
			leaf, stop, _ := v.leaf(number)
			if leaf == nil {
				stop.First, stop.Last = at, end
				if !yield(stop) {
					return
				}
				at = end + 1
				continue
			}
			for ; at <= end; at++ {
				if !yield(v.entry(leaf, at)) {
					return
				}
			}
		}
	}
}

// entry is the run of one logical block, by its leaf page.
func (v *Volume) entry(leaf *page, logical uint64) Run {
	slot := int(logical % entriesPerPage)
	r := Run{First: logical, Last: logical}
	if r.State, r.Why = v.trust(leaf, slot); r.State != Mapped {
		return r
	}
	l := leaf.slot(slot)
	switch n, packed := l.Fragment(); {
	case !v.valid(l):
		r.State, r.Why = Lost, invalid(leaf)
	case l.Zero():
		r.State = Hole
	case packed:
		r.State, r.PBN, r.Slot = Packed, l.PBN, n
	default:
		r.PBN = l.PBN
	}
	return r
}

func invalid(p *page) string {
	return fmt.Sprintf("an entry of the block map's page %d points to where no data is", p.pbn)
}

// trust tells whether a slot of a page can be used: Mapped if so.
func (v *Volume) trust(p *page, slot int) (RunState, string) {
	switch {
	case p.quality == sound || v.changed(p.pbn, slot):
		return Mapped, ""
	case p.quality == unsure:
		return Unsure, p.why
	}
	return Lost, p.why
}

// leaf finds a leaf page by its number. If there is none, it gives the state of the range and
// on which level the search ended: 1 is directly above the leaves.
func (v *Volume) leaf(number uint64) (leaf *page, stop Run, level int) {
	p, i := v.root(number%v.Roots), number/v.Roots
	var slots [interior]int
	for h := range slots {
		slots[h] = int(i % entriesPerPage)
		i /= entriesPerPage
	}
	for level := interior; level > 0; level-- {
		slot := slots[level-1]
		next, stop := v.child(p, slot)
		if next == 0 {
			return nil, stop, level
		}
		p = v.page(next, p, slot)
	}
	return p, Run{}, 0
}

// child is the page that a slot of an interior page names; 0 if there is none, or none that
// can be used.
func (v *Volume) child(p *page, slot int) (pbn uint64, stop Run) {
	state, why := v.trust(p, slot)
	if state != Mapped {
		return 0, Run{State: state, Why: why}
	}
	switch l := p.slot(slot); {
	case l.PBN == 0 && l.State == unmapped:
		return 0, Run{State: Hole}
	case l.State != plain || !v.IsData(l.PBN):
		return 0, Run{State: Lost, Why: invalid(p)}
	default:
		return l.PBN, Run{}
	}
}

// emptyRows counts for how many rows of leaf pages from row i on no tree has any: a row is
// one page of each root. It saves walking through what a large volume never used.
func (v *Volume) emptyRows(i uint64) uint64 {
	lowest := interior
	for root := range v.Roots {
		leaf, stop, level := v.leaf(i*v.Roots + root)
		if leaf != nil || stop.State != Hole {
			return 0
		}
		lowest = min(lowest, level)
	}
	span := uint64(1) // rows that an entry of the lowest level stands for
	for range lowest - 1 {
		span *= entriesPerPage
	}
	return span - i%span
}

// Check holds the block map against the number of its pages that the volume knows of. What
// it finds wrong says that ranges may read as zeros which are not. It reads all pages but
// the leaves. doubt, if it is not nil, says what is wrong with n bytes at off of the device below,
// and is asked of whatever tells where the volume's blocks are.
func (v *Volume) Check(doubt func(off, n int64) string) string {
	c := census{v: v, seen: map[uint64]bool{}, doubt: doubt}
	c.ask("its geometry block", 0, BlockSize)
	c.ask("its super block", v.Offset(v.DataStart), SuperBlockSize)
	c.ask("its recovery journal", v.Offset(v.SuperBlock.Journal.Start), int64(v.SuperBlock.Journal.Count)*BlockSize)
	for n := range v.Roots {
		if c.wrong == "" {
			c.walk(v.root(n), interior)
		}
	}
	if c.wrong == "" && c.pages < v.Journal.Pages {
		c.wrong = fmt.Sprintf("the block map has %d pages, the volume says %d: ranges that read as zeros may be lost", c.pages, v.Journal.Pages)
	}
	return c.wrong
}

// census counts the pages of a block map.
type census struct {
	v     *Volume
	seen  map[uint64]bool // interior pages
	pages uint64
	wrong string // ends the counting
	doubt func(off, n int64) string
}

// ask asks for the doubt of something.
func (c *census) ask(what string, off, n int64) {
	if c.doubt == nil || c.wrong != "" {
		return
	}
	if why := c.doubt(off, n); why != "" {
		c.wrong = fmt.Sprintf("%s is doubtful: %s", what, why)
	}
}

// askPage asks for the doubt of a page.
func (c *census) askPage(pbn uint64) { c.ask("its block map", c.v.Offset(pbn), BlockSize) }

// walk counts the pages below an interior page.
func (c *census) walk(p *page, level int) {
	if c.seen[p.pbn] {
		c.wrong = fmt.Sprintf("the block map uses page %d twice", p.pbn)
		return
	}
	c.seen[p.pbn] = true
	c.askPage(p.pbn)
	for slot := range entriesPerPage {
		pbn, _ := c.v.child(p, slot)
		if pbn == 0 {
			continue
		}
		if c.pages++; c.pages > c.v.Journal.Pages {
			c.wrong = fmt.Sprintf("the block map has more pages than the %d that the volume says", c.v.Journal.Pages)
		} else if level > 1 {
			c.walk(c.v.page(pbn, p, slot), level-1)
		} else {
			c.askPage(pbn)
		}
		if c.wrong != "" {
			return
		}
	}
}
