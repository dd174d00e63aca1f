package scan

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
	"github.com/lvrescue/lvrescue/scan/partition"
)

// sourceScan is the scan of one source. Nothing in it is shared but the interner.
type sourceScan struct {
	src     *Source
	maps    map[string]string // as in Options, by clean path
	listed  listings
	history bool
	places  func(*Source) []Place
	texts   *interner

	pvs         []*PV
	copies      []*Copy
	findings    []Finding
	suspicions  []suspicion
	partitioned bool // there is a partition table at the start of the source

	textCount              int   // read; see maxTexts
	textBytes, searchBytes int64 // spent; see maxTextBytes and maxSearchBytes
	textsLeft              bool  // some are left out
}

func newSourceScan(path string, listed listings, texts *interner, opts Options) *sourceScan {
	return &sourceScan{src: &Source{Name: path}, maps: opts.Maps, listed: listed, history: opts.History, places: opts.Places, texts: texts}
}

func (s *sourceScan) find(sev Severity, code string, offset int64, format string, args ...any) {
	s.findings = append(s.findings, Finding{sev, code, s.src.Name, offset, fmt.Sprintf(format, args...)})
}

// problem passes on what is wrong with a record at byte at of the source.
func (s *sourceScan) problem(p metadata.Problem, at int64, follows string) {
	s.find(Warning, p.Code, at+p.Offset, "%s: %s; %s", p.Field, p.Text, follows)
}

// container is a span of the source that may hold a PV: all of it, or a partition.
type container struct {
	start, size int64 // bytes in the source; size may run past its end, start lie before it
	where       string
	areas       []int64 // as in [Place]
	mirror      *Mirror // of which it is what a member holds
	foreign     bool    // it holds a disk's bytes in another order
}

// run opens and scans the source. The error is that of ctx.
func (s *sourceScan) run(ctx context.Context) error {
	if ctx.Err() != nil || !s.open() {
		return ctx.Err()
	}
	return s.scan(ctx)
}

// scan finds PVs with labels first, then what is left of others, so that metadata areas of
// the former are not taken for those of the latter. Then it reads texts.
func (s *sourceScan) scan(ctx context.Context) error {
	containers := s.withPlaces(s.withMirrors(s.containers()))
	labelled := make([]bool, len(containers))
	for i, c := range containers {
		if c.foreign {
			if labelled[i] = true; c.start == 0 { // nothing in it is what it seems to be
				s.src.Foreign = true
				return ctx.Err()
			}
			continue
		}
		labelled[i] = c.start >= 0 && s.labelled(c)
	}
	for i, c := range slices.Backward(containers) { // what partitions hold is not the whole's
		if err := ctx.Err(); err != nil {
			return err
		}
		if !labelled[i] {
			s.lost(c)
		}
	}
	var areas []*Area
	for _, pv := range s.pvs {
		areas = append(areas, pv.Areas...)
	}
	err := s.readTexts(ctx, areas)
	s.doubtCarved()
	s.conclude()
	return err
}

// conclude puts the finds in order.
func (s *sourceScan) conclude() {
	s.doubtUnlisted()
	slices.SortStableFunc(s.pvs, func(a, b *PV) int { return cmp.Compare(a.Offset, b.Offset) })
	slices.SortStableFunc(s.copies, func(a, b *Copy) int { return cmp.Compare(a.Offset, b.Offset) })
	if len(s.pvs) == 0 && len(s.copies) == 0 {
		s.find(Info, "nothing-found", -1, "holds no physical volume of LVM2 where one ought to be")
	}
}

// containers are the source itself and its partitions.
func (s *sourceScan) containers() []container {
	size := s.src.Dev.Size()
	list := []container{{start: 0, size: size}}
	layout := partition.Read(s.src.Dev, size)
	problems := layout.Problems
	for _, t := range layout.Tables {
		problems = append(problems, t.Problems...)
		s.partitioned = s.partitioned || !t.Backup && len(t.Partitions) > 0
	}
	for _, p := range problems {
		s.find(Warning, p.Code, p.Offset, "%s", p.Text)
	}
	for _, p := range layout.Partitions {
		list = append(list, container{start: p.Start, size: p.Size, where: p.String()})
		if end := p.Start + p.Size; end > size {
			s.find(Warning, "partition-cut", p.Start, "%s ends at byte %d, the source at %d: %d bytes of it are missing",
				p, end, size, end-size)
		}
	}
	return list
}

// device is the span of the source from byte off to the end of the container. What lies
// before the source is bad.
func (s *sourceScan) device(c container, off int64) block.Device {
	if off < 0 {
		return block.NewPadded(s.device(c, 0), -off, s.src.Name+" lacks the start of the disk")
	}
	return block.NewSection(s.src.Dev, off, c.start+c.size-off, "behind the end of "+s.src.Name)
}

// read reads n bytes at off of a device. What cannot be read is zero and told in bad.
func read(dev block.Device, off, n int64) (buf []byte, bad []block.Extent) {
	n = min(n, dev.Size()-off)
	if off < 0 || n <= 0 {
		return nil, nil
	}
	buf = make([]byte, n)
	err := block.ReadRange(dev, buf, off, func(e block.Extent) {
		if e.State == block.Bad {
			bad = append(bad, e)
		}
	})
	if err != nil {
		return nil, []block.Extent{{Off: off, Len: n, State: block.Bad, Why: err.Error()}}
	}
	return buf, bad
}
