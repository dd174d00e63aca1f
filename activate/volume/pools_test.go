package volume

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/activate"
	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/rebuild"
	"github.com/lvrescue/lvrescue/scan/block"
)

// found plans an LV of a corpus and opens it.
func found(t *testing.T, c *fixtures.Corpus, key string, without ...string) (*activate.Plan, block.Device) {
	t.Helper()
	var opt rebuild.Options
	for _, disk := range without {
		opt.Without = append(opt.Without, c.Disk(disk))
	}
	vg, _, err := find(t, c, key, opt)
	require.NoError(t, err)
	p := planned(t, vg, key)
	return p, Open(p)
}

// planned plans an LV that Golden names.
func planned(t *testing.T, vg *rebuild.VG, key string) *activate.Plan {
	t.Helper()
	_, name, _ := strings.Cut(key, "/")
	lv, err := vg.LV(name)
	require.NoError(t, err)
	p, err := activate.New(vg, lv, OpenVolume)
	require.NoError(t, err)
	return p
}

// requireNoLie wants every byte that dev delivers for sure to be the healthy one.
func requireNoLie(t *testing.T, healthy []byte, dev block.Device) {
	t.Helper()
	got := make([]byte, dev.Size())
	require.NoError(t, block.ReadRange(dev, got, 0, func(e block.Extent) {
		if e.State.Sure() && !bytes.Equal(healthy[e.Off:e.End()], got[e.Off:e.End()]) {
			t.Errorf("of the %d bytes at %d that are called %s some are wrong", e.Len, e.Off, e.State)
		}
	}))
}

// content reads all of a device that is complete.
func content(t *testing.T, dev block.Device) []byte {
	t.Helper()
	b := make([]byte, dev.Size())
	_, err := dev.ReadAt(b, 0)
	require.NoError(t, err)
	return b
}

// diskFile is an image file, open for damage, and where in it an input begins.
type diskFile struct {
	*os.File
	base int64
}

// under finds the disk that an input on linear LVs lies on.
func under(t *testing.T, in activate.Input) diskFile {
	t.Helper()
	for in.Volume != nil {
		s := in.Volume.Segments[0]
		below := s.Target.(activate.Linear).Input
		below.Off += in.Off - s.Off
		in = below
	}
	f, err := os.OpenFile(in.PV.Found.Source.Name, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return diskFile{f, in.PV.Found.Offset + in.Off}
}

// change changes n bytes at off of the input and returns what puts them back.
func (d diskFile) change(t *testing.T, off, n int64, how func(b []byte)) (undo func()) {
	t.Helper()
	old := make([]byte, n)
	_, err := d.ReadAt(old, d.base+off)
	require.NoError(t, err)
	b := append([]byte(nil), old...)
	how(b)
	put := func(b []byte) {
		_, err := d.WriteAt(b, d.base+off)
		require.NoError(t, err)
	}
	put(b)
	return func() { put(old) }
}

// notes are the notes of a plan, one a line.
func notes(p *activate.Plan) string {
	var lines []string
	for _, n := range p.Notes {
		lines = append(lines, n.LV+": "+n.Text)
	}
	return strings.Join(lines, "\n")
}

func TestThinTruthWithEachMetadataBlockDamaged(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for corpus, want := range map[string]struct {
		names []string
		worse int
	}{
		"thin":    {[]string{"vgt/s3", "vgt/x2"}, 6}, // superblock and root cost both LVs their trees, each tree its own
		"stacked": {[]string{"vgn/thin"}, 3},         // an older root is left, which looks like a mapping
	} {
		t.Run(corpus, func(t *testing.T) {
			thinTruth(t, fixtures.Open(t, corpus), want.names, want.worse)
		})
	}
}

// thinTruth damages each block of the metadata below some thin LVs, and counts by how many of
// them an LV is worse off.
func thinTruth(t *testing.T, c *fixtures.Corpus, names []string, want int) {
	vg, _, err := find(t, c, names[0], rebuild.Options{})
	require.NoError(t, err)
	healthy := map[string][]byte{}
	var meta activate.Thin
	for _, name := range names {
		p := planned(t, vg, name)
		healthy[name] = content(t, Open(p))
		meta = p.Root.Segments[0].Target.(activate.Thin)
	}
	disk := under(t, meta.Metadata)
	worse := 0
	for at := int64(0); at < meta.MetadataSize; at += btree.BlockSize {
		used := false
		undo := disk.change(t, at, btree.BlockSize, func(b []byte) {
			used = binary.LittleEndian.Uint32(b) != 0
			b[100] ^= 4
		})
		for _, name := range names {
			if !used {
				break
			}
			p := planned(t, vg, name)
			dev := Open(p)
			requireNoLie(t, healthy[name], dev)
			thin, _ := p.Root.Segments[0].Target.(activate.Thin)
			if totals := block.Summarise(dev); thin.Salvaged != nil || totals.Bad+totals.Doubtful > 0 {
				worse++
			}
		}
		undo()
	}
	require.Equal(t, want, worse)
}

func TestThinPoolThatLVM2Refuses(t *testing.T) {
	c := fixtures.Open(t, "thin-crash")
	p, dev := found(t, c, "vgw/kept")
	require.Contains(t, notes(p), "old: the pool's own metadata is at transaction 3, the VG's says 1")
	require.Equal(t, Complete, Assess(p, block.Summarise(dev)))

	target := p.Root.Segments[0].Target.(activate.Thin)
	under(t, target.Metadata).change(t, 0, btree.BlockSize, func(b []byte) {
		binary.LittleEndian.PutUint32(b[336:], 256) // chunks of 128 KiB
		binary.LittleEndian.PutUint32(b, btree.Sum(b, btree.ThinSuperblock))
	})
	_, dev = found(t, c, "vgw/kept")
	require.Equal(t, Doubt, Judge(block.Summarise(dev)))
}

// TestPoolMarkedForCheck reads what the kernel has read after it had met an error in the
// metadata, which is no reason to believe less of it.
func TestPoolMarkedForCheck(t *testing.T) {
	c := fixtures.Open(t, "needs-check")
	for _, lv := range []string{"vgn/t1", "vgn/s1"} {
		p, dev := found(t, c, lv)
		require.Contains(t, notes(p), "tp: the kernel has met an error in the pool's metadata and marked it for a check")
		require.Equal(t, Complete, Assess(p, block.Summarise(dev)))
		requireHash(t, c.Golden[lv].SHA256, dev)
	}
}

func TestThinWithoutAStripeOfThePoolsData(t *testing.T) {
	c := fixtures.Open(t, "thin")
	_, dev := found(t, c, "vgs/r1")
	healthy := content(t, dev)
	for _, disk := range []string{"b", "c"} {
		_, dev := found(t, c, "vgs/r1", disk)
		totals := block.Summarise(dev)
		require.NotZero(t, totals.Bad)
		requireNoLie(t, healthy, dev)
	}
}

func TestThinPoolItselfIsItsData(t *testing.T) {
	c := fixtures.Open(t, "thin")
	_, pool := found(t, c, "vgt/tp")
	_, data := found(t, c, "vgt/tp_tdata")
	require.Equal(t, content(t, data), content(t, pool))
}

func TestWritecacheDamage(t *testing.T) {
	for _, corpus := range []string{"writecache", "writecache-crash", "writecache-pmem", "writecache-pmem-crash"} {
		for _, key := range []string{"vgw/w4k", "vgw/w512"} {
			t.Run(corpus+" "+key[4:], func(t *testing.T) {
				c := fixtures.Open(t, corpus)
				p, dev := found(t, c, key)
				healthy := content(t, dev)
				_, origin := found(t, c, key+"_wcorig")
				require.NotEqual(t, content(t, origin), healthy, "the cache has something that the origin has not")

				whole := func(dev block.Device) {
					t.Helper()
					require.Equal(t, dev.Size(), block.Summarise(dev).Doubtful)
					require.Equal(t, content(t, origin), content(t, dev))
				}
				_, dev = found(t, c, key, "b")
				whole(dev)
				target := p.Root.Segments[0].Target.(activate.Writecache)
				disk := under(t, target.Cache)
				for _, how := range []func(b []byte){func(b []byte) { clear(b) }, func(b []byte) { b[0]++ }} {
					undo := disk.change(t, 0, 64, how)
					_, dev = found(t, c, key)
					whole(dev)
					undo()
				}
				disk.change(t, 64, 16, func(b []byte) { clear(b); b[7] = 0xff }) // an entry that cannot be
				_, dev = found(t, c, key)
				require.Equal(t, dev.Size(), block.Summarise(dev).Doubtful)
			})
		}
	}
}

// TestWritecacheLeavesOutWhatWasNotCommitted: 40 blocks of 4096 bytes were on their way.
func TestWritecacheLeavesOutWhatWasNotCommitted(t *testing.T) {
	c := fixtures.Open(t, "writecache-pmem-crash")
	for key, want := range map[string]int64{"vgw/w4k": 40, "vgw/w512": 320} {
		p, dev := found(t, c, key)
		require.Equal(t, want, p.Root.Segments[0].Target.(activate.Writecache).Map.Uncommitted)
		require.Equal(t, c.Golden[key].SHA256, sha256.Sum256(content(t, dev)))
	}
}

func TestCacheWithoutTheFastDisk(t *testing.T) {
	for _, corpus := range []string{"cache", "cache-crash"} {
		c := fixtures.Open(t, corpus)
		for key, golden := range c.Golden {
			t.Run(corpus+" "+key[4:], func(t *testing.T) {
				p, dev := found(t, c, key, "b")
				_, origin := found(t, c, key+"_corig", "b")
				totals := block.Summarise(dev)
				switch key {
				case "vgc/wt", "vgc/pt":
					require.Equal(t, Degraded, Assess(p, totals))
					requireHash(t, golden.SHA256, dev)
				default:
					require.Equal(t, dev.Size(), totals.Doubtful)
					require.Equal(t, content(t, origin), content(t, dev))
					_, dev = found(t, c, key)
					require.NotEqual(t, content(t, origin), content(t, dev), "the cache has something that the origin has not")
				}
			})
		}
	}
}

// TestCacheTruthWithEachMetadataBlockDamaged breaks every block of the caches' metadata in
// turn. What is then called good is right.
func TestCacheTruthWithEachMetadataBlockDamaged(t *testing.T) {
	if testing.Short() {
		t.Skip("too slow for the race detector: runs without -short")
	}
	for _, corpus := range []string{"cache", "cache-crash"} {
		c := fixtures.Open(t, corpus)
		for key := range c.Golden {
			t.Run(corpus+" "+key[4:], func(t *testing.T) {
				vg, _, err := find(t, c, key, rebuild.Options{})
				require.NoError(t, err)
				p := planned(t, vg, key)
				healthy := content(t, Open(p))
				target := p.Root.Segments[0].Target.(activate.Cache)
				disk := under(t, target.Metadata)
				worse := 0
				for at := int64(0); at < target.MetadataSize; at += btree.BlockSize {
					used := false
					undo := disk.change(t, at, btree.BlockSize, func(b []byte) {
						used = binary.LittleEndian.Uint32(b) != 0
						b[40] ^= 4
					})
					if used {
						p := planned(t, vg, key)
						dev := Open(p)
						requireNoLie(t, healthy, dev)
						if Assess(p, block.Summarise(dev)) != Complete {
							worse++
						}
					}
					undo()
				}
				require.GreaterOrEqual(t, worse, 3, "superblock, root of the mappings and their array block")
			})
		}
	}
}

func TestCacheThatSaysOtherwise(t *testing.T) {
	c := fixtures.Open(t, "cache-crash")
	p, dev := found(t, c, "vgc/wb2")
	require.Contains(t, notes(p), "wb2: the cache was not shut down cleanly")
	require.Equal(t, Complete, Assess(p, block.Summarise(dev)))
	p, _ = found(t, c, "vgc/wt")
	require.Empty(t, notes(p))

	target := p.Root.Segments[0].Target.(activate.Cache)
	super := func(how func(b []byte)) {
		under(t, target.Metadata).change(t, 0, btree.BlockSize, func(b []byte) {
			how(b)
			binary.LittleEndian.PutUint32(b, btree.Sum(b, btree.CacheSuperblock))
		})
	}
	super(func(b []byte) { b[4] |= 2 })
	p, dev = found(t, c, "vgc/wt")
	require.Contains(t, notes(p), "marked it for a check")
	require.Equal(t, Complete, Assess(p, block.Summarise(dev)))
	super(func(b []byte) { binary.LittleEndian.PutUint32(b[232:], 128) })
	_, dev = found(t, c, "vgc/wt")
	require.Equal(t, Doubt, Judge(block.Summarise(dev)))
}

// TestOlderTreeOfDevices: bad sectors take the tree of devices and the space map that would
// tell that the tree which is left is an older one.
func TestOlderTreeOfDevices(t *testing.T) {
	c := fixtures.Open(t, "thin")
	read := func() (*activate.Plan, block.Device) {
		vg, lv, err := find(t, c, "vgt/t1", rebuild.Options{})
		require.NoError(t, err)
		plan, err := activate.New(vg, lv, OpenVolume)
		require.NoError(t, err)
		return plan, Open(plan)
	}
	_, dev := read()
	want := make([]byte, dev.Size())
	_, err := dev.ReadAt(want, 0)
	require.NoError(t, err)
	info, err := os.Stat(c.Disk("a"))
	require.NoError(t, err)
	m := &block.Mapfile{}
	m.Add(29138432, block.Finished)
	m.Add(33792, block.BadSector)
	m.Add(info.Size()-m.End(), block.Finished)
	require.NoError(t, block.SaveMapfile(c.Disk("a")+".map", m))
	plan, dev := read()
	require.Equal(t, Doubt, Assess(plan, block.Summarise(dev)))
	requireRight(t, want, dev)
}
