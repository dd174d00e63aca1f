package cli

import (
	"encoding/json"
	"slices"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// jsonSchema is the version of the object that --json prints. Fields may be added under
// one version; none changes its meaning.
const jsonSchema = 1

// document is what --json prints. The report has the shape and field names of lvm2's
// "--reportformat json_std", with sizes as integers in bytes; fields that lvm2 does not
// have begin with "rescue_".
type document struct {
	Report   []reportRows `json:"report"`
	Lvrescue about        `json:"lvrescue"`
}

// reportRows is one entry of the report: a VG, or what a command did.
type reportRows struct {
	VG      []vgRow        `json:"vg,omitempty"`
	PV      []pvRow        `json:"pv,omitempty"`
	LV      []lvRow        `json:"lv,omitempty"`
	Seg     []segRow       `json:"seg,omitempty"`
	Version []versionRow   `json:"rescue_version,omitempty"`
	Gap     []gapRow       `json:"rescue_gap,omitempty"`
	Kin     []kinRow       `json:"rescue_ancestry,omitempty"`
	Change  []changeRow    `json:"rescue_change,omitempty"`
	Domain  []domainRow    `json:"rescue_domain,omitempty"`
	Verify  []verifyRow    `json:"rescue_verify,omitempty"`
	Carve   []carveRow     `json:"rescue_carve,omitempty"`
	Active  []activeRow    `json:"rescue_active,omitempty"`
	Thin    []thinCheckRow `json:"rescue_thin,omitempty"`
	Step    []stepRow      `json:"rescue_step,omitempty"`
	Serve   []serveRow     `json:"rescue_export,omitempty"`
	Mount   []mountRow     `json:"rescue_mount,omitempty"`
	Guess   []guessRow     `json:"rescue_guess,omitempty"`
	Text    string         `json:"rescue_text,omitempty"` // an lvm2 text
}

type about struct {
	Version  string       `json:"version"`
	Schema   int          `json:"schema"`
	Sources  []sourceRow  `json:"sources"`
	Findings []findingRow `json:"findings"`
}

type sourceRow struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Size    *int64 `json:"size"` // null when it could not be opened
	Mapfile string `json:"mapfile,omitempty"`
	Error   string `json:"error,omitempty"`
}

type findingRow struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Source   string `json:"source,omitempty"`
	Offset   *int64 `json:"offset,omitempty"`
	Text     string `json:"text"`
}

type vgRow struct {
	Name         string   `json:"vg_name"`
	UUID         string   `json:"vg_uuid"`
	Size         int64    `json:"vg_size"`
	Free         int64    `json:"vg_free"`
	ExtentSize   int64    `json:"vg_extent_size"`
	ExtentCount  int64    `json:"vg_extent_count"`
	Seqno        uint32   `json:"vg_seqno"`
	PVCount      int      `json:"pv_count"`
	MissingCount int      `json:"vg_missing_pv_count"`
	LVCount      int      `json:"lv_count"`
	SystemID     string   `json:"vg_systemid"`
	LockType     string   `json:"vg_lock_type"`
	Tags         []string `json:"vg_tags"`
	Version      string   `json:"rescue_version"`
	Written      string   `json:"rescue_written,omitempty"`
	Choice       string   `json:"rescue_choice"`
	Doubt        string   `json:"rescue_doubt,omitempty"`
}

type pvRow struct {
	Name    string   `json:"pv_name"` // "[unknown]" when missing, as in lvm2
	UUID    string   `json:"pv_uuid"`
	VG      string   `json:"vg_name"`
	Format  string   `json:"pv_fmt"`
	Size    int64    `json:"pv_size"`
	Free    int64    `json:"pv_free"`
	DevSize int64    `json:"dev_size"`
	PEStart int64    `json:"pe_start"`
	PECount int64    `json:"pv_pe_count"`
	Missing string   `json:"pv_missing"`
	Tags    []string `json:"pv_tags"`
	Key     string   `json:"rescue_key,omitempty"`
	Offset  *int64   `json:"rescue_offset,omitempty"` // of the PV in its source
	Where   string   `json:"rescue_where,omitempty"`
	Doubt   string   `json:"rescue_doubt,omitempty"`
	Hint    string   `json:"rescue_last_device,omitempty"`
}

type lvRow struct {
	Name    string     `json:"lv_name"`
	UUID    string     `json:"lv_uuid"`
	VG      string     `json:"vg_name"`
	Full    string     `json:"lv_full_name"`
	Size    int64      `json:"lv_size"`
	Tags    []string   `json:"lv_tags"`
	Status  string     `json:"lv_health_status"` // "partial" or "", as in lvm2
	Health  string     `json:"rescue_health"`
	Version string     `json:"rescue_version"`
	Data    int64      `json:"rescue_data"`
	Zero    int64      `json:"rescue_zero"`
	Bad     int64      `json:"rescue_bad"`
	Doubt   int64      `json:"rescue_doubtful"`
	Causes  []causeRow `json:"rescue_causes"`
	Error   string     `json:"rescue_error,omitempty"`
	Notes   []noteRow  `json:"rescue_notes"`
	Plan    []planRow  `json:"rescue_plan,omitempty"`

	File   string            `json:"rescue_file,omitempty"` // of an export
	Map    string            `json:"rescue_map,omitempty"`
	Hashes map[string]string `json:"rescue_hashes,omitempty"`
}

type causeRow struct {
	State  string `json:"state"`
	Why    string `json:"why"`
	Bytes  int64  `json:"bytes"`
	Ranges int    `json:"ranges"`
}

// noteRow is a decision about how the LV, or one below it, is read.
type noteRow struct {
	LV       string `json:"lv"`
	Degraded bool   `json:"degraded"`
	Text     string `json:"text"`
}

type segRow struct {
	LV         string   `json:"lv_name"`
	VG         string   `json:"vg_name"`
	Type       string   `json:"segtype"`
	Start      int64    `json:"seg_start"`
	StartPE    int64    `json:"seg_start_pe"`
	Size       int64    `json:"seg_size"`
	SizePE     int64    `json:"seg_size_pe"`
	Stripes    int      `json:"stripes"`
	StripeSize int64    `json:"stripe_size"`
	Devices    []string `json:"devices"`
	Health     string   `json:"rescue_health"`
}

type planRow struct {
	LV     string   `json:"lv"`
	Off    int64    `json:"offset"`
	Len    int64    `json:"length"`
	Target string   `json:"target"`
	Inputs []string `json:"inputs"`
}

// printJSON prints the object that --json promises. g is nil for commands without sources.
func (a *app) printJSON(g *gathered, findings []scan.Finding, rows ...reportRows) error {
	doc := document{
		Report:   append([]reportRows{}, rows...),
		Lvrescue: about{Version: version(), Schema: jsonSchema, Sources: []sourceRow{}, Findings: []findingRow{}},
	}
	if g != nil {
		for _, s := range g.Sources {
			row := sourceRow{Name: s.Name, Kind: s.Kind, Mapfile: s.Mapfile}
			if s.Dev != nil {
				row.Size = new(s.Dev.Size())
			}
			if s.Err != nil {
				row.Error = s.Err.Error()
			}
			doc.Lvrescue.Sources = append(doc.Lvrescue.Sources, row)
		}
	}
	for _, f := range a.shown(findings) {
		row := findingRow{Severity: f.Severity.String(), Code: f.Code, Source: f.Source, Text: f.Text}
		if f.Offset >= 0 && f.Source != "" {
			row.Offset = &f.Offset
		}
		doc.Lvrescue.Findings = append(doc.Lvrescue.Findings, row)
	}
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

// list makes sure that an empty list is printed as one.
func list(s []string) []string { return append([]string{}, s...) }

func vgRowOf(vg *rebuild.VG, u usage) vgRow {
	m := vg.Meta
	es := m.ExtentSize * block.SectorSize
	row := vgRow{Name: m.Name, UUID: m.ID.String(), ExtentSize: es, Seqno: m.Seqno, PVCount: len(vg.PVs),
		SystemID: m.SystemID, LockType: m.LockType, Tags: list(m.Tags), Version: vg.Version.ID(),
		Choice: vg.Group.Choice, Doubt: vg.Doubt, LVCount: u.visible}
	if !m.CreationTime.IsZero() {
		row.Written = m.CreationTime.UTC().Format(timeLayout)
	}
	for _, p := range vg.PVs {
		row.ExtentCount += p.Meta.PECount
		row.Free += (p.Meta.PECount - u.extents[p.Meta.Key]) * es
		if p.Missing() {
			row.MissingCount++
		}
	}
	row.Size = row.ExtentCount * es
	return row
}

func pvRowOf(vg *rebuild.VG, p *rebuild.PV, u usage) pvRow {
	m := p.Meta
	es := vg.Meta.ExtentSize * block.SectorSize
	row := pvRow{Name: pvName(p), UUID: m.ID.String(), VG: vg.Meta.Name, Format: "lvm2", Key: m.Key,
		Size: m.PECount * es, Free: (m.PECount - u.extents[m.Key]) * es, PECount: m.PECount,
		DevSize: m.DevSize * block.SectorSize, PEStart: m.PEStart * block.SectorSize,
		Tags: list(m.Tags), Doubt: p.Doubt, Hint: m.Device}
	if p.Missing() {
		row.Missing = "missing"
	} else {
		row.Offset, row.Where = &p.Found.Offset, p.Found.Where
	}
	return row
}

// pvName is how a PV is shown: by the place where it was found, or as lvm2 shows a missing
// one.
func pvName(p *rebuild.PV) string {
	if p.Missing() {
		return "[unknown]"
	}
	return p.Found.String()
}

// usage is what a version's LVs take up.
type usage struct {
	extents map[string]int64 // of each PV, by its key
	visible int              // LVs that are not hidden
}

func usageOf(vg *metadata.VG) usage {
	u := usage{extents: map[string]int64{}, visible: len(vg.Shown())}
	for _, lv := range vg.LVs {
		for _, s := range lv.Segments {
			for _, area := range s.Areas {
				u.extents[area.Name] += s.AreaExtents()
			}
		}
	}
	return u
}

func lvRowOf(s *assessed) lvRow {
	row := lvRow{Name: s.lv.Name, UUID: s.lv.ID.String(), VG: s.vg.Meta.Name, Full: s.name(), Tags: list(s.lv.Tags),
		Health: string(s.health), Version: s.vg.Version.ID(), Notes: []noteRow{}}
	if s.plan != nil {
		for _, n := range s.plan.Notes {
			row.Notes = append(row.Notes, noteRow{n.LV, n.Degraded, n.Text})
		}
	}
	if s.err != nil {
		row.Error = s.err.Error()
	} else {
		row.Size = s.plan.Root.Size
	}
	row.count(s.totals)
	return row
}

// count fills in what is known of the bytes.
func (row *lvRow) count(t *block.Totals) {
	row.Data, row.Zero, row.Bad, row.Doubt = t.Data, t.Zero, t.Bad, t.Doubtful
	row.Causes = []causeRow{}
	for _, c := range t.Causes() {
		row.Causes = append(row.Causes, causeRow{c.State.String(), c.Why, c.Bytes, c.Ranges})
	}
	row.Status = ""
	if t.Bad > 0 {
		row.Status = "partial"
	}
}

// planRows lists the segments of a plan, those of the LVs below too, each LV once.
func planRows(p *activate.Plan) []planRow {
	var rows []planRow
	var walk func(v *activate.Volume)
	seen := []*activate.Volume{}
	walk = func(v *activate.Volume) {
		if slices.Contains(seen, v) {
			return
		}
		seen = append(seen, v)
		var below []*activate.Volume
		for _, s := range v.Segments {
			row := planRow{LV: v.LV.Name, Off: s.Off, Len: s.Len, Target: s.Target.String(), Inputs: []string{}}
			for _, in := range s.Target.Inputs() {
				row.Inputs = append(row.Inputs, in.String())
				if in.Volume != nil {
					below = append(below, in.Volume)
				}
			}
			rows = append(rows, row)
		}
		for _, b := range below {
			walk(b)
		}
	}
	walk(p.Root)
	return rows
}
