package guess

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lvrescue/lvrescue/metadata"
	"github.com/lvrescue/lvrescue/scan/block"
)

// VGName is what the VG of a guess is called.
const VGName = "guessed"

// madeID is a UUID that the same words give again.
func madeID(words ...any) metadata.ID {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	sum := sha256.Sum256(fmt.Append(nil, words...))
	for i, b := range sum {
		sum[i] = alphabet[int(b)%len(alphabet)]
	}
	return metadata.ID(sum[:])
}

// name gives the volumes names: their labels as far as lvm2 allows, or their formats.
func (l *Layout) name() {
	taken := map[string]int{}
	for _, v := range l.Volumes {
		name := strings.Trim(strings.Map(allowed, v.Sign.Label), "-_.")
		if v.Striping != nil && name == "" && !fills[v.Sign.Format] {
			name = v.Striping.Type
		}
		if name == "" || strings.Contains(name, "_rimage") || strings.Contains(name, "_rmeta") || strings.HasPrefix(name, "snapshot") || strings.HasPrefix(name, "pvmove") {
			name = strings.ToLower(v.Sign.Format)
		}
		const most = 100
		name = name[:min(len(name), most)]
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%s.%d", name, taken[name])
		}
		v.Name = name
	}
}

// allowed keeps what lvm2 allows in names.
func allowed(c rune) rune {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("+_.-", c):
		return c
	}
	return '-'
}

// writer writes the text, and remembers the first error.
type writer struct {
	out io.Writer
	err error
}

func (w *writer) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

// quote makes a string of a text: bytes from the disk cannot end it.
func quote(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == '"' || c == '\\' || c > '~' {
			return '?'
		}
		return c
	}, s)
}

// Write writes the layout as an lvm2 text, with comments that say how sure it is.
func (l *Layout) Write(out io.Writer) error {
	w := &writer{out: out}
	w.printf(`# This is a guess by lvrescue: no metadata of LVM was used, only filesystems. What is said
# to be sure or likely is so by superblocks; names, UUIDs and the extent size are made up.
# Correct what you know better, then:
#
#   lvrescue scan --backup THIS_FILE %s

contents = "Text Format Volume Group"
version = 1

description = "guessed by lvrescue from filesystems"

%s {
	id = "%s"
	seqno = 1
	format = "lvm2"
	status = ["RESIZEABLE", "READ", "WRITE"]
	flags = []
	extent_size = %d		# %s
	max_lv = 0
	max_pv = 0
	metadata_copies = 0

	physical_volumes {
`, strings.Join(l.Arguments(), " "), VGName, madeID(VGName, l.ids()), l.ExtentSize/block.SectorSize, "sectors")
	for i, d := range l.Disks {
		w.disk(i, d, l.ExtentSize)
	}
	w.printf("\t}\n\n\tlogical_volumes {\n")
	for _, v := range l.Volumes {
		w.volume(l, v)
	}
	w.printf("\t}\n}\n")
	for i, v := range l.Inside {
		if i == 0 {
			w.printf("\n# Within the volumes above, as images in files, or from before them:\n")
		}
		w.printf("#   %s of %d bytes at byte %d of %s\n", quote(v.Sign.Format), v.Sign.Size, v.Pieces[0].At, quote(v.Pieces[0].Source.Name))
	}
	return w.err
}

func (l *Layout) ids() (ids []metadata.ID) {
	for _, d := range l.Disks {
		ids = append(ids, d.ID)
	}
	return ids
}

// Arguments are flags that place the disks of the text, and the disks.
func (l *Layout) Arguments() []string {
	var flags, sources []string
	for _, d := range l.Disks {
		flags = append(flags, fmt.Sprintf("--assume %s=%s", d.ID, quote(d.Source.Name)))
		sources = append(sources, quote(d.Source.Name))
	}
	return slices.Concat(flags, sources)
}

// extents is how many whole extents the disk has.
func (d Disk) extents(size int64) int64 { return max((d.Source.Dev.Size()-d.Start)/size, 0) }

func (w *writer) disk(i int, d Disk, extent int64) {
	w.printf(`
		pv%d {
			id = "%s"
			device = "%s"	# Hint only

			status = ["ALLOCATABLE"]
			flags = []
			dev_size = %d
			pe_start = %d	# the first extent; the start of the source counts as that of the PV
			pe_count = %d
		}
`, i, d.ID, quote(d.Source.Name), d.Source.Dev.Size()/block.SectorSize, d.Start/block.SectorSize, d.extents(extent))
}

func (w *writer) volume(l *Layout, v *Volume) {
	w.printf("\n\t\t# %s: %s of %d bytes, UUID %s\n", v.Sure, quote(v.Sign.Format), v.Size, quote(orNone(v.Sign.UUID)))
	for _, n := range v.Notes {
		w.printf("\t\t# %s\n", quote(n))
	}
	if v.Striping != nil {
		w.printf("\t\t# on %s\n", v.Striping.layout)
		w.legs(l, v)
		return
	}
	segments := l.segments(v)
	w.printf(`		%s {
			id = "%s"
			status = ["READ", "WRITE", "VISIBLE"]
			flags = []
			segment_count = %d
`, v.Name, madeID(v.Sign.Source.Name, v.Sign.Offset, v.Name), len(segments))
	for i, s := range segments {
		w.printf(`
			segment%d {
				start_extent = %d
				extent_count = %d

				type = %s
`, i+1, s.start, s.count, s.kind())
		if s.pv >= 0 {
			w.printf("\t\t\t\tstripe_count = 1\t# linear\n\n\t\t\t\tstripes = [\n\t\t\t\t\t\"pv%d\", %d\n\t\t\t\t]\n", s.pv, s.extent)
		}
		w.printf("\t\t\t}\n")
	}
	w.printf("\t\t}\n")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// segment is a run of extents; pv is below 0 where nothing of it was found.
type segment struct {
	start, count int64
	pv           int
	extent       int64
}

func (s segment) kind() string {
	if s.pv < 0 {
		return `"error"		# not found`
	}
	return `"striped"`
}

// segments cuts a volume into extents. An extent lies in one piece, so that the one with the
// first superblock of a piece is all there; where the volume and the disk do not agree on where
// extents begin, the piece cannot be used.
func (l *Layout) segments(v *Volume) []segment {
	es := l.ExtentSize
	var list []segment
	end := int64(0) // extents so far
	lost := func(upTo int64) {
		if upTo > end {
			list = append(list, segment{start: end, count: upTo - end, pv: -1})
			end = upTo
		}
	}
	for i, p := range v.Pieces {
		n := slices.IndexFunc(l.Disks, func(d Disk) bool { return d.Source == p.Source })
		begins := p.At - p.Off - l.Disks[n].Start // of the volume, from the disk's first extent
		if begins%es != 0 {
			continue
		}
		first := max(p.Off/es, -begins/es, end)
		stop := (p.Off + p.Len + es - 1) / es
		if i+1 < len(v.Pieces) {
			stop = (p.Off + p.Len) / es
		}
		stop = min(stop, l.Disks[n].extents(es)-begins/es)
		if first < stop {
			lost(first)
			list = append(list, segment{first, stop - first, n, begins/es + first})
			end = stop
		}
	}
	lost((v.Size + es - 1) / es)
	return list
}
