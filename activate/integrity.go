package activate

import (
	"fmt"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/metadata/integrity"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Integrity has a checksum for each block of its data, which tells a RAID leg that lies, and
// perhaps a journal whose blocks supersede those of the data. Data lies where it would lie
// without. Source: lib/integrity/integrity.c, drivers/md/dm-integrity.c.
type Integrity struct {
	Data       Input                 // where tags are among it all of the LV that holds both
	Meta       *Volume               // nil: the text has lost it
	Superblock *integrity.Superblock // nil: nothing can be checked
	Journal    []integrity.Entry     // by Off
	Hash       string                // the kernel's name for the checksums
	Doubt      string                // why all of it is doubtful; "" when it is not
	Lost       string                // why nothing of it can be read; "" when something can
}

// Inputs implements [Target].
func (t Integrity) Inputs() []Input {
	if t.Meta == nil {
		return []Input{t.Data}
	}
	return []Input{t.Data, {Volume: t.Meta}}
}

func (t Integrity) String() string {
	switch {
	case t.Lost != "":
		return "integrity that cannot be read: " + t.Lost
	case t.Superblock == nil:
		return "integrity, not checked"
	}
	return fmt.Sprintf("integrity, blocks of %d bytes, %d in the journal", t.Superblock.BlockSize, len(t.Journal))
}

// integrity plans an integrity segment of n bytes.
func (p *planner) integrity(lv *metadata.LV, s *metadata.Segment, n int64, above []string) (Target, error) {
	m, err := s.Integrity()
	if err != nil {
		return nil, err
	}
	t := Integrity{Data: p.leg(metadata.Area{Name: m.Origin}, n, above)}
	among := m.Metadata == ""
	if among {
		m.Metadata = m.Origin
	}
	err = p.integrityMeta(&t, m, n, above)
	switch {
	case err == nil && among == (t.Superblock.Interleave > 0):
		return t, nil
	case err == nil:
		return nil, fmt.Errorf("%s: whether its tags are among the data, text and superblock do not agree", lv.Name)
	case among:
		t.Lost = fmt.Sprintf("the tags of %s are among its data, so that without the superblock nothing can be found: %v", lv.Name, err)
		return t, nil
	}
	if m.Mode == "J" {
		t.Doubt = fmt.Sprintf("what stood in the journal of %s and not in its place yet is not known: %v", lv.Name, err)
	}
	p.note(lv, false, "its checksums cannot be used: %v", err)
	return t, nil
}

// integrityMeta reads superblock and journal.
func (p *planner) integrityMeta(t *Integrity, m metadata.Integrity, n int64, above []string) error {
	meta, err := p.named(m.Metadata, above)
	if err != nil {
		return err
	}
	t.Meta = meta
	dev := p.open(meta)
	b := make([]byte, block.SectorSize)
	if k, err := dev.ReadAt(b, 0); k < len(b) {
		return fmt.Errorf("the superblock on %s cannot be read: %s", m.Metadata, block.Why(err))
	}
	sb, err := integrity.ParseSuperblock(b)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", m.Metadata, err)
	case sb.MetadataSize() > meta.Size:
		return fmt.Errorf("%s: the metadata of %d bytes of data takes %d bytes, but it has %d", m.Metadata, sb.DataSize, sb.MetadataSize(), meta.Size)
	case n%sb.BlockSize != 0:
		return fmt.Errorf("%s: %d bytes are no whole number of blocks of %d", m.Metadata, n, sb.BlockSize)
	}
	if m.Mode == "J" && !sb.DirtyBitmap {
		if t.Journal, err = sb.ReadJournal(dev); err != nil {
			return fmt.Errorf("%s: %w", m.Metadata, err)
		}
		if doubt := p.doubts(Input{Volume: meta}, meta.Size); doubt != "" && sb.Interleave == 0 {
			t.Doubt = fmt.Sprintf("what stood in the journal of %s and not in its place yet is doubtful: %s", m.Metadata, doubt)
		}
	}
	if m.InternalHash != "crc32c" {
		p.note(t.Meta.LV, false, "checksums by %s are not checked", m.InternalHash)
		sb.Tagged = 0
	}
	t.Superblock, t.Hash = &sb, m.InternalHash
	return nil
}
