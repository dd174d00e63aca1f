package metadata

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// addTexts seeds a fuzz target with real texts, whole and cut.
func addTexts(f *testing.F) {
	for _, text := range textFiles(f) {
		f.Add(text)
		f.Add(text[:len(text)/2])
		f.Add(text[len(text)/2:])
	}
}

// requireSameTree holds two trees against each other, places in the text apart.
func requireSameTree(t *testing.T, want, got *Node) {
	require.Equal(t, want.Key, got.Key)
	require.Equal(t, want.Kind, got.Kind)
	require.Equal(t, want.List, got.List)
	require.Equal(t, want.Comment, got.Comment)
	require.Equal(t, want.tight, got.tight)
	require.Equal(t, len(want.Values), len(got.Values))
	for i := range want.Values {
		require.Equal(t, want.Values[i], got.Values[i])
	}
	w, g := want.first, got.first
	for ; w != nil && g != nil; w, g = w.next, g.next {
		requireSameTree(t, w, g)
	}
	require.True(t, w == nil && g == nil, "another number of children")
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
		requireSameTree(t, text.Root, again.Root)
		require.Equal(t, string(written), string(again.Bytes()))
	})
}

func FuzzParseTolerant(f *testing.F) {
	addTexts(f)
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
