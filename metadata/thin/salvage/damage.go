package salvage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lvrescue/lvrescue/metadata/btree"
)

// Damaged is a block that is wrong, and what that means.
type Damaged struct {
	Block uint64
	Text  string
}

// Damage lists the blocks that the commit uses and that cannot be used, by their numbers:
// those that trees miss, those of the space map of the data, and those that only the space
// map of the metadata knows of.
func (p *Pool) Damage() []Damaged {
	var all []Damaged
	listed := map[uint64]bool{}
	for _, f := range []*forest{p.top, p.maps} {
		for _, pl := range f.order {
			if pl.block >= uint64(len(p.survey.nodes)) && pl.why != nil || listed[pl.block] {
				continue
			}
			listed[pl.block] = true
			all = append(all, Damaged{pl.block, p.what(pl.block) + p.meaning(f, pl)})
		}
	}
	for _, d := range p.DataMap().Damaged {
		if !listed[d.Block] {
			listed[d.Block] = true
			all = append(all, d)
		}
	}
	for b, ok := range p.survey.known {
		if n := uint64(b); !ok && b != 0 && !listed[n] && p.usage.of(n) == useUsed {
			all = append(all, Damaged{n, p.what(n) + ": the space map says that it is in use, no node that is left points at it"})
		}
	}
	slices.SortFunc(all, func(a, b Damaged) int {
		if a.Block < b.Block {
			return -1
		}
		return 1
	})
	return all
}

// what says what is wrong with a block.
func (p *Pool) what(block uint64) string {
	if _, err := p.survey.r.Node(block); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("metadata block %d (byte %d): a valid node, but of other keys or of another tree than its parent says", block, block*btree.BlockSize)
}

// meaning says what a lost node costs.
func (p *Pool) meaning(f *forest, pl *place) string {
	if f == p.top {
		return ": a node of the tree of devices"
	}
	kind := "a node"
	switch {
	case pl.height == 0:
		kind = "a leaf"
	case pl.height > 0:
		kind = fmt.Sprintf("an inner node %d above the leaves", pl.height)
	}
	found := uint64(0)
	budget := maxOwned
	for _, part := range pl.parts {
		if !part.Empty {
			found += f.total(part.Block, &budget)
		}
	}
	end := fmt.Sprintf("to block %d", pl.hi)
	if pl.hi == ^uint64(0) {
		end = "on"
	}
	return fmt.Sprintf(": %s of %s, from block %d %s; %d mappings below it were found again", kind, pl.trees(), pl.lo, end, found)
}

// trees names the trees that have the place.
func (pl *place) trees() string {
	const most = 8
	var ids []string
	snap := ""
	for _, id := range pl.owners {
		if id >= held {
			snap = " and of the metadata snapshot"
		} else {
			ids = append(ids, strconv.FormatUint(uint64(id), 10))
		}
	}
	switch {
	case len(ids) == 0:
		return "the trees of the metadata snapshot"
	case len(ids) == 1:
		return "the tree of thin device " + ids[0] + snap
	case len(ids) > most:
		ids = append(ids[:most], fmt.Sprintf("%d more", len(ids)-most))
	}
	return "the trees of thin devices " + strings.Join(ids, ", ") + snap
}
