package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate/domain"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

type domainOptions struct {
	evidenceFlags
	out      string
	at       string
	metadata bool
}

func newDomain(a *app) *cobra.Command {
	var o domainOptions
	cmd := &cobra.Command{
		Use:   "domain VG/LV [SOURCE...] | domain --metadata [SOURCE...]",
		Short: "Write what an LV still needs of each disk, for ddrescue -m",
		Long: `Write, for each source that an LV lies on, a ddrescue domain mapfile of the ranges that the LV
needs and that have not been read yet, so that a dying disk is asked only for what matters.

An image has been read but for what its mapfile says; a disk without a mapfile has not been read
at all. With --metadata the ranges are those that hold labels, metadata areas and partition
tables: read these first, and the LVs can be named.`,
		Example:     "  lvrescue domain vg0/home sda.img sdb.img -o domains/\n  ddrescue -r1 -m domains/sda.img.domain.map /dev/sda sda.img sda.img.map",
		Annotations: ends("what is needed and unread is in the mapfiles", "the same, but a PV that the LV needs is missing, or with --metadata a source could not be read"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDomain(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.evidenceFlags.add(fs)
	fs.StringVarP(&o.out, "output", "o", ".", "the `DIR` for the mapfiles, SOURCE.domain.map each")
	fs.StringVar(&o.at, "at", "", "look at an older `SEQNO`; see lvrescue history")
	fs.BoolVar(&o.metadata, "metadata", false, "labels, metadata areas and partition tables instead of an LV")
	return cmd
}

type domainRow struct {
	Source string `json:"source"`
	Needed int64  `json:"needed"`
	Unread int64  `json:"unread"`
	Ranges int    `json:"ranges"`
	File   string `json:"file,omitempty"`
}

func runDomain(ctx context.Context, a *app, o *domainOptions, args []string) error {
	var name rebuild.LVName
	if !o.metadata {
		if len(args) == 0 {
			return usagef("lvrescue domain --metadata asks for the metadata alone", "no LV was named: expected VG/LV")
		}
		var err error
		if name, err = rebuild.ParseLVName(args[0]); err != nil {
			return usagef("lvrescue scan lists the LVs", "%w", err)
		}
		args = args[1:]
	}
	g, err := a.gather(ctx, &o.evidenceFlags, args, o.at != "")
	if err != nil {
		return err
	}
	defer g.Close()
	a.warn(slices.DeleteFunc(slices.Clone(g.Result.Findings), func(f scan.Finding) bool { return !strings.HasPrefix(f.Code, "map-") }))
	needs, absent := domain.OfMetadata(g.Evidence), []domain.Absent(nil)
	if o.metadata {
		a.warn(failures(g.Result.Findings))
	} else {
		s, err := g.lv(name, o.at)
		if err != nil {
			return err
		}
		a.warn(slices.Concat(failures(g.Result.Findings), s.vg.Findings))
		needs, absent = domain.OfLVs(s.plan)
	}
	rows, err := o.write(g, needs)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(g, g.Result.Findings, reportRows{Domain: rows})
	} else {
		err = a.printDomains(rows, needs)
	}
	for _, p := range absent {
		say(a.err, "warning: ", fmt.Sprintf("PV %s (%s) is missing: %s of the LV lie there, and no disk can be asked for them",
			p.PV.Meta.Key, p.PV.Meta.ID, a.size(p.Needed.Bytes())))
	}
	switch {
	case err == nil && len(absent) > 0:
		return errPartial
	case err == nil && o.metadata:
		return verdict(nil, g.Sources)
	}
	return err
}

// write saves the mapfile of each source of which something is unread.
func (o *domainOptions) write(g *gathered, needs []domain.Need) ([]domainRow, error) {
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return nil, err
	}
	keep, err := identities(g.Sources)
	if err != nil {
		return nil, err
	}
	rows := []domainRow{}
	var taken []string
	for _, n := range needs {
		row := domainRow{Source: n.Source.Name, Needed: n.Needed.Bytes(), Unread: n.Unread.Bytes(), Ranges: len(n.Unread)}
		if row.Unread > 0 {
			row.File = o.file(n.Source, taken)
			taken = append(taken, row.File)
			m := n.Mapfile()
			m.Comments = []string{domainMark, "for " + n.Source.Name}
			if err := mayReplace(row.File, keep); err != nil {
				return nil, err
			}
			if err := block.SaveMapfile(row.File, m); err != nil {
				return nil, err
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// file names a source's mapfile; sources of one name in several directories are numbered.
func (o *domainOptions) file(s *scan.Source, taken []string) string {
	base := filepath.Join(o.out, filepath.Base(s.Name))
	path := base + ".domain.map"
	for i := 2; slices.Contains(taken, path); i++ {
		path = base + "-" + strconv.Itoa(i) + ".domain.map"
	}
	return path
}

// domainMark is the first comment of every mapfile that the command makes: it replaces
// such files and no others.
const domainMark = "Domain mapfile made by lvrescue: the ranges marked + are to be read (ddrescue -m)"

// mayReplace refuses to write over a file that is not a domain mapfile of an earlier run.
func mayReplace(path string, keep []block.Identity) error {
	if err := notSource(block.TempName(path), keep); err != nil {
		return err
	}
	if err := notSource(path, keep); err != nil {
		return err
	}
	m, err := block.ReadMapfile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !slices.Contains(m.Comments, domainMark) {
		return hinted(fmt.Errorf("%s exists and is no domain mapfile made by lvrescue", path), "move it away, or name another directory with -o DIR")
	}
	return nil
}

// notSource refuses a path that leads to a source.
func notSource(path string, keep []block.Identity) error {
	id, err := block.Identify(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, k := range keep {
		if id.Same(k) {
			return fmt.Errorf("%s is the source %s, or part of it: sources are never written to", path, k.Name)
		}
	}
	return nil
}

func (a *app) printDomains(rows []domainRow, needs []domain.Need) error {
	t := render.Table{Columns: []render.Column{render.Left("Source"), render.Right("Needed"), render.Right("Unread"), render.Right("Ranges"), render.Left("Domain mapfile")}}
	for _, r := range rows {
		file := r.File
		if file == "" {
			file = "none: all that is needed has been read"
		}
		t.Add(r.Source, a.size(r.Needed), a.size(r.Unread), strconv.Itoa(r.Ranges), file)
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.out, "Nothing is needed of any source.")
		return nil
	}
	if err := t.Write(a.out); err != nil {
		return err
	}
	next := "\nNext:"
	for i, r := range rows {
		if r.File == "" {
			continue
		}
		disk, image := r.Source, filepath.Base(r.Source)+".img"
		if needs[i].Source.Kind == "file" {
			disk, image = "DISK", r.Source
		}
		fmt.Fprintf(a.out, "%s %s\n", next, commandLine("ddrescue", "-r1", "-m", r.File, disk, image, image+".map"))
		next = "     "
	}
	return nil
}
