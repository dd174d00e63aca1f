package metadata

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteRealTexts(t *testing.T) {
	for name, raw := range textFiles(t) {
		t.Run(name, func(t *testing.T) {
			text, err := Parse(raw)
			require.NoError(t, err)
			require.Equal(t, string(raw), string(text.Bytes()))
			vg, err := Decode(text)
			require.NoError(t, err)
			require.Equal(t, string(raw), string(Encode(vg, text.Style)))
		})
	}
}
