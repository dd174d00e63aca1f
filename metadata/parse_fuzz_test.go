package metadata

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// addTexts seeds a fuzz target with real texts, whole and cut: one LV of each segment type,
// as long inputs are slow to fuzz.
func addTexts(f *testing.F) {
	texts := textFiles(f)
	whole, err := ParseTolerant(texts["types.backup.vg"])
	require.NoError(f, err)
	seen := map[string]bool{}
	for _, lv := range whole.LVs {
		if segType := lv.Segments[0].TypeName(); !seen[segType] {
			seen[segType] = true
			one := *whole
			one.PVs, one.LVs = whole.PVs[:1], []*LV{lv}
			f.Add(Encode(&one, Raw))
		}
	}
	for _, text := range [][]byte{texts["linear.raw.vg"], texts["linear.backup.vg"]} {
		f.Add(text)
		f.Add(text[:len(text)/2])
		f.Add(text[len(text)/2:])
	}
}

// sameTree compares two trees, places in the text apart.
func sameTree(a, b *Node) bool {
	if a.Key != b.Key || a.Kind != b.Kind || a.List != b.List || a.Comment != b.Comment ||
		a.tight != b.tight || !slices.Equal(a.Values, b.Values) {
		return false
	}
	a, b = a.first, b.first
	for ; a != nil && b != nil; a, b = a.next, b.next {
		if !sameTree(a, b) {
			return false
		}
	}
	return a == nil && b == nil
}

func FuzzParse(f *testing.F) {
	addTexts(f)
	f.Add([]byte(`a = [b , "c" 'd',] # e` + "\n" + `"f g"={h=1# i` + "\n}"))
	f.Add([]byte("/a//b{c=-010 d=.5}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, err := Parse(raw)
		if err != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.LessOrEqual(t, syntax.Offset, len(raw))
			return
		}
		written := text.Bytes()
		again, err := Parse(written)
		require.NoError(t, err, "%q", written)
		require.True(t, sameTree(text.Root, again.Root), "%q", written)
		require.Equal(t, string(written), string(again.Bytes()))
	})
}

func FuzzParseTolerant(f *testing.F) {
	addTexts(f)
	f.Add([]byte("contents = []\ndescription = []\nvg {\nid = []\nlogical_volumes {\nlv {\n}\n}\n}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		vg, err := ParseTolerant(raw)
		if vg == nil {
			require.Error(t, err)
			return
		}
		if err != nil {
			var damage *DamagedError
			require.ErrorAs(t, err, &damage)
			require.NotEmpty(t, damage.Damages)
			require.LessOrEqual(t, len(damage.Damages), maxDamages)
		}
		require.LessOrEqual(t, vg.Text.Memory(), MostMemory(len(raw)))
		Check(vg)
		for _, o := range Overlaps(vg) {
			require.Positive(t, o.Count)
		}
		for _, lv := range vg.LVs {
			for _, s := range lv.Segments {
				requireViews(t, s)
			}
		}
		encoded := Encode(vg, Raw)
		if vg.Name != "" {
			_, err := Parse(encoded)
			require.NoError(t, err, "%q", encoded)
		}
	})
}

// requireViews asks for the fields of every segment type: at most one can be right.
func requireViews(t *testing.T, s *Segment) {
	views := []func() error{
		func() error { _, err := s.RAID(); return err },
		func() error { _, err := s.Mirror(); return err },
		func() error { _, err := s.Snapshot(); return err },
		func() error { _, err := s.ThinPool(); return err },
		func() error { _, err := s.Thin(); return err },
		func() error { _, err := s.CachePool(); return err },
		func() error { _, err := s.Cache(); return err },
		func() error { _, err := s.Writecache(); return err },
		func() error { _, err := s.Integrity(); return err },
		func() error { _, err := s.VDOPool(); return err },
		func() error { _, err := s.VDO(); return err },
	}
	right := 0
	for _, view := range views {
		if view() == nil {
			right++
		}
	}
	require.LessOrEqual(t, right, 1)
}
