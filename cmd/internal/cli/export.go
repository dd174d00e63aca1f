package cli

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/export"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/rebuild"
)

type exportOptions struct {
	evidenceFlags
	out    string
	all    bool
	at     string
	resume bool
	force  bool
	fill   string
	hash   string
}

func newExport(a *app) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export VG/LV [SOURCE...] -o FILE | export [VG] [SOURCE...] --all -o DIR",
		Short: "Write an LV to an image file, with a map of what is missing",
		Long: `Read an LV from its disks and write it to a sparse image file.

FILE appears under its name only when it is finished; FILE.part and FILE.part.map before that
let --resume go on after any interruption. When something is lost or doubtful, FILE.map says
where: a ddrescue mapfile in which - is lost (and filled in the image) and / is doubtful.`,
		Example:     "  lvrescue export vg0/home disk1.img disk2.img -o home.img\n  lvrescue export vg0 --all -o rescued/ disks/\n  lvrescue export vg0/home --at 7 --resume -o home.img disks/",
		Annotations: ends("the images are complete", "images were written, but something is lost or doubtful, as FILE.map says, or an LV of several failed"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExport(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.evidenceFlags.add(fs)
	o.addStrict(fs, "--at")
	fs.StringVarP(&o.out, "output", "o", "", "the image `FILE`, or with --all the directory for the images")
	fs.BoolVar(&o.all, "all", false, "export every LV of the VG, to DIR/LV.img")
	fs.StringVar(&o.at, "at", "", "export as of an older `SEQNO`; see lvrescue history")
	fs.BoolVar(&o.resume, "resume", false, "go on with an export that was interrupted")
	fs.BoolVar(&o.force, "force", false, "replace an image that is there, or start over")
	fs.StringVar(&o.fill, "fill", string(export.FillZero), "what stands where bytes are lost: `zero|pattern`")
	fs.StringVar(&o.hash, "hash", "sha256", "`HASHES` of the image: none, sha256, md5 or md5,sha256")
	complete(cmd, "fill", string(export.FillZero), string(export.FillPattern))
	complete(cmd, "hash", "none", "sha256", "md5", "md5,sha256")
	return cmd
}

// check refuses what cannot be meant.
func (o *exportOptions) check(args []string) error {
	switch export.Fill(o.fill) {
	case export.FillZero, export.FillPattern:
	default:
		return usagef("", "--fill %q: expected zero or pattern", o.fill)
	}
	for _, h := range o.hashes() {
		if h != "sha256" && h != "md5" {
			return usagef("", "--hash %q: expected none, sha256, md5 or md5,sha256", o.hash)
		}
	}
	switch {
	case o.out == "":
		return usagef("add -o FILE", "no output was named")
	case o.out == "-":
		return usagef("name a file, or ./- for one of that name", "-o -: an image has holes and a map, and is not written to stdout")
	case o.all:
		return nil
	case len(args) == 0:
		return usagef("lvrescue scan lists the LVs", "no LV was named: expected VG/LV")
	case exists(args[0]) && !strings.HasPrefix(args[0], "/dev/"):
		return usagef("the LV comes first, then the sources; lvrescue scan lists the LVs", "no LV was named: %q is a file", args[0])
	}
	return nil
}

func (o *exportOptions) hashes() []string {
	if o.hash == "none" {
		return nil
	}
	return strings.Split(o.hash, ",")
}

func runExport(ctx context.Context, a *app, o *exportOptions, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	pick, sources, err := o.picker(args)
	if err != nil {
		return err
	}
	g, err := a.gather(ctx, &o.evidenceFlags, sources, o.at != "")
	if err != nil {
		return err
	}
	defer g.Close()
	jobs, err := pick(g)
	if err != nil {
		return err
	}
	return o.run(ctx, a, g, jobs, len(sources) > 0)
}

// exportJob is an LV and the file that it goes to.
type exportJob struct {
	lv   *assessed
	file string
}

// picker splits the arguments into what is to be exported, to be found once the sources
// are known, and the sources.
func (o *exportOptions) picker(args []string) (pick func(*gathered) ([]exportJob, error), sources []string, err error) {
	if o.all {
		vg, sources, err := onlyVG("--all", args)
		if err != nil {
			return nil, nil, err
		}
		return func(g *gathered) ([]exportJob, error) { return o.pickAll(g, vg) }, sources, nil
	}
	name, err := rebuild.ParseLVName(args[0])
	if err != nil {
		return nil, nil, usagef("lvrescue scan lists the LVs; --all -o DIR exports all of a VG", "%w", err)
	}
	return func(g *gathered) ([]exportJob, error) {
		s, err := g.lv(name, o.at)
		if err != nil {
			return nil, err
		}
		return []exportJob{{s, o.out}}, nil
	}, args[1:], nil
}

// lv finds and assesses the LV that the user named, in the version wanted.
func (g *gathered) lv(name rebuild.LVName, version string) (*assessed, error) {
	group, err := g.FindLV(name)
	if err != nil {
		return nil, err
	}
	vg, err := at(group, version)
	if err != nil {
		return nil, err
	}
	if activate.IsOlderThin(name.LV) {
		o, err := activate.FindOlderThin(vg, volume.OpenVolume, name.LV)
		if err != nil {
			return nil, hinted(err, "lvrescue lvs %s --removed -v lists them", group.Name())
		}
		s := assess(vg, o.LV)
		return s, s.err
	}
	lv, err := vg.LV(name.LV)
	if err != nil {
		return nil, hinted(err, "lvrescue lvs %s --removed lists those of older versions", group.Name())
	}
	s := assess(vg, lv)
	return s, s.err
}

// pickAll takes every visible LV of the VG; those of which nothing can be read come last, since
// damaged metadata may make them of any size.
func (o *exportOptions) pickAll(g *gathered, vgName string) ([]exportJob, error) {
	lvs, err := g.wholeVG(vgName, o.at, false)
	if err != nil {
		return nil, err
	}
	var jobs []exportJob
	for i, name := range distinct(lvs, func(s *assessed) string { return fileName(s.lv.Name) }) {
		jobs = append(jobs, exportJob{lvs[i], filepath.Join(o.out, name+".img")})
	}
	lost := func(j exportJob) int {
		if j.lv.health == volume.Lost {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(jobs, func(x, y exportJob) int { return lost(x) - lost(y) })
	return jobs, nil
}
