package metadata

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// whole is an undamaged text, with the places of its LVs' and PVs' sections.
type whole struct {
	raw      []byte
	segments map[string]string // "lv/start extent" to the segment as text
	pvs      map[string]string
	counts   map[string]int
	spans    map[string][2]int // LV to the bytes of its lines, with the line end before them
}

func newWhole(t testing.TB, raw []byte) *whole {
	vg, err := ParseTolerant(raw)
	require.NoError(t, err)
	w := &whole{raw, map[string]string{}, map[string]string{}, map[string]int{}, map[string][2]int{}}
	for _, pv := range vg.PVs {
		w.pvs[pv.Key] = describe(pv)
	}
	for _, lv := range vg.LVs {
		w.counts[lv.Name] = len(lv.Segments)
		start := bytes.LastIndexByte(raw[:lv.Node.Offset], '\n')
		w.spans[lv.Name] = [2]int{start, lv.Node.Offset + sectionLength(raw[lv.Node.Offset:])}
		for _, s := range lv.Segments {
			w.segments[fmt.Sprint(lv.Name, "/", s.StartExtent)] = describe(s)
		}
	}
	return w
}

// sectionLength is the length of the section that b begins with.
func sectionLength(b []byte) int {
	depth := 0
	for i, c := range b {
		switch c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 2
			}
		}
	}
	return len(b)
}

// describe prints all that matters of a PV or segment.
func describe(v any) string {
	e := encoder{vg: &VG{ExtentSize: 1}, style: Raw}
	switch v := v.(type) {
	case *PV:
		n := NewSection(v.Key)
		writeFields(&e, n, pvFields, v, v.Node, nil)
		return describeNode(n)
	case *Segment:
		return describeNode(e.segment(v, 0))
	}
	panic("neither PV nor segment")
}

func describeNode(n *Node) string {
	root := NewSection("")
	root.Append(n)
	return string((&Text{Root: root}).Bytes())
}

// check holds what was salvaged against the whole text: what is there must be right, and
// what the damage at [from, to) did not touch must be there.
func (w *whole) check(t testing.TB, damaged []byte, from, to int) {
	vg, err := ParseTolerant(damaged)
	if vg == nil {
		require.Error(t, err)
		vg = &VG{}
	}
	for _, pv := range vg.PVs {
		same(t, pv.Key, w.pvs[pv.Key], describe(pv))
	}
	got := map[string]*LV{}
	for _, lv := range vg.LVs {
		count, ok := w.counts[lv.Name]
		switch {
		case !ok || got[lv.Name] != nil:
			require.Fail(t, "an LV that never was", lv.Name)
		case lv.Damaged == "" && len(lv.Segments) != count:
			require.Fail(t, "segments lost unseen", lv.Name)
		}
		got[lv.Name] = lv
		for _, s := range lv.Segments {
			same(t, lv.Name, w.segments[fmt.Sprint(lv.Name, "/", s.StartExtent)], describe(s))
		}
	}
	for name, span := range w.spans {
		if span[1] > from && span[0] < to {
			continue
		}
		if lv := got[name]; lv == nil || vg.ExtentSize > 0 && lv.Damaged != "" {
			require.Fail(t, "an untouched LV is lost", "%s: %+v", name, lv)
		}
	}
}

// same is require.Equal for many comparisons.
func same(t testing.TB, name, want, got string) {
	if want != got {
		require.Equal(t, want, got, name)
	}
}

func rawTexts(t testing.TB) []*whole {
	var texts []*whole
	files := textFiles(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		texts = append(texts, newWhole(t, files[name]))
	}
	return texts
}

// TestTolerantOverwritten overwrites parts of real texts with bytes that are no text.
func TestTolerantOverwritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	texts := rawTexts(t)
	for i := range 10000 {
		w := texts[i%len(texts)]
		from := rng.IntN(len(w.raw))
		length := 1 << rng.IntN(12)
		to := min(from+1+rng.IntN(length), len(w.raw))
		damaged := bytes.Clone(w.raw)
		fill := []byte{0, 0xff, 0x01}[rng.IntN(3)]
		for j := from; j < to; j++ {
			damaged[j] = fill
		}
		w.check(t, damaged, from, to)
	}
}

// TestTolerantTwoHoles makes two holes at a time, close to each other.
func TestTolerantTwoHoles(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	texts := rawTexts(t)
	for i := range 500 {
		w := texts[i%len(texts)]
		damaged := bytes.Clone(w.raw)
		from := rng.IntN(len(w.raw))
		to := from
		for range 2 {
			start := min(to+rng.IntN(100), len(w.raw))
			to = min(start+1+rng.IntN(100), len(w.raw))
			for j := start; j < to; j++ {
				damaged[j] = 0xff
			}
		}
		w.check(t, damaged, from, to)
	}
}

// TestTolerantTruncated cuts real texts off.
func TestTolerantTruncated(t *testing.T) {
	for _, w := range rawTexts(t) {
		for n := 0; n < len(w.raw); n += 397 {
			w.check(t, w.raw[:n], n, len(w.raw))
		}
	}
}

// TestTolerantBeheaded leaves only the end of raw texts, as where a newer text has been
// written over the beginning.
func TestTolerantBeheaded(t *testing.T) {
	for _, w := range rawTexts(t) {
		if !bytes.HasPrefix(w.raw, []byte("#")) {
			for n := 1; n < len(w.raw); n += 397 {
				shifted := *w
				shifted.spans = map[string][2]int{}
				for name, span := range w.spans {
					if span[0] >= n {
						shifted.spans[name] = [2]int{span[0] - n, span[1] - n}
					}
				}
				shifted.check(t, w.raw[n:], 0, 0)
			}
		}
	}
}

func TestTolerantSaysWhatIsLost(t *testing.T) {
	for name, test := range map[string]struct {
		old, new string
		lv       string
		damaged  string
		segments int
		errs     []string
	}{
		"a value": {"extent_count = 15\n", "extent_count = 1\xff\n", "root",
			"LV root, segment2: extent_count is missing", 2,
			[]string{"line 71, column 1 (byte 1029): 19 bytes are not text", "left out: LV root, segment2"}},
		"a segment's type": {"type = \"striped\"\nstripe_count = 1\n\nstripes = [\n\"pv2\", 15", "type = 5\nstripe_count = 1\n\nstripes = [\n\"pv2\", 15", "swap",
			"LV swap, segment1: type is 5, not text", 0,
			[]string{"left out: LV swap, segment1"}},
		"a key": {"id = \"XwYHwJ-", "i\xfe = \"XwYHwJ-", "export",
			"LV export: id is missing", 1, []string{"LV export: id is missing"}},
		"a second id that is none": {"type = \"striped\"\nstripe_count = 1\n\nstripes = [\n\"pv2\", 15", "id = []\ntype = 5\xff\nstripe_count = 1\n\nstripes = [\n\"pv2\", 15", "swap",
			"LV swap, segment1: type is missing", 0,
			[]string{"left out: a section"}},
		"a name's length": {"\nroot {", "\n" + strings.Repeat("r", 128) + " {", strings.Repeat("r", 60) + "…",
			"the name of LV " + strings.Repeat("r", 60) + "… has 128 bytes, at most 127 are possible", 3, nil},
		"a leg's name": {"\"pv2\", 15", "\"" + strings.Repeat("v", 1<<20) + "\", 15", "swap",
			"LV swap, segment1: stripes: \"" + strings.Repeat("v", 60) + "…\" has 1048576 bytes, at most 127 are possible in a name", 0, nil},
		"the count": {"segment_count = 3\n", "segment_count = 4\n", "root",
			"LV root: segment_count is 4, but there are 3 segments", 3,
			[]string{"segment_count is 4"}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := textFiles(t)["linear.raw.vg"]
			edited := strings.Replace(string(raw), test.old, test.new, 1)
			require.NotEqual(t, string(raw), edited)
			vg, err := ParseTolerant([]byte(edited))
			var damage *DamagedError
			require.ErrorAs(t, err, &damage)
			var all []string
			for _, d := range damage.Damages {
				all = append(all, d.String())
			}
			for _, want := range test.errs {
				require.Contains(t, strings.Join(all, "\n"), want)
			}
			lv := findLV(t, vg, test.lv)
			require.Equal(t, test.damaged, lv.Damaged)
			require.Len(t, lv.Segments, test.segments)
			require.Len(t, vg.LVs, 3)
			require.Len(t, vg.PVs, 3)
		})
	}
}

// TestSalvageLength salvages long texts of which each line is damage. If what one line takes
// grew with the text, this would not end.
func TestSalvageLength(t *testing.T) {
	const head = "vg {\nid = \"abcdef-abcd-abcd-abcd-abcd-abcd-abcdef\"\nseqno = 3\n"
	const pv = "pv {\nid = \"abcdef-abcd-abcd-abcd-abcd-abcd-abcdef\"\npe_start = 1\n"
	const lv = "lv {\nid = \"abcdef-abcd-abcd-abcd-abcd-abcd-abcdef\"\nsegment_count = 1\n"
	for name, text := range map[string]string{
		"no keys":            head + strings.Repeat("[\n", 4<<20),
		"lists without end":  head + strings.Repeat("\"x\" = [\n", 1<<20),
		"lists with one end": head + strings.Repeat("\"x\" = [\n", 1<<20) + "]\n",
		"open sections":      head + "[\n" + strings.Repeat("a {\n", 1<<20) + strings.Repeat("physical_volumes {\n", 1<<16),
		"PVs among LVs":      head + "[\n" + strings.Repeat("a = 1\n", 1<<18) + strings.Repeat(pv+lv, 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTolerant([]byte(text))
			require.Error(t, err)
		})
	}
}
