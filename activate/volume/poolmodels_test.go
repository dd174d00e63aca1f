package volume

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/cache"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/writecache"
	"github.com/lvrescue/lvrescue/scan/block"
)

// sufferingDisk is a device of random bytes with random marks.
type sufferingDisk struct {
	block.Device
	data  memory
	marks []block.Extent
}

func suffering(t *testing.T, rnd *rand.Rand, size int64, why string) sufferingDisk {
	data := make(memory, size)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	marks := randomMarks(rnd, size, 3, why)
	dev, err := block.NewOverlay(data, marks)
	require.NoError(t, err)
	return sufferingDisk{dev, data, marks}
}

// set makes byte at of the model what byte from of the disk is.
func (m model) set(at int64, d sufferingDisk, from int64) {
	e := stateAt(d.marks, from)
	m.bytes[at], m.state[at], m.why[at] = d.data[from], e.State, e.Why
}

func newModel(size int64) model {
	return model{make([]byte, size), make([]block.State, size), make([]string, size)}
}

// check reads and asks at random places, and all at once.
func (m model) check(t *testing.T, rnd *rand.Rand, dev block.Device) {
	t.Helper()
	size := int64(len(m.bytes))
	require.Equal(t, size, dev.Size())
	for range 20 {
		off := rnd.Int64N(size)
		n := rnd.Int64N(size-off) + 1
		checkRead(t, dev, m, off, n)
		checkExtents(t, dev, m, off, n)
	}
	checkRead(t, dev, m, 0, size)
	checkExtents(t, dev, m, 0, size)
}

func TestWritecacheAgainstModel(t *testing.T) {
	const size, blocks = 512, 40
	rnd := rand.New(rand.NewPCG(3, 1))
	for range 20 {
		origin, cached := suffering(t, rnd, blocks*size, "origin"), suffering(t, rnd, blocks*size, "cache")
		d := &writecached{origin: origin, blocks: cached, size: size}
		m := newModel(origin.Size())
		index := rnd.Int64N(blocks)
		for b := range int64(blocks) {
			if rnd.IntN(4) == 0 { // else it goes on where the last block was
				index = rnd.Int64N(blocks)
			}
			index = (index + 1) % blocks
			kind := rnd.IntN(6)
			switch kind {
			case 0:
				d.entries = append(d.entries, writecache.Entry{Block: b, Index: writecache.Disputed})
			case 1, 2, 3:
				d.entries = append(d.entries, writecache.Entry{Block: b, Index: index})
			}
			for i := range int64(size) {
				switch kind {
				case 0:
					m.state[b*size+i], m.why[b*size+i] = block.Bad, "two entries of the writecache claim this block with one sequence number"
				case 1, 2, 3:
					m.set(b*size+i, cached, index*size+i)
				default:
					m.set(b*size+i, origin, b*size+i)
				}
			}
		}
		m.check(t, rnd, d)
	}
}

// either is what a byte is of which two places have a copy, the first preferred.
func (m model) either(at int64, a sufferingDisk, aAt int64, b sufferingDisk, bAt int64) {
	x, y := stateAt(a.marks, aAt), stateAt(b.marks, bAt)
	switch {
	case x.State == block.Data || y.State == block.Bad && x.State != block.Bad:
		m.set(at, a, aAt)
	case y.State == block.Data || x.State == block.Bad && y.State != block.Bad:
		m.set(at, b, bAt)
	case x.State == block.Doubtful:
		m.set(at, a, aAt)
	default:
		m.state[at], m.why[at] = block.Bad, fmt.Sprintf("legs 0 and 1 of cached block are lost here: %s; %s", x.Why, y.Why)
	}
}

func TestCacheAgainstModel(t *testing.T) {
	const chunk, blocks = 1024, 20
	const size = blocks*chunk - 512 // the last block is not whole
	rnd := rand.New(rand.NewPCG(4, 1))
	for _, mode := range []activate.CacheMode{activate.Writeback, activate.Writethrough, activate.Passthrough} {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprint(mode, " clean ", clean), func(t *testing.T) {
				for range 10 {
					origin, data := suffering(t, rnd, size, "origin"), suffering(t, rnd, blocks*chunk, "cache")
					d := &cachedLV{origin: origin, data: data, chunk: chunk, mode: mode, clean: clean, stale: "stale"}
					m := newModel(size)
					for b, in := range rnd.Perm(blocks) {
						b, in, kind := int64(b), int64(in), cache.State(rnd.IntN(4))
						if kind == cache.Clean || !clean && mode != activate.Writeback { // both copies are the same
							copy(data.data[in*chunk:(in+1)*chunk], origin.data[b*chunk:])
						}
						if kind <= cache.Disputed {
							d.mappings = append(d.mappings, cache.Mapping{Origin: uint64(b), Block: uint32(in), State: kind})
						}
						for at := b * chunk; at < min((b+1)*chunk, size); at++ {
							there := in*chunk + at - b*chunk
							switch {
							case kind == cache.Disputed:
								m.state[at], m.why[at] = block.Bad, "two blocks of the cache claim to hold this block of the origin"
							case kind > cache.Disputed:
								m.set(at, origin, at)
								if m.state[at] == block.Data {
									m.state[at], m.why[at] = block.Doubtful, "stale"
								}
							case kind == cache.Dirty && (clean || mode == activate.Writeback):
								m.set(at, data, there)
							case mode == activate.Passthrough:
								m.either(at, origin, at, data, there)
							default:
								m.either(at, data, there, origin, at)
							}
						}
					}
					m.check(t, rnd, d)
				}
			})
		}
	}
}

// TestThinAgainstModel maps random chunks of a thin device, with and without an external
// origin that is shorter; some mappings point beyond the pool's data, and one leaf is lost.
func TestThinAgainstModel(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	const chunk, chunks, dataChunks = 512, 300, 200
	rnd := rand.New(rand.NewPCG(5, 1))
	for _, external := range []int64{0, 100*chunk + 200} {
		for range 3 {
			data, origin := suffering(t, rnd, dataChunks*chunk+100, "data"), suffering(t, rnd, external, "origin")
			image := pdata.New()
			var entries []pdata.Entry
			at := map[uint64]uint64{}
			next := rnd.Uint64N(dataChunks)
			for b := range uint64(chunks) {
				if rnd.IntN(3) == 0 {
					next = rnd.Uint64N(dataChunks + 20)
				}
				if next++; rnd.IntN(20) > 0 {
					at[b] = next
					entries = append(entries, pdata.Number(b, next<<24|b%2))
				}
			}
			root := image.Tree(8, entries)
			image.Block(1)[3000] ^= 1 // the first leaf: 252 mappings
			firstKept := entries[252].Key
			off := rnd.Int64N(2 * chunk)
			d := &thinLV{
				dev:  thin.NewDevice(btree.NewReader(bytes.NewReader(*image), int64(len(*image))), root),
				data: data, external: origin, chunk: chunk, off: off, size: chunks*chunk - off,
			}
			m := newModel(d.size)
			for i := range d.size {
				b, in := uint64(i+off)/chunk, (i+off)%chunk
				there, mapped := at[b]
				switch {
				case b >= entries[0].Key && b < firstKept:
					m.state[i], m.why[i] = block.Bad, "lost"
				case !mapped && i+off < external:
					m.set(i, origin, i+off)
				case !mapped:
					m.state[i] = block.Zero
				case there >= dataChunks:
					m.state[i], m.why[i] = block.Bad, "the pool's metadata points beyond the 200 chunks of its data"
				default:
					m.set(i, data, int64(there)*chunk+in)
				}
			}
			for i := range m.why { // the reason names checksums
				if m.why[i] == "lost" {
					m.why[i] = lostWhy(t, d)
				}
			}
			m.check(t, rnd, d)
		}
	}
}

// lostWhy is the reason that the device gives for its first bad byte that metadata has cost.
func lostWhy(t *testing.T, d *thinLV) string {
	for e := range d.Extents(0, d.size) {
		if e.State == block.Bad && bytes.Contains([]byte(e.Why), []byte("btree node.csum")) {
			return e.Why
		}
	}
	require.Fail(t, "nothing is lost")
	return ""
}

// BenchmarkThin reads a thin device of chunks of 64 KiB, no two of them neighbours.
func BenchmarkThin(b *testing.B) {
	const chunk, chunks = 64 << 10, 1024
	image := pdata.New()
	var entries []pdata.Entry
	for i := range uint64(chunks) {
		entries = append(entries, pdata.Number(i, i*1543%chunks<<24))
	}
	root := image.Tree(8, entries)
	d := &thinLV{
		dev:  thin.NewDevice(btree.NewReader(bytes.NewReader(*image), int64(len(*image))), root),
		data: make(memory, chunk*chunks), external: block.NewZero(0), chunk: chunk, size: chunk * chunks,
	}
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		if _, err := d.ReadAt(p, int64(i)*int64(len(p))%d.size); err != nil {
			b.Fatal(err)
		}
	}
}
