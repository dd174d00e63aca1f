package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/carve"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/guess"
	"github.com/lvrescue/lvrescue/scan"
)

type guessOptions struct {
	caseDir string
	maps    []string
}

func newGuess(a *app) *cobra.Command {
	var o guessOptions
	cmd := &cobra.Command{
		Use:   "guess SOURCE...",
		Short: "Propose a layout where no metadata is left, by the filesystems",
		Long: `Search the sources for filesystems, and print an lvm2 text that has an LV for each: for when not
one metadata text is left. Sizes are what the filesystems say; copies of their superblocks tell
where a filesystem goes on elsewhere. RAID LVs are put together by the superblocks of their
legs, and by what must agree on them; stripes by blocks that know their place. Comments say how sure each LV is: correct what you know
better, and name the file with --backup.

With --case, what a search of the disks has found is used, and they are not read again.`,
		Example:     "  lvrescue guess disk.img > guess.vg\n  lvrescue scan --backup guess.vg --assume UUID=disk.img disk.img",
		Annotations: ends("a layout was printed", "a layout was printed, but some of it is weak, or a source could not be read"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runGuess(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.caseDir, "case", "", "use what was carved into the case `DIR`")
	fs.StringArrayVar(&o.maps, "map", nil, "a source and its ddrescue mapfile: `SOURCE=MAPFILE`")
	return cmd
}

// guessRow is a volume that is proposed as an LV.
type guessRow struct {
	LV     string          `json:"lv_name"`
	Size   int64           `json:"lv_size"`
	Format string          `json:"format"`
	UUID   string          `json:"uuid"`
	Label  string          `json:"label"`
	Sure   guess.Sureness  `json:"sure"`
	Notes  []string        `json:"notes"`
	Pieces []guessPieceRow `json:"pieces,omitempty"`
	Type   string          `json:"segtype,omitempty"` // of what has legs
	Chunk  int64           `json:"stripe_size,omitempty"`
	Legs   []guessLegRow   `json:"legs,omitempty"`
}

// guessLegRow is a leg of a volume; one that was not found has no source.
type guessLegRow struct {
	Source string `json:"source,omitempty"`
	At     int64  `json:"source_offset"`
	Length int64  `json:"length"`
}

type guessPieceRow struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Source string `json:"source"`
	At     int64  `json:"source_offset"`
}

func runGuess(ctx context.Context, a *app, o *guessOptions, args []string) error {
	if len(args) == 0 && o.caseDir == "" {
		return usagef("name image files, block devices, or directories of images", "no source was named")
	}
	maps, err := parseMaps(o.maps)
	if err != nil {
		return err
	}
	var found *carve.Case
	if o.caseDir != "" {
		if found, err = carve.Open(o.caseDir); err != nil {
			return err
		}
		if len(args) == 0 {
			args = found.Present()
		}
	}
	ev, err := scan.Run(ctx, args, scan.Options{Maps: maps})
	if err != nil {
		return err
	}
	defer ev.Close()
	if err := unopened(ev, true); err != nil {
		return err
	}
	if found != nil {
		found.Add(ev, false)
	} else if err := a.searchSigns(ctx, ev); err != nil {
		return err
	}
	a.warn(failures(ev.Findings))
	if len(ev.Copies) > 0 {
		say(a.err, "warning: ", fmt.Sprintf("metadata of LVM is left on %s: lvrescue scan tells more than a guess", ev.Copies[0].Source.Name))
	}
	l := guess.Guess(ev.Signs)
	if len(l.Volumes) == 0 {
		return hinted(fmt.Errorf("no filesystem was found on %s", count(len(ev.Sources), "source")),
			"only ext, XFS, Btrfs, GFS2, VxFS, FAT, NTFS, swap, LUKS and RAID LVs are known")
	}
	var text bytes.Buffer
	if err := l.Write(&text); err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(&gathered{Evidence: ev}, ev.Findings, reportRows{Guess: guessRows(l), Text: text.String()})
	} else {
		_, err = a.out.Write(text.Bytes())
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.Volumes, func(v *guess.Volume) bool { return v.Sure == guess.Weak }) {
		return errPartial
	}
	return verdict(nil, ev.Sources)
}

// searchSigns looks for superblocks all over the sources.
func (a *app) searchSigns(ctx context.Context, ev *scan.Evidence) error {
	for _, s := range ev.Sources {
		if s.Dev == nil || s.Foreign {
			continue
		}
		var progress func(int64)
		closeProgress := func() {}
		if !a.quiet {
			p := render.NewProgress(a.err, s.Name, s.Dev.Size())
			progress, closeProgress = func(done int64) { p.Set(done) }, p.Close
		}
		signs, err := guess.Search(ctx, s, progress)
		closeProgress()
		if err != nil {
			return err
		}
		ev.Signs = append(ev.Signs, signs...)
	}
	return nil
}

func guessRows(l *guess.Layout) []guessRow {
	var rows []guessRow
	for _, v := range l.Volumes {
		row := guessRow{LV: v.Name, Size: v.Size, Format: v.Sign.Format, UUID: v.Sign.UUID, Label: v.Sign.Label, Sure: v.Sure, Notes: append([]string{}, v.Notes...)}
		if s := v.Striping; s != nil {
			row.Type, row.Chunk = s.Type, s.Chunk
			for _, leg := range s.Legs {
				r := guessLegRow{At: leg.At, Length: leg.Len}
				if leg.Source != nil {
					r.Source = leg.Source.Name
				}
				row.Legs = append(row.Legs, r)
			}
		}
		for _, p := range v.Pieces {
			row.Pieces = append(row.Pieces, guessPieceRow{p.Off, p.Len, p.Source.Name, p.At})
		}
		rows = append(rows, row)
	}
	return rows
}
