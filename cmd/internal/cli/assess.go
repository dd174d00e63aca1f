package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/activate/volume"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan"
	"github.com/lvrescue/lvrescue/scan/block"
)

// assessed is an LV with what is known of it before it is read.
type assessed struct {
	vg     *rebuild.VG
	lv     *metadata.LV
	plan   *activate.Plan // nil when it cannot be planned; why is then in err
	dev    block.Device
	totals *block.Totals
	health volume.Health
	err    error

	hidden   bool                // a part of another LV, which lvm2 does not show
	segments []*metadata.Segment // what the LV reads as
}

// assess plans an LV and sums up what can be had of it.
func assess(vg *rebuild.VG, lv *metadata.LV) *assessed {
	s := &assessed{vg: vg, lv: lv, totals: &block.Totals{}, health: volume.Lost, segments: lv.Segments}
	if s.plan, s.err = activate.New(vg, lv, volume.OpenVolume); s.err != nil {
		return s
	}
	s.dev = volume.Open(s.plan)
	s.totals = block.Summarise(s.dev)
	s.health = volume.Assess(s.plan, s.totals)
	return s
}

// show makes it the LV that the user knows, of those that lvm2 shows of its VG.
func (s *assessed) show(shown map[*metadata.LV]*metadata.LV) *assessed {
	as := shown[s.lv]
	s.hidden = as == nil
	if as != nil {
		s.segments = as.Segments
	}
	return s
}

// name is VG/LV.
func (s *assessed) name() string { return s.vg.Meta.Name + "/" + s.lv.Name }

// whole tells whether all of the LV can be had, beyond doubt.
func (s *assessed) whole() bool { return s.health == volume.Complete || s.health == volume.Degraded }

// reason says in a line what is lost or doubtful, and why; "" for a whole LV.
func (s *assessed) reason(a *app) string {
	if s.err != nil {
		return s.err.Error()
	}
	return strings.Join(slices.Concat(a.causes(s.totals), s.gone(s.totals.Causes())), "; ")
}

// gone lists the decisions that cost the LV its redundancy, but for those that the causes of
// what is lost or doubtful tell already.
func (s *assessed) gone(causes []block.Cause) []string {
	var texts []string
	for _, n := range s.plan.Notes {
		_, why, _ := strings.Cut(n.Text, ": ") // behind "leg 1: "
		told := why != "" && slices.ContainsFunc(causes, func(c block.Cause) bool { return strings.Contains(c.Why, why) })
		switch {
		case !n.Degraded || told:
		case n.LV == s.lv.Name:
			texts = append(texts, n.Text)
		default:
			texts = append(texts, n.LV+": "+n.Text)
		}
	}
	return texts
}

// causes says how much is lost or doubtful for which reasons: the weightiest, and how many
// more there are.
func (a *app) causes(t *block.Totals) []string {
	const most = 3
	var parts []string
	all := t.Causes()
	for _, c := range all[:min(most, len(all))] {
		what := "lost"
		if c.State == block.Doubtful {
			what = "doubtful"
		}
		parts = append(parts, fmt.Sprintf("%s %s: %s", a.size(c.Bytes), what, c.Why))
	}
	if len(all) > most {
		parts = append(parts, fmt.Sprintf("and %s more", count(len(all)-most, "reason")))
	}
	return parts
}

// maxPlaces bounds the places of all LVs that are assessed together, and with that the memory:
// 10,000 LVs have 20,000.
const maxPlaces = 1 << 18

// assessVG assesses a VG's LVs, sorted by name; hidden ones only if wanted.
func assessVG(vg *rebuild.VG, hidden bool) []*assessed {
	shown := vg.Meta.Shown()
	var lvs []*metadata.LV
	for _, lv := range vg.Meta.LVs {
		if hidden || shown[lv] != nil {
			lvs = append(lvs, lv)
		}
	}
	list := make([]*assessed, len(lvs))
	var places atomic.Int64
	fault := block.OnAllCores(len(lvs), func(i int) {
		lv := lvs[i]
		s := assess(vg, lv)
		if s.plan != nil && places.Add(int64(s.plan.Places)) > maxPlaces {
			*s = assessed{vg: vg, lv: lv, totals: &block.Totals{}, health: volume.Lost, segments: lv.Segments,
				err: fmt.Errorf("the VG's LVs lie on more than %d places: only LVs that are named one by one are read", maxPlaces)}
		}
		list[i] = s.show(shown)
	})
	if fault != nil {
		panic(fault)
	}
	slices.SortStableFunc(list, func(a, b *assessed) int { return cmp.Compare(a.lv.Name, b.lv.Name) })
	return list
}

// verdict turns what was found into the end of a command: nil when all is whole.
func verdict(lvs []*assessed, sources []*scan.Source) error {
	if slices.ContainsFunc(lvs, func(s *assessed) bool { return !s.whole() }) ||
		slices.ContainsFunc(sources, func(s *scan.Source) bool { return s.Err != nil }) {
		return errPartial
	}
	return nil
}
