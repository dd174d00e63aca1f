package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// wanted is what the user wants to have: some LVs, or all of a VG.
type wanted struct {
	names []rebuild.LVName
	vg    string // when no LV is named
}

// splitLVs takes off the arguments what is wanted: a VG, or one LV or more, each written
// VG/LV, up to the first argument that is a file or cannot be the name of an LV.
func splitLVs(args []string) (w wanted, sources []string, err error) {
	const hint = "lvrescue scan lists the VGs and LVs"
	if len(args) == 0 {
		return w, nil, usagef(hint, "nothing was named: expected VG or VG/LV")
	}
	if vg, rest := splitVG(args); vg != "" {
		if _, err := rebuild.ParseLVName(vg); err != nil { // no UUID of an LV
			return wanted{vg: vg}, rest, nil
		}
	}
	if exists(args[0]) && !strings.HasPrefix(args[0], "/dev/") {
		return w, nil, usagef(hint, "no LV was named: %q is a file; the LVs come first, then the sources", args[0])
	}
	for i, arg := range args {
		name, err := rebuild.ParseLVName(arg)
		if i == 0 && err != nil {
			return w, nil, usagef(hint, "%w", err)
		}
		if err != nil || i > 0 && exists(arg) {
			return w, args[i:], nil
		}
		w.names = append(w.names, name)
	}
	return w, nil, nil
}

// pick assesses the LVs that are wanted, each once, as the version wanted has them. Of a VG
// it takes those that lvm2 shows, or with hidden all.
func (g *gathered) pick(w wanted, version string, hidden bool) ([]*assessed, error) {
	if len(w.names) == 0 {
		return g.wholeVG(w.vg, version, hidden)
	}
	var lvs []*assessed
	for _, name := range w.names {
		s, err := g.lv(name, version)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(lvs, func(o *assessed) bool { return o.vg.Group == s.vg.Group && o.lv.ID == s.lv.ID }) {
			lvs = append(lvs, s)
		}
	}
	return lvs, nil
}

// wholeVG assesses the LVs of the one VG that the user means.
func (g *gathered) wholeVG(name, version string, hidden bool) ([]*assessed, error) {
	groups, err := g.groups(name)
	if err != nil {
		return nil, err
	}
	if len(groups) > 1 {
		return nil, usagef("name the VG in front of the sources", "one VG is wanted, and %d were found", len(groups))
	}
	vg, err := at(groups[0], version)
	if err != nil {
		return nil, err
	}
	lvs := assessVG(vg, hidden)
	if len(lvs) == 0 {
		return nil, hinted(fmt.Errorf("VG %s has no LVs at seqno %s", vg.Meta.Name, vg.Version.ID()),
			"lvrescue lvs %s --removed lists those of older versions; --at takes one", groups[0].Name())
	}
	return lvs, nil
}

// offerFlags are the flags of commands that offer LVs to other programs.
type offerFlags struct {
	evidenceFlags
	at     string
	hidden bool
}

func (f *offerFlags) add(fs *pflag.FlagSet) {
	f.evidenceFlags.add(fs)
	fs.StringVar(&f.at, "at", "", "take an older `SEQNO`; see lvrescue history")
	fs.BoolVarP(&f.hidden, "all", "a", false, "of a VG, take the hidden LVs too")
}

// gatherLVs scans the sources and assesses the LVs that are wanted and can be read. What is
// gathered is to be closed behind them.
func (a *app) gatherLVs(ctx context.Context, f *offerFlags, w wanted, sources []string) (*gathered, []*assessed, error) {
	g, err := a.gather(ctx, &f.evidenceFlags, sources, f.at != "")
	if err != nil {
		return nil, nil, err
	}
	lvs, err := g.pick(w, f.at, f.hidden)
	if err == nil {
		a.warn(slices.Concat(failures(g.Result.Findings), lvs[0].vg.Findings))
		lvs, err = a.readable(lvs)
	}
	if err != nil {
		g.Close()
		return nil, nil, err
	}
	return g, lvs, nil
}

// readable drops the LVs that no plan could be made for, with a warning. It is an error
// when none is left.
func (a *app) readable(lvs []*assessed) ([]*assessed, error) {
	var errs []error
	var left []*assessed
	for _, s := range lvs {
		if s.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name(), s.err))
			continue
		}
		left = append(left, s)
	}
	if len(left) == 0 {
		return nil, errors.Join(errs...)
	}
	for _, err := range errs {
		say(a.err, "warning: ", err.Error())
	}
	return left, nil
}

// protectedAll lists what must not be written over while these LVs are read.
func (g *gathered) protectedAll(lvs []*assessed, named bool) ([]block.Identity, error) {
	var keep []block.Identity
	for _, s := range lvs {
		ids, err := g.protected(s, named)
		if err != nil || named { // then it is the same for each
			return ids, err
		}
		keep = append(keep, ids...)
	}
	return keep, nil
}

// distinct gives each LV a name, no two alike.
func distinct(lvs []*assessed, name func(*assessed) string) []string {
	names := make([]string, len(lvs))
	taken := map[string]bool{}
	for i, s := range lvs {
		names[i] = name(s)
		if taken[names[i]] { // two LVs of one name: two VGs of one name, or a damaged or forged text
			names[i] += "-" + fileName(string(s.lv.ID))
		}
		taken[names[i]] = true
	}
	return names
}

// fileName makes a file's name of an LV's, which comes from the disk: what lvm2 would not
// let be part of a name is written as %XX.
func fileName(lv string) string {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-"
	const most = 200
	var b strings.Builder
	for i := 0; i < len(lv) && b.Len() < most; i++ {
		if c := lv[i]; strings.IndexByte(safe, c) >= 0 && (c != '.' && c != '-' || i > 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
