package dm

import (
	"errors"
	"fmt"

	"github.com/lvrescue/lvrescue/activate"
)

// integrity has the kernel check n bytes against their checksums, and replay the journal if
// there is one. Both write into fences.
func (c *compiler) integrity(t activate.Integrity, n int64) (Target, error) {
	sb := t.Superblock
	among := sb != nil && sb.Interleave > 0 // one volume holds both
	size := n
	if among {
		size = t.Meta.Size
	}
	data, err := c.input(t.Data, 0, size)
	switch {
	case err != nil:
		return Target{}, err
	case t.Lost != "":
		return c.linear(lose(n))
	case sb == nil:
		return c.linear(data.doubted(t.Doubt))
	case t.Hash != "crc32c":
		return Target{}, fmt.Errorf("its checksums are by %q, which nothing here has proven in the kernel", t.Hash)
	}
	fence, err := c.fence(data)
	if err != nil {
		return Target{}, err
	}
	mode, options := "J", []Arg{word("internal_hash:" + t.Hash), word("recalculate"), word("block_size:" + fmt.Sprint(sb.BlockSize))}
	if sb.DirtyBitmap {
		mode, options = "B", append(options, word("sectors_per_bit:"+fmt.Sprint(sectors(sb.BitSize))))
	}
	if !among {
		meta, err := c.metaFence(t.Meta)
		if err != nil {
			return Target{}, err
		}
		options = append(options, Arg{Text: "meta_device:", On: meta})
	} else if data.lost() > 0 {
		return Target{}, fmt.Errorf("%d bytes of its data and checksums are lost, and the kernel needs all of them", data.lost())
	}
	args := []Arg{{On: fence}, number(0), number(int64(sb.TagSize)), word(mode), number(int64(len(options)))}
	return Target{Len: sectors(n), Type: "integrity", Args: append(args, options...)}, nil
}

// metaFence makes a fence over the checksums of a leg.
func (c *compiler) metaFence(v *activate.Volume) (*Device, error) {
	meta, err := c.volume(v, 0, v.Size)
	if err != nil {
		return nil, err
	}
	if meta.lost() > 0 {
		return nil, fmt.Errorf("%d bytes of its checksums are lost, and the kernel needs all of them", meta.lost())
	}
	return c.fence(meta)
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
