package scan

import (
	"fmt"
	"io"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// addBackup adds an lvm2 backup or archive file to the evidence.
func (ev *Evidence) addBackup(path string, texts *interner) {
	raw, err := readBackup(path)
	if err != nil {
		ev.find(Error, "backup-unreadable", path, -1, "backup file cannot be used: %v", err)
		return
	}
	content := texts.content(raw)
	if content == nil {
		ev.find(Warning, "text-limit", path, -1, "more than %d bytes of metadata texts in all; this one is left out", maxTextBytes)
		return
	}
	ev.Copies = append(ev.Copies, &Copy{
		Content: content,
		Source:  &Source{Name: path, Kind: kindBackup},
		Slot:    BackupFile,
	})
}

func readBackup(path string) ([]byte, error) {
	f, err := block.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > metadata.MaxTextSize {
		return nil, fmt.Errorf("%d bytes are too many for a backup file, at most %d", f.Size(), metadata.MaxTextSize)
	}
	return io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
}
