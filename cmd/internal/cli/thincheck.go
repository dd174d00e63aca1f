package cli

import (
	"fmt"
	"strconv"

	"github.com/lvrescue/lvrescue/cmd/internal/render"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// thinCheckRow is what thin check found of a pool, in --json.
type thinCheckRow struct {
	Pool        string          `json:"lv_name"`
	Superblock  string          `json:"superblock"` // "intact", or what is wrong with it
	Transaction uint64          `json:"transaction_id"`
	InVG        int64           `json:"vg_transaction_id"`
	Blocks      uint64          `json:"metadata_blocks"`
	Nodes       uint64          `json:"nodes"`
	Unread      uint64          `json:"unread"`
	Notes       []string        `json:"notes"`
	Damaged     []damagedRow    `json:"damaged"`
	Conflicts   []conflictRow   `json:"conflicts"`
	DataMap     dataMapRow      `json:"data_map"`
	Devices     []thinDeviceRow `json:"devices"`
}

// conflictRow is a block of the data that two mappings claim.
type conflictRow struct {
	Data  uint64 `json:"data_block"`
	Block uint64 `json:"block"`
	Time  uint32 `json:"time"`
	Other uint64 `json:"other_block"`
	Since uint32 `json:"other_time"`
}

// dataMapRow is what the space map of the data says otherwise than the mappings, in blocks
// of the data.
type dataMapRow struct {
	Free    uint64 `json:"used_but_free"`
	Fewer   uint64 `json:"counted_too_low"`
	More    uint64 `json:"counted_too_high"`
	Leaked  uint64 `json:"leaked"`
	Unknown uint64 `json:"unknown"`
	Skipped string `json:"skipped,omitempty"` // why not all was counted
}

type damagedRow struct {
	Block  uint64 `json:"metadata_block"`
	Offset int64  `json:"offset"` // bytes, in the metadata
	Text   string `json:"text"`
}

type thinDeviceRow struct {
	ID       uint32   `json:"thin_id"`
	LV       string   `json:"lv_name,omitempty"`
	Mapped   uint64   `json:"mapped"`
	Known    *uint64  `json:"remembered"` // null when the pool does not tell
	Doubtful uint64   `json:"doubtful"`
	Lost     uint64   `json:"lost_blocks"` // of which nothing is known
	Notes    []string `json:"notes"`
}

func (a *app) thinCheck(p *thinShown) error {
	row := thinCheckRow{Pool: p.vg.Meta.Name + "/" + p.LV.Name, Superblock: "intact", Transaction: p.found.TransactionID, InVG: p.Fields.TransactionID,
		Blocks: p.found.Counts.Blocks, Nodes: p.found.Counts.Nodes, Unread: p.found.Counts.Unread, Notes: list(p.found.Notes), Damaged: []damagedRow{}, Devices: []thinDeviceRow{}}
	if p.found.SuperErr != nil {
		row.Superblock = p.found.SuperErr.Error()
	}
	for _, n := range p.Notes {
		row.Notes = append(row.Notes, n.Text)
	}
	if p.found.Partial != "" {
		row.Notes = append(row.Notes, "there may be thin devices that are not listed here: "+p.found.Partial)
	}
	for _, d := range p.found.Damage() {
		row.Damaged = append(row.Damaged, damagedRow{d.Block, int64(d.Block) * 4096, d.Text})
	}
	a.thinConflicts(p, &row)
	danger := row.checkDataMap(p.found.DataMap())
	whole := !danger && p.found.SuperErr == nil && len(row.Damaged)+len(row.Conflicts) == 0 && p.found.Partial == ""
	for _, id := range p.ids() {
		d := p.found.Devices[id]
		r := thinDeviceRow{ID: id, Notes: list(d.Notes)}
		if lv := p.LVs[id]; lv != nil {
			r.LV = lv.Name
		}
		if d.Known != nil {
			r.Known = &d.Known.Mapped
		}
		for run := range p.runs(id) {
			n := run.Last - run.First + 1
			switch {
			case run.State == thin.Lost:
				r.Lost += n
			case run.State == thin.Mapped && run.Doubt != "":
				r.Doubtful += n
			case run.State == thin.Mapped:
				r.Mapped += n
			}
		}
		whole = whole && r.Lost == 0 && r.Doubtful == 0
		row.Devices = append(row.Devices, r)
	}
	for id, lv := range p.LVs {
		if p.found.Devices[id] == nil {
			whole = false
			row.Notes = append(row.Notes, fmt.Sprintf("the pool's metadata has no thin device %d, which LV %s is", id, lv.Name))
		}
	}
	var err error
	if a.json {
		err = a.printJSON(p.g, append(p.vg.Findings, p.g.Result.Findings...), reportRows{Thin: []thinCheckRow{row}})
	} else {
		err = a.printThinCheck(p, row, whole)
	}
	if err == nil && !whole {
		return errPartial
	}
	return err
}

// thinConflicts looks for blocks of the data that two places claim.
func (a *app) thinConflicts(p *thinShown, row *thinCheckRow) {
	row.Conflicts = []conflictRow{}
	conflicts, ok := p.found.Conflicts(uint64(p.Data.Size / p.found.ChunkSize))
	if !ok {
		row.Notes = append(row.Notes, "the data has too many blocks to look for any that is claimed twice")
	}
	for _, c := range conflicts {
		row.Conflicts = append(row.Conflicts, conflictRow{c.Data, c.Block, c.Time, c.Other, c.Since})
	}
}

// checkDataMap puts what the space map of the data says otherwise than the mappings into
// words, and says whether the pool would write over data that is in use.
func (row *thinCheckRow) checkDataMap(m *salvage.DataMap) (danger bool) {
	row.DataMap = dataMapRow{m.Free.Blocks, m.Fewer.Blocks, m.More.Blocks, m.Leaked.Blocks, m.Unknown, m.Skipped}
	for _, n := range []struct {
		salvage.Miscounted
		what string
	}{
		{m.Free, "in use and marked free in the space map: a pool that is written to gives them to others"},
		{m.Fewer, "used more often than the space map counts: once some of the thin LVs are removed, others lose them"},
		{m.More, "used less often than the space map counts: nothing is lost, the pool will not get them back"},
		{m.Leaked, "marked used in the space map though nothing maps them: nothing is lost, the pool has leaked them"},
	} {
		if n.Blocks > 0 {
			row.Notes = append(row.Notes, fmt.Sprintf("%s of the data, the first of them %d: %s", count(int(n.Blocks), "block"), n.First, n.what))
		}
	}
	if m.Unknown > 0 {
		row.Notes = append(row.Notes, fmt.Sprintf("how often %s of the data are used cannot be held against the space map, of which that part cannot be read", count(int(m.Unknown), "block")))
	}
	return m.Free.Blocks+m.Fewer.Blocks+m.Unknown > 0
}

func (a *app) printThinCheck(p *thinShown, row thinCheckRow, whole bool) error {
	state := "its metadata is intact"
	if !whole {
		state = "its metadata is damaged"
	}
	super := "is intact"
	if p.found.SuperErr != nil {
		super = "cannot be used"
	}
	fmt.Fprintln(a.out, render.Paragraph("", fmt.Sprintf("Pool %s: %s. The superblock %s; transaction %d, %d by the VG; %d blocks, %d nodes of trees, %s.",
		row.Pool, state, super, row.Transaction, row.InVG, row.Blocks, row.Nodes, count(len(row.Damaged), "damaged block"))))
	for _, n := range row.Notes {
		fmt.Fprintln(a.out, render.Paragraph("  ! ", n))
	}
	const most = 10
	for i, d := range row.Damaged {
		if i == most && !a.verbose {
			fmt.Fprintf(a.out, "  … and %d more damaged blocks: -v lists them\n", len(row.Damaged)-i)
			break
		}
		fmt.Fprintln(a.out, render.Paragraph("  - ", d.Text))
	}
	for i, c := range row.Conflicts {
		if i == most && !a.verbose {
			fmt.Fprintf(a.out, "  … and %d more blocks of data that are claimed twice: -v lists them\n", len(row.Conflicts)-i)
			break
		}
		fmt.Fprintln(a.out, render.Paragraph("  - ", fmt.Sprintf("block %d of the data is claimed twice, which no snapshot explains: as block %d of a thin device, mapped at time %d, and as block %d, at time %d",
			c.Data, c.Block, c.Time, c.Other, c.Since)))
	}
	t := render.Table{Columns: []render.Column{render.Right("Id"), render.Left("LV"), render.Right("Sure"), render.Right("Of"),
		render.Right("Doubtful"), render.Right("Unknown"), render.Left("")}}
	for _, d := range row.Devices {
		of, notes := "?", ""
		if d.Known != nil {
			of = strconv.FormatUint(*d.Known, 10)
		}
		for _, n := range d.Notes {
			if notes != "" {
				notes += "; "
			}
			notes += n
		}
		unknown := strconv.FormatUint(d.Lost, 10)
		if d.LV == "" && d.Lost > 1<<40 {
			unknown = "the rest"
		}
		t.Add(strconv.FormatUint(uint64(d.ID), 10), d.LV, strconv.FormatUint(d.Mapped, 10), of, strconv.FormatUint(d.Doubtful, 10), unknown, notes)
	}
	return a.printTable(&t)
}
