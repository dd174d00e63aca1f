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
	for _, name := range []string{"lvrescue.8", "lvrescue-scan.8", "lvrescue-lvs.8", "lvrescue-history.8",
		"lvrescue-export.8", "lvrescue-domain.8", "lvrescue-demo.8"} {
		page, err := os.ReadFile(filepath.Join(dir, "man8", name))
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
