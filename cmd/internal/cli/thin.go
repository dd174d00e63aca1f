package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

type thinOptions struct {
	evidenceFlags
	at       string
	format   string
	doubtful bool
}

func newThin(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "thin",
		Short: "Look into the metadata of thin pools, damaged ones too",
		Long: `Look into the metadata of thin pools, in which the places of all thin LVs stand: say what of it is
damaged, or print it. Nothing is repaired; what can be read of thin LVs is read by lvrescue export.`,
		Example: "  lvrescue thin check vg0/pool disks/\n  lvrescue thin map vg0/pool disks/",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newThinCheck(a), newThinMap(a))
	return cmd
}

func newThinCheck(a *app) *cobra.Command {
	var o thinOptions
	cmd := &cobra.Command{
		Use:   "check VG/POOL [SOURCE...]",
		Short: "Say what is damaged in a thin pool's metadata, and what that costs",
		Long: `Read every block of a thin pool's metadata, and say in plain words what is damaged, what was
found again and what is lost of each thin device. With -v each damaged block is listed.`,
		Example:     "  lvrescue thin check vg0/pool disks/\n  lvrescue thin check vg0/pool -v --thin guess disks/",
		Annotations: ends("the metadata is intact", "it is damaged"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runThin(cmd.Context(), a, &o, args, a.thinCheck)
		},
	}
	o.add(cmd.Flags())
	cmd.Flags().StringVar(&o.at, "at", "", "look at an older `SEQNO`; see lvrescue history")
	return cmd
}

func newThinMap(a *app) *cobra.Command {
	var o thinOptions
	cmd := &cobra.Command{
		Use:   "map VG/POOL|VG/LV [SOURCE...]",
		Short: "Print which block of the data holds which part of each thin device",
		Long: `Print the mappings of a thin pool, or of one thin LV, in runs of blocks of the pool's chunk size.

With --format xml the output is what thin_dump prints and thin_restore reads: a pool can be
built from it on other disks. Lost ranges are not in it; doubtful ones only with --doubtful.`,
		Example:     "  lvrescue thin map vg0/pool disks/\n  lvrescue thin map vg0/pool --format xml disks/ >pool.xml && thin_restore -i pool.xml -o tmeta.new",
		Annotations: ends("all mappings are sure", "some are lost or doubtful"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch o.format {
			case "text", "json", "xml":
			default:
				return usagef("", "--format %q: expected text, json or xml", o.format)
			}
			return runThin(cmd.Context(), a, &o, args, func(p *thinShown) error { return a.thinMap(&o, p) })
		},
	}
	o.add(cmd.Flags())
	fs := cmd.Flags()
	fs.StringVar(&o.at, "at", "", "look at an older `SEQNO`; see lvrescue history")
	fs.StringVar(&o.format, "format", "text", "how to print them: `text|json|xml`")
	fs.BoolVar(&o.doubtful, "doubtful", false, "with --format xml: doubtful mappings too")
	complete(cmd, "format", "text", "json", "xml")
	return cmd
}

// thinShown is a pool, and what was found in its metadata.
type thinShown struct {
	*activate.ThinPool
	g      *gathered
	vg     *rebuild.VG
	found  *salvage.Pool
	device *uint32 // the only one wanted; nil: all
}

// runThin finds the pool that the user named, and what is left of its metadata.
func runThin(ctx context.Context, a *app, o *thinOptions, args []string, show func(*thinShown) error) error {
	if len(args) == 0 {
		return usagef("lvrescue lvs lists the LVs", "no pool was named: expected VG/POOL")
	}
	name, err := rebuild.ParseLVName(args[0])
	if err != nil {
		return usagef("lvrescue lvs lists the LVs", "%w", err)
	}
	g, err := a.gather(ctx, &o.evidenceFlags, args[1:], true)
	if err != nil {
		return err
	}
	defer g.Close()
	group, err := g.FindLV(name)
	if err != nil {
		return err
	}
	vg, err := at(group, o.at)
	if err != nil {
		return err
	}
	lv, err := vg.LV(name.LV)
	if err != nil {
		return err
	}
	a.warn(vg.Findings)
	pool, err := activate.NewThinPool(vg, lv, volume.OpenVolume)
	if err != nil {
		return hinted(err, "lvrescue lvs %s tells the type of each LV", vg.Meta.Name)
	}
	found, err := pool.Salvage()
	if err != nil {
		return fmt.Errorf("pool %s/%s: %w", vg.Meta.Name, pool.LV.Name, err)
	}
	p := &thinShown{ThinPool: pool, g: g, vg: vg, found: found}
	for id, l := range pool.LVs {
		if l == lv {
			p.device = &id
		}
	}
	return show(p)
}

// name is how a thin device is called: as its LV, or by its id.
func (p *thinShown) name(id uint32) string {
	if lv := p.LVs[id]; lv != nil {
		return p.vg.Meta.Name + "/" + lv.Name
	}
	return fmt.Sprintf("device %d, which no LV is", id)
}

// ids lists the devices that are wanted.
func (p *thinShown) ids() []uint32 {
	ids := slices.Sorted(maps.Keys(p.found.Devices))
	if p.device == nil {
		return ids
	}
	return slices.DeleteFunc(ids, func(id uint32) bool { return id != *p.device })
}

// runs are a device's mappings, in order. What lies behind the end of its LV is told of only
// where it is mapped: the rest of a reduced LV.
func (p *thinShown) runs(id uint32) iter.Seq[thin.Run] {
	dev, _ := p.found.Device(id)
	const all = ^uint64(0) >> 1
	last := uint64(all)
	if lv := p.LVs[id]; lv != nil && p.found.ChunkSize > 0 {
		for _, s := range lv.Segments {
			if end := (s.StartExtent + s.ExtentCount) * p.vg.Meta.ExtentSize * block.SectorSize; end > 0 {
				last = uint64((end - 1) / p.found.ChunkSize)
			}
		}
	}
	return func(yield func(thin.Run) bool) {
		for r := range dev.Runs(0, all) {
			if r.State != thin.Mapped && r.First <= last {
				r.Last = min(r.Last, last)
			}
			if (r.State == thin.Mapped || r.First <= last) && !yield(r) {
				return
			}
		}
	}
}

// mappingRow is a run of a thin device in --json; numbers are blocks.
type mappingRow struct {
	Device uint32  `json:"thin_id"`
	LV     string  `json:"lv_name,omitempty"`
	Block  uint64  `json:"block"`
	Length uint64  `json:"length"`
	State  string  `json:"state"` // mapped, hole or lost
	Data   *uint64 `json:"data_block,omitempty"`
	Time   *uint32 `json:"time,omitempty"`
	Why    string  `json:"why,omitempty"` // it is lost, or doubtful
	Doubt  bool    `json:"doubtful,omitempty"`
}

func (a *app) thinMap(o *thinOptions, p *thinShown) error {
	partial := p.found.Partial != ""
	var err error
	switch {
	case o.format == "xml":
		err = a.thinXML(o, p, &partial)
	case a.json || o.format == "json":
		err = a.thinJSON(p, &partial)
	default:
		err = a.thinText(p, &partial)
	}
	if err == nil && partial {
		return errPartial
	}
	return err
}

// thinXML prints what thin_restore reads. mapped_blocks is what is printed, and a device
// whose details are lost gets the pool's time as that of its last snapshot: the kernel then
// shares its blocks rather than writes to them.
func (a *app) thinXML(o *thinOptions, p *thinShown, partial *bool) error {
	sb := p.found.Superblock
	if sb.DataBlocks == 0 {
		sb.DataBlocks = uint64(p.Data.Size / sb.ChunkSize)
	}
	d := thin.NewDump(a.out, sb)
	wanted := func(r thin.Run) bool { return r.State == thin.Mapped && (r.Doubt == "" || o.doubtful) }
	for _, id := range p.ids() {
		known := thin.Details{Created: sb.Time, Snapped: sb.Time}
		if k := p.found.Devices[id].Known; k != nil {
			known = *k
		}
		known.Mapped = 0
		for r := range p.runs(id) {
			*partial = *partial || r.State == thin.Lost || r.Doubt != ""
			if wanted(r) {
				known.Mapped += r.Last - r.First + 1
			}
		}
		d.Device(id, known)
		for r := range p.runs(id) {
			if wanted(r) {
				d.Run(r)
			}
		}
		d.EndDevice()
	}
	return d.Close()
}

// thinJSON prints one object with a row a run, without ever having all of them.
func (a *app) thinJSON(p *thinShown, partial *bool) error {
	w := bufio.NewWriter(a.out)
	fmt.Fprintf(w, "{\n  \"report\": [{\"rescue_mapping\": [")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	between := "\n"
	for _, id := range p.ids() {
		for r := range p.runs(id) {
			row := mappingRow{Device: id, Block: r.First, Length: r.Last - r.First + 1, State: r.State.String(), Why: r.Doubt, Doubt: r.Doubt != ""}
			if lv := p.LVs[id]; lv != nil {
				row.LV = lv.Name
			}
			switch r.State {
			case thin.Mapped:
				row.Data, row.Time = &r.Data, &r.Time
			case thin.Lost:
				row.Why = r.Err.Error()
			}
			*partial = *partial || r.State == thin.Lost || r.Doubt != ""
			w.WriteString(between)
			if err := e.Encode(row); err != nil {
				return err
			}
			between = ","
		}
	}
	about, err := json.Marshal(about{Version: version(), Schema: jsonSchema, Sources: []sourceRow{}, Findings: []findingRow{}})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "]}],\n  \"lvrescue\": %s\n}\n", about)
	return w.Flush()
}

// thinText prints a table of each device, as it goes.
func (a *app) thinText(p *thinShown, partial *bool) error {
	w := bufio.NewWriter(a.out)
	for _, id := range p.ids() {
		fmt.Fprintln(w, render.Paragraph("", fmt.Sprintf("Thin device %d, %s, in blocks of %s:", id, p.name(id), a.size(p.found.ChunkSize))))
		fmt.Fprintf(w, "  %12s  %12s  %12s  %8s\n", "Block", "Blocks", "Data block", "Time")
		for r := range p.runs(id) {
			*partial = *partial || r.State == thin.Lost || r.Doubt != ""
			at, time, why := r.State.String(), "", ""
			switch r.State {
			case thin.Mapped:
				at, time = strconv.FormatUint(r.Data, 10), strconv.FormatUint(uint64(r.Time), 10)
			case thin.Lost:
				why = r.Err.Error()
			}
			if r.Doubt != "" {
				why = "doubtful: " + r.Doubt
			}
			line := fmt.Sprintf("  %12d  %12d  %12s  %8s  %s", r.First, r.Last-r.First+1, at, time, render.Printable(why))
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
	}
	return w.Flush()
}
