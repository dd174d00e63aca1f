package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lvrescue/lvrescue/activate/nbd"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/scan/block"
)

type serveOptions struct {
	offerFlags
	overlay string
	socket  string
	listen  string
	expose  bool
}

func newServe(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve VG|VG/LV... [SOURCE...]",
		Short: "Serve LVs over NBD, to nbd-client, qemu and libnbd",
		Long: `Serve LVs as network block devices until interrupted, without root, device-mapper or
an image file: each LV is an export named VG/LV. Any number of clients may read at once.

A read that touches a lost byte fails with an I/O error; none is ever made up. Clients can ask
where that will be: the metadata context lvrescue:damage says 1 for lost and 2 for doubtful
ranges, base:allocation tells of holes.

With --overlay clients can write too: what they write goes to files in DIR, and is there again
the next time; the sources stay as they are. So a filesystem can replay its journal, or fsck run.
A sector that was written is good from then on. DIR can be deleted when it is not needed any more.

The server listens on a socket that only you can open. With --listen it listens on TCP, where
everybody who reaches the address can read: NBD has no passwords, so that addresses other than
those of this machine itself take --expose as well.`,
		Example: "  lvrescue serve vg0/home disks/\n  lvrescue serve vg0 --socket /tmp/vg0.sock disks/\n" +
			"  nbdcopy 'nbd+unix:///vg0/home?socket=/tmp/vg0.sock' home.img\n" +
			"  nbdinfo --map=lvrescue:damage 'nbd+unix:///vg0/home?socket=/tmp/vg0.sock'\n" +
			"  nbd-client -unix /tmp/vg0.sock -N vg0/home -readonly /dev/nbd0\n" +
			"  lvrescue serve vg0/home --overlay /var/tmp/fsck disks/\n" +
			"  lvrescue serve vg0/home --listen 127.0.0.1:10809 disks/",
		Annotations: ends("", ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runServe(cmd.Context(), a, &o, args)
		},
	}
	fs := cmd.Flags()
	o.offerFlags.add(fs)
	fs.StringVar(&o.overlay, "overlay", "", "take what clients write, into files in `DIR`")
	fs.StringVar(&o.socket, "socket", "", "listen on the unix socket `PATH` instead of one in $XDG_RUNTIME_DIR, /run or /tmp")
	fs.StringVar(&o.listen, "listen", "", "listen on TCP at `ADDRESS:PORT`, such as 127.0.0.1:10809")
	fs.BoolVar(&o.expose, "expose", false, "let --listen be an address that other machines can reach")
	return cmd
}

func runServe(ctx context.Context, a *app, o *serveOptions, args []string) error {
	w, sources, err := splitLVs(args)
	if err != nil {
		return err
	}
	if err := o.checkListen(); err != nil {
		return err
	}
	g, lvs, err := a.gatherLVs(ctx, &o.offerFlags, w, sources)
	if err != nil {
		return err
	}
	defer g.Close()
	var exports []nbd.Export
	for i, name := range distinct(lvs, (*assessed).safeName) {
		exports = append(exports, nbd.Export{Name: name, Description: a.describe(lvs[i]), Dev: lvs[i].dev})
	}
	keep, err := g.protectedAll(lvs, len(sources) > 0)
	if err != nil {
		return err
	}
	var all overlays
	if o.overlay != "" {
		if all, err = a.openOverlays(o.overlay, lvs, exports, keep); err != nil {
			return err
		}
	}
	err = o.serve(ctx, a, g, lvs, exports, all, keep)
	used := all.used()
	if err := errors.Join(err, all.close()); err != nil {
		return err
	}
	if len(all) > 0 && !a.quiet && !a.json {
		say(a.err, "", fmt.Sprintf("the overlays in %s take up %s; the same command goes on with them", o.overlay, a.size(used)))
	}
	return nil
}

// safeName is VG/LV, each fit to be a file's name.
func (s *assessed) safeName() string { return fileName(s.vg.Meta.Name) + "/" + fileName(s.lv.Name) }

// describe says in a line what an LV is worth.
func (a *app) describe(s *assessed) string {
	text := string(s.health)
	if why := s.reason(a); why != "" {
		text += ": " + why
	}
	return text
}

// serve runs the server until it is interrupted.
func (o *serveOptions) serve(ctx context.Context, a *app, g *gathered, lvs []*assessed, exports []nbd.Export, all overlays, keep []block.Identity) error {
	server, err := nbd.NewServer(exports)
	if err != nil {
		return err
	}
	if a.verbose {
		server.Log = func(line string) { say(a.err, "", line) }
	}
	at, err := o.open(keep)
	if err != nil {
		return err
	}
	defer at.close()
	if err := a.printServed(g, lvs, exports, at); err != nil {
		return err
	}
	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error { return a.watch(ctx, all, o.overlay) })
	for _, l := range at.listeners {
		run.Go(func() error { return server.Serve(ctx, l) })
	}
	err = run.Wait()
	if st := server.Stats(); !a.quiet && !a.json {
		say(a.err, "", fmt.Sprintf("served %s: %s read, %s written; %s met lost bytes",
			count(int(st.Clients), "client"), a.size(st.Read), a.size(st.Written), count(int(st.Failed), "read")))
	}
	return err
}

// serveRow tells of one export.
type serveRow struct {
	LV       string `json:"lv_full_name"`
	Export   string `json:"export"`
	URI      string `json:"uri"`
	Size     int64  `json:"lv_size"`
	Health   string `json:"rescue_health"`
	Bad      int64  `json:"rescue_bad"`
	Doubt    int64  `json:"rescue_doubtful"`
	ReadOnly bool   `json:"read_only"`
}

// printServed tells what is served and how to get at it, once clients can.
func (a *app) printServed(g *gathered, lvs []*assessed, exports []nbd.Export, at *place) error {
	var rows []serveRow
	t := render.Table{Columns: []render.Column{render.Left("Export"), render.Right("Size"), render.Left("Health"), render.Left("")}}
	for i, e := range exports {
		s := lvs[i]
		row := serveRow{s.name(), e.Name, at.uri(e.Name), e.Dev.Size(), string(s.health), s.totals.Bad, s.totals.Doubtful, e.Writer == nil}
		rows = append(rows, row)
		t.Add(e.Name, a.size(row.Size), row.Health, s.reason(a))
	}
	if a.json {
		return a.printJSON(g, append(slices.Clone(lvs[0].vg.Findings), g.Result.Findings...), reportRows{Serve: rows})
	}
	if err := t.Write(a.out); err != nil {
		return err
	}
	if exports[0].Writer != nil {
		fmt.Fprintln(a.out, render.Paragraph("\n", "What clients write goes to the overlays; the sources stay as they are."))
	}
	_, err := fmt.Fprintf(a.out, "\nListening on %s until interrupted (Ctrl-C).\n\nNext: %s\n", render.Printable(strings.Join(at.addresses, " and ")),
		commandLine("nbdcopy", rows[0].URI, fileName(lvs[0].lv.Name)+".img"))
	return err
}

// place is where the server can be reached.
type place struct {
	listeners []net.Listener
	addresses []string                   // of the listeners, for people
	uri       func(export string) string // how clients name an export
}

func (p *place) close() {
	for _, l := range p.listeners {
		l.Close()
	}
}

// open opens what the user wants to be listened on.
func (o *serveOptions) open(keep []block.Identity) (*place, error) {
	p := &place{}
	if o.socket != "" || o.listen == "" {
		l, err := listenUnix(o.socket, keep)
		if err != nil {
			return nil, err
		}
		p.listeners, p.addresses = append(p.listeners, l), append(p.addresses, l.path)
		query := "socket=" + strings.NewReplacer("%2F", "/", "&", "%26", "+", "%2B").Replace(url.PathEscape(l.path))
		p.uri = func(name string) string {
			return (&url.URL{Scheme: "nbd+unix", Path: "/" + name, RawQuery: query}).String()
		}
	}
	if o.listen == "" {
		return p, nil
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		p.close()
		return nil, fmt.Errorf("--listen %s: %w", o.listen, err)
	}
	p.listeners, p.addresses = append(p.listeners, l), append(p.addresses, l.Addr().String())
	if p.uri == nil {
		p.uri = func(name string) string {
			return (&url.URL{Scheme: "nbd", Host: l.Addr().String(), Path: "/" + name}).String()
		}
	}
	return p, nil
}

// checkListen refuses an address that others can reach, unless that is wanted.
func (o *serveOptions) checkListen() error {
	if o.listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return usagef("127.0.0.1:10809 is the usual one", "--listen %q: expected ADDRESS:PORT: %w", o.listen, err)
	}
	if ip := net.ParseIP(host); (ip == nil || !ip.IsLoopback()) && !o.expose {
		return usagef("use 127.0.0.1, or add --expose", "--listen %s: whoever reaches that address could read the LVs: NBD has no passwords", o.listen)
	}
	return nil
}
