package vdo

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	pageHeader     = 36 // bytes
	entriesPerPage = (BlockSize - pageHeader) / entrySize

	pageMajor, pageMinor = 4, 1

	offPageNonce   = 8
	offPagePBN     = 16
	offInitialized = 32
)

// quality says what the entries of a page are worth that the journal did not set.
type quality uint8

const (
	sound   quality = iota // as the kernel wrote them, or known to be empty
	unsure                 // empty for the kernel, but that may come from damage
	useless                // lost
)

// page is a page of the block map with the changes of the journal.
type page struct {
	pbn     uint64
	entries [entriesPerPage * entrySize]byte
	quality quality
	why     string // of a page that is not sound
}

// slot gives an entry.
func (p *page) slot(i int) Location { return parseLocation(p.entries[i*entrySize:]) }

// parse takes the page that was read from pbn. A root has its fixed place, which was zeroed
// when the volume was made.
func (p *page) parse(b []byte, sb *SuperBlock, root bool) {
	le := binary.LittleEndian
	pbn := le.Uint64(b[offPagePBN:])
	ours := le.Uint32(b) == pageMajor && le.Uint32(b[4:]) == pageMinor && le.Uint64(b[offPageNonce:]) == sb.Nonce
	switch {
	case ours && b[offInitialized] != 0 && pbn == p.pbn:
		copy(p.entries[:], b[pageHeader:])
	case ours && pbn == p.pbn && !sb.State.closed():
		// written once and not yet again: the journal has all of it
	case ours && pbn != p.pbn:
		p.lose(fmt.Sprintf("where the block map's page %d ought to be is page %d", p.pbn, pbn))
	case root && bytes.Count(b, []byte{0}) == len(b): // never used
	case bytes.Count(b, []byte{0}) == len(b) || ours:
		p.quality = unsure
		p.why = "the page of the block map for this range was never written, or it was wiped: the kernel reads zeros"
	default:
		p.lose(fmt.Sprintf("the block map's page %d is not one of this volume", p.pbn))
	}
}

func (p *page) lose(why string) { p.quality, p.why = useless, why }

// apply sets what the journal has changed.
func (p *page) apply(changes []change) {
	for _, c := range changes {
		c.loc().put(p.entries[c.slot()*entrySize:])
	}
}
