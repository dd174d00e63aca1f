package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate/export"
	"github.com/lvrescue/lvrescue/activate/mount"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/scan/block"
)

type mountOptions struct {
	offerFlags
	everybody bool
}

func newMount(a *app) *cobra.Command {
	var o mountOptions
	cmd := &cobra.Command{
		Use:   "mount VG|VG/LV... DIR [SOURCE...]",
		Short: "Show LVs as files in a directory",
		Long: `Show each LV of a VG as a file in the directory DIR, which must be empty, until interrupted or
unmounted. The files are read-only; a read that touches a lost byte fails with an I/O error. Where
something is lost or doubtful, LV.map beside the file LV says where: the mapfile that an export
would have.

A file can be copied, hashed, searched, or attached as a read-only loop device. DIR is a FUSE
directory: root needs nothing else for it, other users the program fusermount3.`,
		Example:     "  lvrescue mount vg0 /mnt/vg0 disks/\n  mount -o ro,loop,noload /mnt/vg0/home /mnt/home\n  umount /mnt/vg0",
		Annotations: ends("it was unmounted", ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMount(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.offerFlags.add(fs)
	fs.BoolVar(&o.everybody, "everybody", false, "let all users of this machine read")
	return cmd
}

func runMount(ctx context.Context, a *app, o *mountOptions, args []string) error {
	w, rest, err := splitLVs(args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return usagef("the directory comes behind the VG or LVs, the sources behind it", "no directory was named to mount on")
	}
	dir, sources := rest[0], rest[1:]
	if err := mustBeEmpty(dir); err != nil {
		return err
	}
	g, lvs, err := a.gatherLVs(ctx, &o.offerFlags, w, sources)
	if err != nil {
		return err
	}
	defer g.Close()
	files, rows := o.files(lvs, dir)
	m, err := mount.New(dir, files, mount.Options{Everybody: o.everybody})
	if err != nil {
		return hinted(err, "as another user than root, the program fusermount3 must be installed; lvrescue serve needs nothing")
	}
	unmounted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(unmounted)
		a.unmount(m, dir)
	})
	defer func() {
		if !stop() {
			<-unmounted // it may have something to say
		}
	}()
	if a.json {
		err = a.printJSON(g, append(slices.Clone(lvs[0].vg.Findings), g.Result.Findings...), reportRows{Mount: rows})
	} else {
		err = a.printMounted(lvs, rows, dir)
	}
	if err != nil {
		a.unmount(m, dir)
	}
	return errors.Join(err, m.Wait())
}

// unmount takes the directory away, if nobody else has.
func (a *app) unmount(m *mount.Mount, dir string) {
	inUse, err := m.Unmount()
	switch {
	case err != nil:
		say(a.err, "warning: ", fmt.Sprintf("%s could not be unmounted: %v; umount -l takes it away", dir, err))
	case inUse:
		say(a.err, "", dir+" is unmounted, but files of it are in use: waiting until they are closed (Ctrl-C again ends at once)")
	}
}

// mustBeEmpty refuses a directory whose files the mount would hide.
func mustBeEmpty(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return hinted(fmt.Errorf("there is no directory %s to mount on", dir), "make it first; the directory comes behind the VG, the sources behind it")
	}
	if err != nil {
		return fmt.Errorf("%s cannot be mounted on: %w", dir, err)
	}
	if len(list) > 0 {
		return fmt.Errorf("%s is not empty: choose an empty directory", dir)
	}
	return nil
}

// mountRow tells of one file of a mount.
type mountRow struct {
	LV     string `json:"lv_full_name"`
	File   string `json:"rescue_file"`
	Map    string `json:"rescue_map,omitempty"`
	Size   int64  `json:"lv_size"`
	Health string `json:"rescue_health"`
	Bad    int64  `json:"rescue_bad"`
	Doubt  int64  `json:"rescue_doubtful"`
}

// files names a file for each LV, and one for its map where something is bad or doubtful.
func (o *mountOptions) files(lvs []*assessed, dir string) (files []mount.File, rows []mountRow) {
	taken := map[string]bool{}
	for i, name := range distinct(lvs, func(s *assessed) string { return fileName(s.lv.Name) }) {
		s := lvs[i]
		files = append(files, mount.File{Name: name, Dev: s.dev})
		rows = append(rows, mountRow{LV: s.name(), File: filepath.Join(dir, name), Size: s.dev.Size(), Health: string(s.health), Bad: s.totals.Bad, Doubt: s.totals.Doubtful})
		taken[name] = true
	}
	for i, s := range lvs {
		name := files[i].Name + ".map"
		if s.totals.Whole() || taken[name] {
			continue // an LV has the name; export writes the map
		}
		var text mapText
		if _, err := export.MapOf(s.dev, volume.Fingerprint(s.plan)).WriteTo(&text); err != nil {
			continue // as above
		}
		files = append(files, mount.File{Name: name, Dev: textDevice{bytes.NewReader(text.Bytes())}})
		rows[i].Map = filepath.Join(dir, name)
	}
	return files, rows
}

// maxMapText bounds the text of a map that is held in memory, in bytes.
const maxMapText = 32 << 20

// mapText takes the text of a map, unless it is too long.
type mapText struct{ bytes.Buffer }

func (t *mapText) Write(p []byte) (int, error) {
	if t.Len()+len(p) > maxMapText {
		return 0, bytes.ErrTooLarge
	}
	return t.Buffer.Write(p)
}

// textDevice is a text as a device.
type textDevice struct{ *bytes.Reader }

func (d textDevice) Extents(off, n int64) iter.Seq[block.Extent] {
	return func(yield func(block.Extent) bool) {
		if lo, hi := block.Clip(d.Size(), off, n); lo < hi {
			yield(block.Extent{Off: lo, Len: hi - lo})
		}
	}
}

func (a *app) printMounted(lvs []*assessed, rows []mountRow, dir string) error {
	t := render.Table{Columns: []render.Column{render.Left("File"), render.Right("Size"), render.Left("Health"), render.Left("")}}
	for i, r := range rows {
		t.Add(r.File, a.size(r.Size), r.Health, lvs[i].reason(a))
	}
	if err := t.Write(a.out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\nMounted until interrupted (Ctrl-C), or: %s\n", commandLine("umount", dir))
	return err
}
