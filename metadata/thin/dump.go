package thin

import (
	"bufio"
	"io"
	"strconv"
)

// Dump writes a pool's mappings as XML, as thin_dump does and thin_restore reads
// (thin-provisioning/xml_format.cc of thin-provisioning-tools). Nothing but numbers comes
// from the disk.
type Dump struct {
	w   *bufio.Writer
	buf []byte
}

// NewDump begins a dump with the pool's superblock. Its Time and TransactionID, ChunkSize
// and DataBlocks are what is written of it.
func NewDump(w io.Writer, sb Superblock) *Dump {
	d := &Dump{w: bufio.NewWriterSize(w, 1<<16)}
	d.put(`<superblock uuid="" time="`, uint64(sb.Time), `" transaction="`, sb.TransactionID,
		`" flags="0" version="2" data_block_size="`, uint64(sb.ChunkSize/sectorSize), `" nr_data_blocks="`, sb.DataBlocks, "\">\n")
	return d
}

// Device begins a device.
func (d *Dump) Device(id uint32, known Details) {
	d.put(`  <device dev_id="`, uint64(id), `" mapped_blocks="`, known.Mapped, `" transaction="`, known.TransactionID,
		`" creation_time="`, uint64(known.Created), `" snap_time="`, uint64(known.Snapped), "\">\n")
}

// Run writes a mapped run of the device.
func (d *Dump) Run(r Run) {
	b := d.w.AvailableBuffer()
	if r.First == r.Last {
		b = append(b, `    <single_mapping origin_block="`...)
		b = strconv.AppendUint(b, r.First, 10)
		b = append(b, `" data_block="`...)
		b = strconv.AppendUint(b, r.Data, 10)
	} else {
		b = append(b, `    <range_mapping origin_begin="`...)
		b = strconv.AppendUint(b, r.First, 10)
		b = append(b, `" data_begin="`...)
		b = strconv.AppendUint(b, r.Data, 10)
		b = append(b, `" length="`...)
		b = strconv.AppendUint(b, r.Last-r.First+1, 10)
	}
	b = append(b, `" time="`...)
	b = strconv.AppendUint(b, uint64(r.Time), 10)
	b = append(b, "\"/>\n"...)
	_, _ = d.w.Write(b) // Close has the error
}

// EndDevice ends a device.
func (d *Dump) EndDevice() { d.put("  </device>\n") }

// Close ends the dump. It returns the first error of all that was written.
func (d *Dump) Close() error {
	d.put("</superblock>\n")
	return d.w.Flush()
}

// put writes strings and numbers.
func (d *Dump) put(parts ...any) {
	d.buf = d.buf[:0]
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			d.buf = append(d.buf, p...)
		case uint64:
			d.buf = strconv.AppendUint(d.buf, p, 10)
		}
	}
	_, _ = d.w.Write(d.buf) // Close has the error
}
