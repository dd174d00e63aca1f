package dm

import (
	"fmt"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata/vdo"
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

// vdo has the kernel read n bytes of a VDO pool, from off of the segment on. The kernel opens
// a pool for writing only, and replays its journal: into a fence.
func (c *compiler) vdo(t activate.VDO, off, n int64) (runs, error) {
	v := t.Volume
	if v == nil {
		return lose(n), nil
	}
	if t.Doubt != "" {
		return nil, fmt.Errorf("%s: the kernel would repair it before it reads", t.Doubt)
	}
	d := c.vdos[t.Data.Volume]
	if d == nil {
		var err error
		if d, err = c.vdoPool(t); err != nil {
			return nil, err
		}
		c.vdos[t.Data.Volume] = d
	}
	return runs{{n: n, on: d, off: t.Off + off, doubt: d.doubt}}, nil
}

// Parameters of a VDO device that are about memory alone: blocks of the block map that are
// cached, and how many block map changes may go by before one is written.
const (
	vdoCache = "32768"
	vdoEra   = "16380"
)

// vdoPool makes the virtual device of a VDO pool.
func (c *compiler) vdoPool(t activate.VDO) (*Device, error) {
	v := t.Volume
	size := v.Offset(v.PhysicalBlocks) // what the pool uses of its data LV
	if size > t.DataSize {
		return nil, fmt.Errorf("the VDO pool has %d bytes by its own super block, its data LV only %d", size, t.DataSize)
	}
	data, err := c.input(t.Data, 0, size)
	if err != nil {
		return nil, err
	}
	if lost := data.lost(); lost > 0 {
		return nil, fmt.Errorf("%d bytes of the VDO pool's data are lost, and the kernel needs all of them", lost)
	}
	fence, err := c.fence(data)
	if err != nil {
		return nil, err
	}
	return c.add("vdo", &Device{Size: v.Size(), Writable: true, Table: []Target{{
		Len: sectors(v.Size()), Type: "vdo",
		Args: []Arg{
			word("V4"), {On: fence}, number(int64(v.PhysicalBlocks)), number(vdo.BlockSize), word(vdoCache), word(vdoEra),
			word("deduplication"), word("off"), // which is for writing alone
		},
	}}}), nil
}
