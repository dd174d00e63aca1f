package dmraid

// Spread is a layout of raid10 in general: copies of a chunk on devices beside each other
// (near), in another part of other devices (far), or in the next row of chunks (offset).
// LVM makes near copies only, of an even number of devices; those need none of this.
type Spread struct {
	l        Layout
	near     int   // copies side by side
	far      int   // times that these are there
	offset   bool  // the far copies follow row by row
	farSet   int   // devices among which far copies move
	stride   int64 // bytes from a far copy to the next
	chunks   int64 // of the array
	legBytes int64
}

// Place is where a copy of a chunk stands.
type Place struct {
	Device int
	Off    int64 // bytes, on the device
}

// Spread gives the layout of an array of size bytes (drivers/md/raid10.c, setup_geo and
// calc_sectors; dm-raid has size·copies/devices bytes of each device in use).
func (l Layout) Spread(size int64) Spread {
	s := Spread{l: l, near: l.Algorithm & raid10NearCopies, far: l.far()}
	s.offset = l.Algorithm&raid10Offset != 0
	s.farSet = l.Devices
	switch l.Algorithm >> raid10SetShift {
	case 1:
		s.farSet = l.Devices / s.far
	case 2:
		s.farSet = s.far * s.near
	}
	n := int64(l.Devices)
	perLeg := ceil(ceil(size, l.Chunk)*int64(l.Copies()), n) // chunks, rounded up for the last of them
	if s.far > 1 {
		perLeg = size / 512 * int64(l.Copies()) / n / (l.Chunk / 512)
	}
	s.chunks = perLeg / int64(s.far) * n / int64(s.near)
	used := ceil(s.chunks*int64(l.Copies()), n)
	s.stride = l.Chunk
	if !s.offset {
		s.stride = used / int64(s.far) * l.Chunk
	}
	s.legBytes = max(used, perLeg) * l.Chunk
	return s
}

// Chunks is how many chunks of the array have a place.
func (s Spread) Chunks() int64 { return s.chunks }

// Rows gives the rows of chunks of each device, [lo, hi), in which the first copies of the
// array's chunks [first, last] stand; Inside the chunks all of whose first near copies
// stand in such rows. One is the other's inverse but for chunks at both ends.
func (s Spread) Rows(first, last int64) (lo, hi int64) {
	n, near := int64(s.l.Devices), int64(s.near)
	return first * near / n * s.step(), ((last*near+near-1)/n + 1) * s.step()
}

// Inside is told of under Rows. It gives chunks [first, end).
func (s Spread) Inside(lo, hi int64) (first, end int64) {
	n, near := int64(s.l.Devices), int64(s.near)
	return ceil(ceil(lo, s.step())*n, near), hi / s.step() * n / near
}

// step is how many rows of a device go to one row of first copies.
func (s Spread) step() int64 {
	if s.offset {
		return int64(s.far)
	}
	return 1
}

// Shifts tells how many bytes behind its first copy's row the rows of a chunk's far copies
// stand, the first copy included.
func (s Spread) Shifts() []int64 {
	shifts := make([]int64, s.far)
	for i := range shifts {
		shifts[i] = int64(i) * s.stride
	}
	return shifts
}

// Places gives where the copies of the array's chunk number c stand, the first copy first.
func (s Spread) Places(c int64) []Place {
	n := int64(s.l.Devices)
	at := c * int64(s.near)
	row, dev := at/n, int(at%n)
	if s.offset {
		row *= int64(s.far)
	}
	places := make([]Place, 0, s.l.Copies())
	for range s.near {
		p := Place{dev, row * s.l.Chunk}
		places = append(places, p)
		for range s.far - 1 {
			p.Device, p.Off = s.next(p.Device), p.Off+s.stride
			places = append(places, p)
		}
		if dev++; dev == s.l.Devices {
			dev, row = 0, row+1
		}
	}
	return places
}

// next is the device of the far copy that follows the one on device d. Of devices that do
// not make up whole sets the rest belongs to the last set (raid10.c, __raid10_find_phys).
func (s Spread) next(d int) int {
	start, size := d/s.farSet*s.farSet, s.farSet
	moved := d + s.near
	if rest := s.l.Devices % s.farSet; rest != 0 {
		last := (s.l.Devices/s.farSet - 1) * s.farSet
		if moved > last {
			start, size = last, s.farSet+rest
			return start + (moved-last)%size
		}
	}
	return start + moved%size
}
