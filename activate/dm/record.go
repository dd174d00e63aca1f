package dm

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Record is what is remembered of an active LV, for people: taking it down needs nothing of
// it.
type Record struct {
	Name    string   `json:"name"`
	UUID    string   `json:"uuid"`
	VG      string   `json:"vg"`
	LV      string   `json:"lv"`
	Health  string   `json:"health"`
	Reasons []string `json:"reasons"`
	Sources []string `json:"sources"`
	Overlay string   `json:"overlay,omitempty"` // the file that takes what is written
}

// records is the folder that holds them, each in a file named after the device's UUID.
type records string

func (d records) path(uuid string) string { return filepath.Join(string(d), uuid+".json") }

// write puts a record down before anything of the LV is made. One that is cut short is read
// as one that says nothing.
func (d records) write(r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(d.path(r.UUID), append(b, '\n'), 0o600)
}

// read gives the record of a UUID; if there is none, one that says nothing but that.
func (d records) read(uuid string) Record {
	r := Record{}
	if b, err := os.ReadFile(d.path(uuid)); err == nil {
		_ = json.Unmarshal(b, &r) // what is not there stays empty
	}
	r.UUID = uuid
	return r
}

func (d records) remove(r Record) error {
	if err := os.Remove(d.path(r.UUID)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// uuids lists whose records there are.
func (d records) uuids() (list []string) {
	files, _ := filepath.Glob(filepath.Join(string(d), UUIDPrefix+"*.json"))
	for _, f := range files {
		list = append(list, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	return list
}
