package metadata

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

var errOneValue = errors.New("is a list, not a single value")

// isRMeta tells a RAID metadata LV by its name, as lvm2 does (lib/raid/raid.c).
func isRMeta(name string) bool { return strings.Contains(name, "_rmeta_") }

// readAreas fills Areas and StripeSize of a segment of a type that has areas, and holds
// their number against what the text says it is.
func (d *decoder) readAreas(s *Segment) error {
	if i, ok := s.Node.Int("stripe_size"); ok {
		if i < 0 || i > math.MaxUint32 {
			return fmt.Errorf("stripe_size is %d, not between 0 and 2^32-1", i)
		}
		s.StripeSize = i
	} else if s.Node.Has("stripe_size") {
		return errors.New("stripe_size is no integer")
	}
	kind, ok := areasOf(s.Type)
	if !ok {
		return nil
	}
	list := s.Node.find(kind.list)
	if list == nil || list.Kind != Assignment {
		return fmt.Errorf("%s is missing", kind.list)
	}
	if !d.text.take(areaMemory * len(list.Values)) {
		return fmt.Errorf("%s: expected %s", kind.list, d.text.tooMuch())
	}
	count, ok := s.Node.Int(kind.count)
	if !ok {
		return fmt.Errorf("%s is missing or no integer", kind.count)
	}
	legs, err := d.areaPairs(s, list)
	if err != nil {
		return fmt.Errorf("%s: %w", kind.list, err)
	}
	if int64(legs) != count || count == 0 {
		return fmt.Errorf("%s is %d, but %s has %d", kind.count, count, kind.list, legs)
	}
	if needsStripeSize(s.Type, legs) && s.StripeSize == 0 {
		return errors.New("stripe_size is missing or 0")
	}
	return nil
}

// needsStripeSize: without it the place of a byte in such a segment cannot be told.
func needsStripeSize(segType string, legs int) bool {
	return legs > 1 && segType != "mirror" && segType != "raid1"
}

// areaPairs reads a list of areas and gives the number of legs.
func (d *decoder) areaPairs(s *Segment, list *Node) (legs int, err error) {
	switch list.Key {
	case keyRAIDs:
		return d.raidAreas(s, list.Values)
	case keyRAID0LVs:
		s.Areas = d.areas.take(len(list.Values))
		for i, v := range list.Values {
			if s.Areas[i].Name, err = areaName(v); err != nil {
				return 0, err
			}
		}
		return len(s.Areas), nil
	}
	if len(list.Values)%2 != 0 {
		return 0, errors.New("an area without its extent")
	}
	s.Areas = d.areas.take(len(list.Values) / 2)
	for i := range s.Areas {
		a := &s.Areas[i]
		if a.Name, err = areaName(list.Values[2*i]); err != nil {
			return 0, err
		}
		if err = readInt(&a.Start, list.Values[2*i+1], 0, math.MaxUint32); err != nil {
			return 0, fmt.Errorf("the extent of %s %w", shorten(a.Name), err)
		}
		if !d.spanFits(0, a.Start+s.ExtentCount) {
			return 0, fmt.Errorf("extent %d of %s lies beyond 2^63 bytes", a.Start, shorten(a.Name))
		}
	}
	return len(s.Areas), nil
}

// raidAreas reads legs of metadata LV and image LV; the first may miss.
func (d *decoder) raidAreas(s *Segment, values []Value) (legs int, err error) {
	s.Areas = d.areas.take(2 * len(values))[:0]
	for i := 0; i < len(values); i++ {
		var meta, image Area
		if image.Name, err = areaName(values[i]); err != nil {
			return 0, err
		}
		if isRMeta(image.Name) {
			if i++; i == len(values) {
				return 0, fmt.Errorf("%s is not followed by its image", image.Name)
			}
			meta = image
			if image.Name, err = areaName(values[i]); err != nil {
				return 0, err
			}
		}
		s.Areas = append(s.Areas, meta, image)
	}
	return len(s.Areas) / 2, nil
}

func areaName(v Value) (string, error) {
	if !v.IsString() || v.Raw == "" {
		return "", fmt.Errorf("%q is no name", shorten(v.Raw))
	}
	name := v.Text()
	if len(name) > maxNameLength {
		return "", fmt.Errorf("%q has %d bytes, at most %d are possible in a name", shorten(name), len(name), maxNameLength)
	}
	return name, nil
}
