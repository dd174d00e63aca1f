package render

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// Units says how sizes are shown.
type Units string

const (
	Human Units = "h" // as lvs does by default: 20.00m, <1.20t
	Bytes Units = "b" // exact: 20971520B
)

// ParseUnits reads the argument of --units.
func ParseUnits(s string) (Units, error) {
	switch u := Units(s); u {
	case Human, Bytes:
		return u, nil
	case "r":
		return Human, nil
	}
	return "", fmt.Errorf("--units %q: expected h (human readable) or b (bytes)", s)
}

// Size shows a number of bytes. Human sizes are lvm2's: binary units, two decimals, and a
// "<" in front where rounding made the number larger (libdm/libdm-string.c,
// dm_size_to_string).
func (u Units) Size(n int64) string {
	if u == Bytes {
		return strconv.FormatInt(n, 10) + "B"
	}
	if n < 0 {
		return "-" + u.Size(-max(n, math.MinInt64+1))
	}
	if n == 0 {
		return "0"
	}
	const suffixes = "bkmgtpe"
	i, unit := 0, int64(1)
	for i+1 < len(suffixes) && n >= unit<<10 {
		i, unit = i+1, unit<<10
	}
	if i == 0 {
		return strconv.FormatInt(n, 10) + "b"
	}
	hi, lo := bits.Mul64(uint64(n%unit), 100)
	hundredths, rest := bits.Div64(hi, lo, uint64(unit))
	mark := ""
	if rest >= uint64(unit)/2 {
		hundredths, mark = hundredths+1, "<"
	}
	whole := uint64(n/unit) + hundredths/100
	return fmt.Sprintf("%s%d.%02d%c", mark, whole, hundredths%100, suffixes[i])
}
