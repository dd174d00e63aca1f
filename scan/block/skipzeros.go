package block

// skipZeros is a device that is not read where it is known to be zeros.
type skipZeros struct{ Device }

// SkipZeros gives a device whose proven zeros are not read: of a ring or a journal most was
// never written.
func SkipZeros(dev Device) Device { return skipZeros{dev} }

func (d skipZeros) ReadAt(p []byte, off int64) (int, error) {
	n := int64(len(p))
	for e := range d.Extents(off, n) {
		if e.State == Zero && e.Len == n {
			clear(p)
			return len(p), nil
		}
		break
	}
	return d.Device.ReadAt(p, off)
}
