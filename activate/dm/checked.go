package dm

import (
	"errors"
	"fmt"

	"github.com/lvrescue/lvrescue/activate"
)

// integrity has the kernel check n bytes against their checksums, and replay the journal if
// there is one. Both write into fences.
func (c *compiler) integrity(t activate.Integrity, n int64) (Target, error) {
	switch {
	case t.Lost != "":
		return Target{}, errors.New(t.Lost)
	case t.Superblock != nil && t.Superblock.Interleave > 0:
		return Target{}, fmt.Errorf("its tags are among the data: %w", errUnproven)
	}
	data, err := c.input(t.Data, 0, n)
	if err != nil {
		return Target{}, err
	}
	if t.Superblock == nil {
		return c.linear(data.doubted(t.Doubt))
	}
	meta, err := c.volume(t.Meta, 0, t.Meta.Size)
	switch {
	case err != nil:
		return Target{}, err
	case t.Hash != "crc32c":
		return Target{}, fmt.Errorf("its checksums are by %q, which nothing here has proven", t.Hash)
	case meta.lost() > 0:
		return Target{}, fmt.Errorf("%d bytes of its checksums are lost, and the kernel needs all of them", meta.lost())
	}
	dataFence, err := c.fence(data)
	if err != nil {
		return Target{}, err
	}
	metaFence, err := c.fence(meta)
	if err != nil {
		return Target{}, err
	}
	sb := t.Superblock
	mode, options := "J", []Arg{word("internal_hash:" + t.Hash), word("recalculate"), word("block_size:" + fmt.Sprint(sb.BlockSize)), {Text: "meta_device:", On: metaFence}}
	if sb.DirtyBitmap {
		mode, options = "B", append(options, word("sectors_per_bit:"+fmt.Sprint(sectors(sb.BitSize))))
	}
	args := []Arg{{On: dataFence}, number(0), number(int64(sb.TagSize)), word(mode), number(int64(len(options)))}
	return Target{Len: sectors(n), Type: "integrity", Args: append(args, options...)}, nil
}

// errUnproven refuses what no test has held against a real kernel.
var errUnproven = errors.New("it is not proven in the kernel yet")

// vdo gives what cannot be read of a VDO pool.
func (c *compiler) vdo(t activate.VDO, n int64) (runs, error) {
	if t.Volume == nil {
		return lose(n), nil
	}
	return nil, errUnproven
}
