package block

import "testing"

func BenchmarkReadRange(b *testing.B) {
	const size = 1 << 20
	disk := &medium{data: noise(size)}
	marks, err := NewOverlay(disk, []Extent{{Off: 4096, Len: 512, State: Bad, Why: "gone"}})
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, size)
	for name, dev := range map[string]Device{"whole": disk, "marked": marks} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if err := ReadRange(dev, p, 0, func(Extent) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOverlaySmallReads reads sectors of a device with very many bad ranges.
func BenchmarkOverlaySmallReads(b *testing.B) {
	disk := &medium{data: noise(64 << 20)}
	var list []Extent
	for off := int64(0); off < disk.Size(); off += 1024 {
		list = append(list, Extent{Off: off, Len: SectorSize, State: Bad, Why: "gone"})
	}
	dev, err := NewOverlay(disk, list)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, SectorSize)
	off := int64(SectorSize)
	for b.Loop() {
		if _, err := dev.ReadAt(p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + 7919*1024) % disk.Size()
	}
}
