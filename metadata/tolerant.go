package metadata

// ParseTolerant gives what is intact of a text.
func ParseTolerant(text []byte) (*VG, error) {
	t, err := Parse(text)
	if err != nil {
		return nil, err
	}
	vg, damage := decode(t, nil)
	if damage != nil {
		return vg, damage
	}
	return vg, nil
}
