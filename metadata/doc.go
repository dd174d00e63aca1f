// Package metadata knows LVM2's own on-disk format: labels, metadata areas, the ring of
// texts in them, and the texts. It is pure: bytes in, values out.
//
// Whatever can be told of damaged bytes is told: a record with a wrong checksum or an
// impossible field is still read, and carries a list of Problems.
//
// # Layout of a PV
//
// All numbers are little-endian; offsets are bytes from the start of the PV unless said
// otherwise (lib/label/label.h, lib/format_text/layout.h).
//
//	0          sectors 0-3, one of which, usually 1, holds the label
//	4096       metadata area 1: mda header and ring, usually up to 1 MiB
//	           bootloader area, if any
//	pe_start   data: PE 0, PE 1, ...
//	the end    metadata area 2, if any
//
// Label, one sector:
//
//	label_header  0 "LABELONE" | 8 sector u64 | 16 crc u32 of 20-511 | 20 offset of pv_header u32 | 24 "LVM2 001"
//	pv_header     0 uuid [32] | 32 device size u64 | 40 data areas, metadata areas
//	extension     0 version u32 | 4 flags u32 | 8 bootloader areas
//	area list     {offset u64, size u64} ..., ended by offset 0
//
// Metadata area, header of 512 bytes and ring:
//
//	mda_header    0 crc u32 of 4-511 | 4 magic [16] | 20 version u32 | 24 start u64 | 32 size u64 | 40 two raw_locns
//	raw_locn      0 offset u64, from the start of the area | 8 size u64, with NUL | 16 crc u32 | 20 flags u32
//	ring          512 up to size: texts on 512-byte boundaries, each ended by NUL and padded
//	              with NULs; one that meets the end goes on at 512
package metadata
