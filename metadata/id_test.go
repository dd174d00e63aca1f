package metadata

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseID(t *testing.T) {
	const bare, dashed = "OSZCQq5qI3jdctCLmWqijmGfDU3D7pAK", "OSZCQq-5qI3-jdct-CLmW-qijm-GfDU-3D7pAK"
	for name, test := range map[string]struct{ in, want, str, err string }{
		"dashed":            {dashed, bare, dashed, ""},
		"bare":              {bare, bare, dashed, ""},
		"dashes anywhere":   {"--" + bare + "-", bare, dashed, ""},
		"LVM1 characters":   {"!" + bare[1:], "!" + bare[1:], "!" + dashed[1:], ""},
		"# has no dashes":   {"#" + bare[1:], "#" + bare[1:], "#" + bare[1:], ""},
		"short":             {bare[1:], "", "", "has 31"},
		"long":              {bare + "x", "", "", "more"},
		"empty":             {"", "", "", "has 0"},
		"bad character":     {bare[1:] + "_", "", "", "cannot be"},
		"not a byte of one": {strings.Repeat("é", 16), "", "", "cannot be"},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := ParseID(test.in)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, ID(test.want), id)
			require.Equal(t, test.str, id.String())
			require.True(t, id.Valid())
		})
	}
	require.False(t, ID("").Valid())
}

func FuzzParseID(f *testing.F) {
	f.Add("OSZCQq-5qI3-jdct-CLmW-qijm-GfDU-3D7pAK")
	f.Add("#SZCQq5qI3jdctCLmWqijmGfDU3D7pAK")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		require.True(t, id.Valid())
		again, err := ParseID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
}
