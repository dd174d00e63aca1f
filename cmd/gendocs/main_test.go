package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	require.NoError(t, generate(dir))
	pages, err := filepath.Glob(filepath.Join(dir, "man8", "lvrescue*.8"))
	require.NoError(t, err)
	require.Greater(t, len(pages), 20)
	for _, name := range pages {
		page, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "OPTIONS", "EXAMPLE"} {
			require.Contains(t, string(page), ".SH "+section, name)
		}
		require.Contains(t, string(page), "Nov 2023", name)
	}
	for _, name := range []string{"lvrescue.bash", "_lvrescue", "lvrescue.fish"} {
		require.FileExists(t, filepath.Join(dir, "completions", name))
	}
}
