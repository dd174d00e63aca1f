package dm

import (
	"fmt"
	"sort"
	"strconv"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// Options says what is wanted of a stack.
type Options struct {
	Name     string // of the LV's device; "" for [DeviceName]
	ZeroLost bool   // zeros stand where bytes are lost, not errors

	// Open reads what has to be looked up: where the chunks of a thin LV lie.
	Open activate.Opener
}

// Compile turns a plan into a stack. A *CannotError says that the kernel has no way to do
// what the plan says.
//
// sources keeps what stacks of one call have in common, so that each source is attached once.
func Compile(p *activate.Plan, opt Options, sources Sources) (*Stack, error) {
	vg, lv := p.VG.Meta, p.LV
	c := &compiler{
		stack: &Stack{VG: vg.Name, LV: lv.Name}, opt: opt, sources: sources,
		name: opt.Name, uuid: UUIDPrefix + ident(vg.ID, vg.Name) + ident(lv.ID, lv.Name),
		made: map[*activate.Volume]*Device{}, vdos: map[*activate.Volume]*Device{}, count: map[string]int{},
	}
	if c.name == "" {
		c.name = DeviceName(vg.Name, lv.Name)
	}
	table, err := c.table(p.Root)
	if err != nil {
		return nil, &CannotError{vg.Name + "/" + lv.Name, err.Error()}
	}
	c.stack.Devices = append(c.stack.Devices, &Device{Name: c.name, UUID: c.uuid, Size: p.Root.Size, Table: table})
	return c.stack, nil
}

// Sources are the sources that stacks stand on.
type Sources map[Source]*Source

func (s Sources) get(want Source) *Source {
	if s[want] == nil {
		s[want] = &want
	}
	return s[want]
}

// maxRuns bounds the lines of all tables of a stack. The kernel keeps about 200 bytes of
// each in memory that is never swapped out, and takes at most 1048576 in one table
// (drivers/md/dm-ioctl.c).
const maxRuns = 1 << 18

// compiler makes one stack.
type compiler struct {
	stack      *Stack
	opt        Options
	sources    Sources
	name, uuid string

	made    map[*activate.Volume]*Device
	vdos    map[*activate.Volume]*Device // of VDO pools, by their data
	scratch *Scratch                     // of all fences
	count   map[string]int               // devices by the kind that their suffix names
	lines   int                          // in all tables
}

// table is the table of a whole volume.
func (c *compiler) table(v *activate.Volume) (table []Target, err error) {
	var plain runs
	flush := func() error {
		lines, err := c.linesOf(plain)
		table, plain = place(table, lines...), nil
		return err
	}
	for _, s := range v.Segments {
		if !ownTarget(s.Target) {
			rs, err := c.segment(v, s, 0, s.Len)
			if err != nil {
				return nil, err
			}
			plain = plain.add(rs...)
			continue
		}
		if err := flush(); err != nil {
			return nil, err
		}
		t, err := c.target(s)
		if err != nil {
			return nil, err
		}
		table = place(table, t)
	}
	err = flush()
	return table, err
}

// place puts targets behind the end of a table.
func place(table []Target, more ...Target) []Target {
	at := int64(0)
	if n := len(table); n > 0 {
		at = table[n-1].Start + table[n-1].Len
	}
	for _, t := range more {
		t.Start = at
		at += t.Len
		table = append(table, t)
	}
	return table
}

// linesOf makes a line of a table of each run, whatever the runs are worth.
func (c *compiler) linesOf(rs runs) (list []Target, err error) {
	var alike runs
	for _, r := range rs {
		r.doubt, r.lossy = false, false
		alike = alike.add(r)
	}
	if c.lines += len(alike); c.lines > maxRuns {
		return nil, errTooMany
	}
	for _, r := range alike {
		t := Target{Len: sectors(r.n), Type: "linear"}
		switch {
		case r.on != nil:
			t.Args = []Arg{{On: r.on}, number(sectors(r.off))}
		case r.lost && !c.opt.ZeroLost:
			t.Type = "error"
		default:
			t.Type = "zero"
		}
		list = append(list, t)
	}
	return list, nil
}

var errTooMany = fmt.Errorf("it comes to more than %d pieces", maxRuns)

func sectors(n int64) int64 { return n / block.SectorSize }

func number(n int64) Arg { return Arg{Text: strconv.FormatInt(n, 10)} }

func word(s string) Arg { return Arg{Text: s} }

// ownTarget tells whether a segment is a target of the kernel's, and not runs of bytes of
// what it stands on.
func ownTarget(t activate.Target) bool {
	switch t.(type) {
	case activate.Striped, activate.RAID, activate.Integrity:
		return true
	}
	return false
}

// target makes the kernel's target of a segment.
func (c *compiler) target(s activate.Segment) (Target, error) {
	switch t := s.Target.(type) {
	case activate.Striped:
		return c.striped(t, s.Len)
	case activate.RAID:
		return c.raid(t, s.Len)
	case activate.Integrity:
		return c.integrity(t, s.Len)
	}
	return Target{}, fmt.Errorf("no target for %s", s.Target)
}

// segment gives the runs of n bytes of a segment, from off of it on.
func (c *compiler) segment(v *activate.Volume, s activate.Segment, off, n int64) (runs, error) {
	switch t := s.Target.(type) {
	case activate.Linear:
		return c.input(t.Input, off, n)
	case activate.Zero:
		return runs{{n: n}}, nil
	case activate.Error:
		return lose(n), nil
	case activate.Mirror:
		return c.mirror(t, off, n)
	case activate.Snapshot:
		return c.snapshot(t, off, n)
	case activate.Thin:
		return c.thin(t, off, n)
	case activate.Cache:
		return c.cache(t, off, n)
	case activate.Writecache:
		return c.writecache(t, off, n)
	case activate.VDO:
		return c.vdo(t, off, n)
	}
	if !ownTarget(s.Target) {
		return nil, fmt.Errorf("%s has no counterpart", s.Target)
	}
	d, err := c.device(v)
	if err != nil {
		return nil, err
	}
	return runs{{n: n, on: d, off: s.Off + off, lossy: d.lossy, doubt: d.doubt}}, nil
}

// open reads n bytes of an input in user space.
func (c *compiler) open(in activate.Input, n int64) block.Device {
	return c.opt.Open(&activate.Volume{LV: &metadata.LV{}, Size: n, Segments: []activate.Segment{{Len: n, Target: activate.Linear{Input: in}}}})
}

// lose is n bytes that cannot be had.
func lose(n int64) runs { return runs{{n: n, lost: true}} }

// input gives the runs of n bytes of an input, from off of it on.
func (c *compiler) input(in activate.Input, off, n int64) (runs, error) {
	if in.Volume != nil {
		return c.volume(in.Volume, in.Off+off, n)
	}
	return c.pv(in, in.Off+off, n), nil
}

// volume gives the runs of n bytes of a volume.
func (c *compiler) volume(v *activate.Volume, off, n int64) (rs runs, err error) {
	first := sort.Search(len(v.Segments), func(i int) bool { return v.Segments[i].Off+v.Segments[i].Len > off })
	for _, s := range v.Segments[first:] {
		lo, hi := max(off, s.Off), min(off+n, s.Off+s.Len)
		if lo >= hi {
			break
		}
		part, err := c.segment(v, s, lo-s.Off, hi-lo)
		if err != nil {
			return nil, err
		}
		if rs = rs.add(part...); len(rs) > maxRuns {
			return nil, errTooMany
		}
	}
	return rs, nil
}

// hide is how far behind the start of a PV a loop device begins: the label does not lie on
// it, so that nobody takes it for a PV.
const hide = 4096

// pv gives the runs of n bytes of a PV. A sector is as good as the worst of its bytes.
func (c *compiler) pv(in activate.Input, off, n int64) (rs runs) {
	pv := in.PV
	if pv.Missing() {
		return lose(n)
	}
	at := pv.Found.Offset
	node := c.sources.get(Source{Path: pv.Found.Source.Name})
	if !pv.Found.Source.IsBlockDevice() || at%block.SectorSize != 0 {
		skip := max(min(hide, pv.Meta.PEStart*block.SectorSize), -at) // or the file's start, if it lacks that of the PV
		node = c.sources.get(Source{Path: pv.Found.Source.Name, File: true, Off: at + skip})
		at = -skip
	}
	var last run
	edge := off // last begins there
	end := func(to int64) {
		r := last
		if r.n = to - edge; r.on != nil {
			r.off = at + edge
		}
		rs, edge = rs.add(r), to
	}
	for e := range pv.Dev.Extents(off, n) {
		r := run{on: node, doubt: e.State == block.Doubtful}
		if e.State == block.Bad {
			r = run{lost: true}
		}
		end(max(edge, boundary(e.Off, r.worse(last))))
		last = r
	}
	end(off + n)
	return rs
}

// boundary rounds an offset to whole sectors, down or up.
func boundary(off int64, down bool) int64 {
	if down {
		return off / block.SectorSize * block.SectorSize
	}
	return (off + block.SectorSize - 1) / block.SectorSize * block.SectorSize
}

// device makes a device of a volume below the LV, once.
func (c *compiler) device(v *activate.Volume) (*Device, error) {
	if d := c.made[v]; d != nil {
		return d, nil
	}
	table, err := c.table(v)
	if err != nil {
		return nil, err
	}
	c.made[v] = c.add("lv", &Device{Size: v.Size, Table: table})
	return c.made[v], nil
}

// add puts a device below the LV onto the stack; kind says in its name what it is.
func (c *compiler) add(kind string, d *Device) *Device {
	suffix := fmt.Sprintf("-%s%d", kind, c.count[kind])
	c.count[kind]++
	d.Name, d.UUID = c.name+suffix, c.uuid+suffix
	for _, t := range d.Table {
		d.lossy = d.lossy || t.Type == "error"
		for _, a := range t.Args {
			if on, ok := a.On.(*Device); ok {
				d.lossy, d.doubt = d.lossy || on.lossy, d.doubt || on.doubt
			}
		}
	}
	c.stack.Devices = append(c.stack.Devices, d)
	return d
}

// whole makes runs the part of one node: what they are, if they are one run, or else a
// device.
func (c *compiler) whole(kind string, rs runs) (run, error) {
	if len(rs) == 1 && rs[0].on != nil {
		return rs[0], nil
	}
	d, err := c.plain(kind, rs)
	return run{n: rs.size(), on: d}, err
}

// plain makes a device of runs.
func (c *compiler) plain(kind string, rs runs) (*Device, error) {
	lines, err := c.linesOf(rs)
	if err != nil {
		return nil, err
	}
	d := c.add(kind, &Device{Size: rs.size(), Table: place(nil, lines...)})
	for _, r := range rs {
		d.doubt, d.lossy = d.doubt || r.doubt, d.lossy || r.lossy || r.lost
	}
	return d, nil
}

// linear makes one target of runs.
func (c *compiler) linear(rs runs) (Target, error) {
	r, err := c.whole("leg", rs)
	return Target{Len: sectors(r.n), Type: "linear", Args: []Arg{{On: r.on}, number(sectors(r.off))}}, err
}

// striped deals n bytes to stripes.
func (c *compiler) striped(t activate.Striped, n int64) (Target, error) {
	legs := make([]runs, len(t.Stripes))
	for i, in := range t.Stripes {
		var err error
		if legs[i], err = c.input(in, 0, n/int64(len(legs))); err != nil {
			return Target{}, err
		}
	}
	return c.stripes(legs, t.ChunkSize, n)
}

// stripes deals n bytes to legs in chunks.
func (c *compiler) stripes(legs []runs, chunk, n int64) (Target, error) {
	out := Target{Len: sectors(n), Type: "striped", Args: []Arg{number(int64(len(legs))), number(sectors(chunk))}}
	if n%(chunk*int64(len(legs))) != 0 {
		return out, fmt.Errorf("its last row of chunks is not full, which the kernel's stripes do not know")
	}
	for _, rs := range legs {
		leg, err := c.whole("leg", rs)
		if err != nil {
			return out, err
		}
		out.Args = append(out.Args, Arg{On: leg.on}, number(sectors(leg.off)))
	}
	return out, nil
}
