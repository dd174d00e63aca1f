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

	"github.com/spf13/pflag"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/match"
	"github.com/lvrescue/lvrescue/carve"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
)

// evidenceFlags are the flags of all commands that look at sources.
type evidenceFlags struct {
	assume, without, backups, maps []string
	caseDir                        string
	thin                           string // how thin pools are read
	strict                         bool   // only of commands that may look at the past
}

// addStrict adds the flag of commands that may look at the past, by the flags named.
func (f *evidenceFlags) addStrict(fs *pflag.FlagSet, by string) {
	fs.BoolVar(&f.strict, "strict", false, "with "+by+": what may have been used again since is lost, not doubtful")
}

func (f *evidenceFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.assume, "assume", nil, "place a PV by hand: `UUID=SOURCE[@OFFSET]`, from byte OFFSET on")
	fs.StringArrayVar(&f.without, "without", nil, "leave out the PV or the source that `UUID|SOURCE` names")
	fs.StringArrayVar(&f.backups, "backup", nil, "use an lvm2 backup or archive `FILE` as evidence")
	fs.StringArrayVar(&f.maps, "map", nil, "a source and its ddrescue mapfile: `SOURCE=MAPFILE`")
	fs.StringVar(&f.thin, "thin", activate.ThinAuto, "how thin pools are read: `auto|salvage|guess`; auto: by their trees, or by what is left of them; salvage: by what is left, and where earlier versions of the VG had it; guess: also by leaves with wrong checksums")
	fs.StringVar(&f.caseDir, "case", "", "use what lvrescue carve has found: the case `DIR`; without SOURCE its sources")
}

// args gives the flags as the user would type them, for the commands that are proposed.
func (f *evidenceFlags) args() []string {
	var args []string
	for _, flag := range []struct {
		name   string
		values []string
	}{{"--assume", f.assume}, {"--without", f.without}, {"--backup", f.backups}, {"--map", f.maps}} {
		for _, v := range flag.values {
			args = append(args, flag.name, v)
		}
	}
	if f.caseDir != "" {
		args = append(args, "--case", f.caseDir)
	}
	if f.thin != "" && f.thin != activate.ThinAuto {
		args = append(args, "--thin", f.thin)
	}
	return args
}

// gathered is what the sources hold.
type gathered struct {
	*scan.Evidence
	*rebuild.Result
	candidates []*match.Candidate // for PVs that no label tells of
}

// gather scans the sources and works out what they hold.
func (a *app) gather(ctx context.Context, f *evidenceFlags, sources []string, history bool) (*gathered, error) {
	if f.thin != "" && !slices.Contains(activate.ThinModes, f.thin) {
		return nil, usagef("", "--thin %q: expected auto, salvage or guess", f.thin)
	}
	maps, err := parseMaps(f.maps)
	if err != nil {
		return nil, err
	}
	for _, path := range f.backups {
		if !exists(path) {
			return nil, hinted(fmt.Errorf("--backup: there is no file %s", path),
				"lvm2 keeps its backups in /etc/lvm/backup and /etc/lvm/archive; without --backup the texts on the disks count")
		}
	}
	if f.thin != "" && f.thin != activate.ThinAuto {
		history = true // for where the metadata of pools was
	}
	opt := scan.Options{Backups: f.backups, History: history, Maps: maps}
	var found *carve.Case
	if f.caseDir != "" {
		if found, err = carve.Open(f.caseDir); err != nil {
			return nil, err
		}
		opt.Places = found.Places
		if len(sources) == 0 {
			sources = found.Present()
		}
	}
	var placed []rebuild.Assume
	for _, s := range f.assume {
		p, err := parseAssume(s)
		if err != nil {
			return nil, err
		}
		placed = append(placed, p)
		if len(sources) > 0 {
			sources = append(sources[:len(sources):len(sources)], p.Source)
		}
	}
	for {
		ev, err := scan.Run(ctx, sources, opt)
		if err != nil {
			return nil, err
		}
		if found != nil {
			found.Add(ev, opt.History)
		}
		if err := unopened(ev, len(sources) > 0); err != nil {
			return nil, err
		}
		res, candidates, err := match.Build(ev, rebuild.Options{Assume: placed, Without: f.without, Strict: f.strict, Thin: f.thin})
		if err != nil {
			return nil, err
		}
		if opt.History || !match.WantsHistory(candidates) {
			return &gathered{ev, res, candidates}, nil
		}
		ev.Close()
		opt.History = true
	}
}

// unopened is the error for when there is nothing to look at. named says whether the user
// named sources.
func unopened(ev *scan.Evidence, named bool) error {
	var errs []error
	absent := false
	for _, s := range ev.Sources {
		if s.Dev != nil {
			return nil
		}
		var path *fs.PathError
		absent = absent || errors.Is(s.Err, fs.ErrNotExist) && errors.As(s.Err, &path) && path.Path == s.Name
		errs = append(errs, s.Err)
	}
	err := errors.Join(errs...)
	switch {
	case len(errs) == 0 && len(ev.Copies) == 0:
		return hinted(errors.New("there is nothing to look at: no source was found"),
			"name image files, block devices, or directories of images; without any, block devices are searched, which takes root")
	case absent:
		return hinted(err, "a source is an image file, a block device or a directory of images; a VG or VG/LV stands in front of the sources")
	case !named && err != nil:
		return hinted(err, "no source was named, so all block devices were looked at; name image files or directories of images, or run lvrescue as root")
	}
	return err
}

// splitPair splits A=B, where both may be paths with "=" in them: the first "=" behind an
// existing path counts, or else the first of all.
func splitPair(s string) (a, b string, ok bool) {
	for i := range len(s) {
		if s[i] == '=' && exists(s[:i]) {
			return s[:i], s[i+1:], s[i+1:] != ""
		}
	}
	a, b, ok = strings.Cut(s, "=")
	return a, b, ok && a != "" && b != ""
}

// parseAssume reads UUID=SOURCE[@OFFSET].
func parseAssume(s string) (rebuild.Assume, error) {
	uuid, source, ok := strings.Cut(s, "=")
	if !ok || source == "" {
		return rebuild.Assume{}, usagef("", "--assume %q: expected UUID=SOURCE[@OFFSET]", s)
	}
	id, err := metadata.ParseID(uuid)
	if err != nil {
		return rebuild.Assume{}, usagef("lvrescue scan -v shows the UUIDs of missing PVs", "--assume %q: %w", s, err)
	}
	p := rebuild.Assume{PV: id, Source: source}
	if i := strings.LastIndexByte(source, '@'); i > 0 && !exists(source) {
		p.Source = source[:i]
		if p.Offset, err = strconv.ParseInt(source[i+1:], 0, 64); err != nil {
			return p, usagef("", "--assume %q: offset %q is no number of bytes", s, source[i+1:])
		}
	}
	return p, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// splitVG takes a VG's name off the arguments, if the first is one: it is when no such file
// exists and it does not look like a path. "" stands for all VGs.
func splitVG(args []string) (vg string, sources []string) {
	if len(args) == 0 {
		return "", nil
	}
	name := strings.TrimPrefix(args[0], "/dev/")
	if exists(args[0]) && name == args[0] || strings.ContainsRune(name, '/') || name != args[0] && !isGone(args[0]) {
		return "", args
	}
	return name, args[1:]
}

// onlyVG is splitVG for commands that take no LV: one is refused where it can be no path.
func onlyVG(cmd string, args []string) (vg string, sources []string, err error) {
	if len(args) > 0 && !exists(args[0]) && !exists(filepath.Dir(args[0])) {
		if name, err := rebuild.ParseLVName(args[0]); err == nil {
			return "", nil, usagef("name the VG: "+name.VG, "%q is no file, and names an LV: %s takes a VG", args[0], cmd)
		}
	}
	vg, sources = splitVG(args)
	return vg, sources, nil
}

// isGone tells whether a path in /dev is no device, so that it can only be a VG.
func isGone(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.IsDir()
}

// groups picks the VG that the user named, or all.
func (g *gathered) groups(vg string) ([]*rebuild.Group, error) {
	if vg == "" {
		if len(g.Groups) == 0 {
			return nil, hinted(fmt.Errorf("no volume group was found on %s", count(len(g.Sources), "source")),
				"lvrescue scan -v tells what was found; --backup FILE adds a text from /etc/lvm/backup or archive")
		}
		return g.Groups, nil
	}
	group, err := g.Find(vg)
	if err != nil {
		return nil, hinted(err, "%q is no existing file, so it was taken for the name of a VG", vg)
	}
	return []*rebuild.Group{group}, nil
}

// at places a group's PVs at the version that the user named, "" for the current one.
func at(g *rebuild.Group, name string) (*rebuild.VG, error) {
	if name == "" {
		return g.At(nil), nil
	}
	v, err := namedVersion(g, name)
	if err != nil {
		return nil, err
	}
	return g.At(v), nil
}

// namedVersion finds the version that the user named.
func namedVersion(g *rebuild.Group, name string) (*rebuild.Version, error) {
	if !versionName.MatchString(name) {
		return nil, usagef("lvrescue history "+g.Name()+" lists the versions", "version %q: expected a seqno such as 12, or 12:1a2b3c4d", name)
	}
	return g.Version(name)
}

// count puts a number before a noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
