package block

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Limits on a mapfile, which may come from anywhere. A disk with a million separate errors
// has a mapfile of 30 MB.
const (
	maxMapBytes        = 256 << 20
	maxMapBlocks       = 1 << 20
	maxMapCommentBytes = 8 << 20 // what is kept; more is skipped
)

// The two comments that ddrescue writes above its columns. WriteTo writes them itself.
const (
	statusHeading = "current_pos  current_status  current_pass"
	blockHeading  = "     pos        size  status"
)

// MapError tells what is wrong with a line of a mapfile.
type MapError struct {
	Line int // from 1
	Text string
}

func (e *MapError) Error() string { return fmt.Sprintf("mapfile line %d: %s", e.Line, e.Text) }

// ReadMapfile reads the mapfile at path.
func ReadMapfile(path string) (*Mapfile, error) {
	return openMapfile(path, maxMapBytes, ParseMapfile)
}

// ScanMapfile reads the mapfile at path, of any length, and hands out its blocks one by one,
// as they stand there; the Mapfile has none.
func ScanMapfile(path string, each func(MapBlock)) (*Mapfile, error) {
	return openMapfile(path, math.MaxInt64, func(r io.Reader) (*Mapfile, error) {
		return parseMapfile(r, func(b MapBlock) error { each(b); return nil })
	})
}

func openMapfile(path string, limit int64, read func(io.Reader) (*Mapfile, error)) (*Mapfile, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes are too many for a mapfile; want %d at most", path, f.Size(), limit)
	}
	m, err := read(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ParseMapfile reads a mapfile. As ddrescue, it takes numbers in hexadecimal (0x),
// octal (0) and decimal, comments anywhere and a status line without a pass; blocks must
// follow each other without gaps. Neighbours of one status become one block. Errors in the
// text are *MapError.
func ParseMapfile(r io.Reader) (*Mapfile, error) {
	var blocks Mapfile
	m, err := parseMapfile(io.LimitReader(r, maxMapBytes), func(b MapBlock) error {
		if len(blocks.Blocks) == 0 && b.Off > 0 {
			blocks.Blocks = []MapBlock{{b.Off, 0, b.Status}}
		}
		if len(blocks.Blocks) >= maxMapBlocks {
			return fmt.Errorf("more than %d blocks", maxMapBlocks)
		}
		blocks.Add(b.Len, b.Status)
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.Blocks = blocks.Blocks
	return m, nil
}

// parseMapfile hands out the blocks of a mapfile and gives the rest of it.
func parseMapfile(r io.Reader, each func(MapBlock) error) (*Mapfile, error) {
	p := mapParser{m: new(Mapfile), each: each, end: -1}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		p.line++
		if err := p.parse(lines.Text()); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("mapfile line %d: %w", p.line+1, err)
	}
	if !p.started {
		return nil, p.errorf("no status line: the file is empty, or no mapfile")
	}
	return p.m, nil
}

type mapParser struct {
	m            *Mapfile
	each         func(MapBlock) error
	end          int64 // of the block before; -1 for none
	line         int
	started      bool // the status line has been
	commentBytes int
}

func (p *mapParser) errorf(format string, args ...any) error {
	return &MapError{p.line, fmt.Sprintf(format, args...)}
}

func (p *mapParser) parse(line string) error {
	if comment, ok := strings.CutPrefix(line, "#"); ok {
		p.comment(strings.TrimPrefix(comment, " "))
		return nil
	}
	fields := strings.Fields(line)
	for i, f := range fields {
		if f[0] == '#' {
			fields = fields[:i]
			break
		}
	}
	switch {
	case len(fields) == 0:
		return nil
	case !p.started:
		p.started = true
		return p.status(fields)
	}
	return p.block(fields)
}

func (p *mapParser) comment(text string) {
	text = strings.Map(printable, strings.TrimRight(text, "\r"))
	if text == statusHeading || text == blockHeading || p.commentBytes+len(text) > maxMapCommentBytes {
		return
	}
	p.commentBytes += len(text) + 16 // the string itself costs memory too
	p.m.Comments = append(p.m.Comments, text)
}

func (p *mapParser) status(fields []string) error {
	if len(fields) != 2 && len(fields) != 3 {
		return p.errorf("%d fields in the status line, want position, status and perhaps pass", len(fields))
	}
	pos, err := p.number("current position", fields[0])
	if err != nil {
		return err
	}
	status := fields[1]
	if len(status) != 1 || !MapStatus(status[0]).valid() && status != "F" && status != "G" {
		return p.errorf("current status %.20q, want one of ? * / - + F G", status)
	}
	p.m.Pos, p.m.Status, p.m.Pass = pos, status[0], 1
	if len(fields) == 3 {
		pass, err := strconv.ParseUint(fields[2], 10, 31)
		if err != nil {
			return p.errorf("current pass %.20q, want a number", fields[2])
		}
		p.m.Pass = int(pass)
	}
	return nil
}

func (p *mapParser) block(fields []string) error {
	if len(fields) != 3 {
		return p.errorf("%d fields, want position, size and status of a block", len(fields))
	}
	off, err := p.number("position", fields[0])
	if err != nil {
		return err
	}
	n, err := p.number("size", fields[1])
	if err != nil {
		return err
	}
	status := MapStatus(fields[2][0])
	switch {
	case len(fields[2]) != 1 || !status.valid():
		return p.errorf("block status %.20q, want one of ? * / - +", fields[2])
	case n == 0 || off == math.MaxInt64:
		return p.errorf("block at 0x%X has no bytes", off)
	case p.end >= 0 && off != p.end:
		return p.errorf("block at 0x%X, want 0x%X, where the one before ends", off, p.end)
	}
	b := MapBlock{off, min(n, math.MaxInt64-off), status} // the end of a disk of unknown size
	p.end = b.End()
	if err := p.each(b); err != nil {
		return p.errorf("%v", err)
	}
	return nil
}

// number reads a number as C++ spells them. Go has spellings of its own: they are errors.
func (p *mapParser) number(field, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || n < 0 || strings.ContainsAny(text, "_oO+") || strings.HasPrefix(strings.ToLower(text), "0b") {
		return 0, p.errorf("%s %.40q, want a number of bytes below 2^63", field, text)
	}
	return n, nil
}
