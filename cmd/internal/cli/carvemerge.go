package cli

import (
	"fmt"
	"path/filepath"

	"github.com/lvrescue/lvrescue/carve"
)

// mergeCases adds cases to the one that is named.
func mergeCases(a *app, o *carveOptions, dirs []string) error {
	var from []*carve.Case
	for _, dir := range dirs {
		c, err := carve.Open(dir)
		if err != nil {
			return err
		}
		from = append(from, c)
	}
	c, err := carve.OpenToWrite(o.caseDir)
	if err != nil {
		return err
	}
	defer c.Close()
	damaged := 0
	for _, f := range from {
		n, err := c.Merge(f)
		if err != nil {
			return err
		}
		if n > 0 {
			say(a.err, "warning: ", fmt.Sprintf("case %s: %s cannot be read, and are left out", f.Dir, count(n, "find")))
		}
		damaged += n
	}
	rows, err := mergedRows(c)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(nil, nil, reportRows{Carve: rows})
	} else {
		err = a.printCarve(rows, nil, o.caseDir)
	}
	if err == nil && damaged > 0 {
		return errPartial
	}
	return err
}

// mergedRows shows what a case holds now.
func mergedRows(c *carve.Case) ([]carveRow, error) {
	rows := []carveRow{}
	for _, s := range c.Sources {
		finds, _, err := s.Finds()
		if err != nil {
			return nil, err
		}
		searched, err := s.Searched()
		if err != nil {
			return nil, err
		}
		rows = append(rows, carveRow{Source: filepath.Base(s.Name), ID: s.ID, Size: s.Size, Wanted: s.Size, Searched: searched, Finds: finds})
	}
	return rows, nil
}
