package nbd

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/scan/block"
)

func TestNegotiation(t *testing.T) {
	_, path := start(t, Export{Name: "vg/one", Description: "the first", Dev: newDisk(mib)}, Export{Name: "vg/two", Dev: newDisk(2 * mib)})
	tests := map[string]func(*client){
		"list": func(c *client) {
			all := c.option(optList, nil)
			require.Equal(t, []reply{{repServer, append(named("vg/one"), "the first"...)}, {repServer, named("vg/two")}, {repAck, []byte{}}}, all)
			require.EqualValues(t, repErrInvalid, last(c.option(optList, []byte{1})))
		},
		"info": func(c *client) {
			all := c.option(optInfo, named("vg/two", 0, 3, 0, infoName, 0, infoDescription, 0, infoBlockSize))
			require.Len(t, all, 5)
			require.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x01\x03", string(all[0].data))
			require.Equal(t, "\x00\x01vg/two", string(all[1].data))
			require.Equal(t, "\x00\x03\x00\x00\x00\x01\x00\x00\x10\x00\x02\x00\x00\x00", string(all[3].data))
			require.EqualValues(t, repErrUnknown, last(c.option(optInfo, named("vg/three", 0, 0))))
			require.EqualValues(t, repErrUnknown, last(c.option(optInfo, named("", 0, 0))), "there is no default among two")
		},
		"fields that do not fit": func(c *client) {
			for _, kind := range []uint32{optInfo, optGo} {
				for _, data := range [][]byte{nil, {0, 0, 0}, named("vg/one"), named("vg/one", 0, 1), named("vg/one", 0, 0, 0), {0xff, 0xff, 0xff, 0xff, 0, 0}, named("vg/one", 0xff, 0xff)} {
					require.EqualValues(t, repErrInvalid, last(c.option(kind, data)), "%q", data)
				}
			}
			require.EqualValues(t, repAck, last(c.option(optStructuredReply, nil)))
			for _, data := range [][]byte{nil, named("vg/one"), queries("vg/one")[:9], append(queries("vg/one"), 0), be.AppendUint32(named("vg/one"), 1<<32-1)} {
				require.EqualValues(t, repErrInvalid, last(c.option(optSetMetaContext, data)), "%q", data)
			}
		},
		"contexts": func(c *client) {
			require.EqualValues(t, repErrInvalid, last(c.option(optSetMetaContext, queries("vg/one", "base:allocation"))), "without structured replies")
			require.EqualValues(t, repAck, last(c.option(optStructuredReply, nil)))
			for _, test := range []struct {
				option  uint32
				queries []string
				want    int
			}{
				{optListMetaContext, nil, 2},
				{optListMetaContext, []string{"base:"}, 1},
				{optListMetaContext, []string{"lvrescue:damage", "qemu:dirty-bitmap:x"}, 1},
				{optSetMetaContext, nil, 0},
				{optSetMetaContext, []string{"base:"}, 0},
				{optSetMetaContext, []string{"base:allocation", "lvrescue:damage", "base:allocation"}, 2},
			} {
				all := c.option(test.option, queries("vg/one", test.queries...))
				require.Len(t, all, test.want+1, "%v", test.queries)
				require.EqualValues(t, repAck, last(all))
			}
			require.EqualValues(t, repErrUnknown, last(c.option(optSetMetaContext, queries("vg/three", "base:allocation"))))
			// Chosen for one export, they do not count for another.
			require.EqualValues(t, repAck, last(c.option(optSetMetaContext, queries("vg/one", "base:allocation"))))
			require.EqualValues(t, repAck, last(c.option(optGo, named("vg/two", 0, 0))))
			require.EqualValues(t, chunkError, c.chunks(cmdBlockStatus, 0, 0, 512)[0].kind)
		},
		"the old way": func(c *client) {
			c.put(optionOf(optExportName, []byte("vg/one")))
			require.Equal(t, "\x00\x00\x00\x00\x00\x10\x00\x00\x01\x03", string(c.recv(10)))
			errno, _ := c.simple(cmdRead, 0, 0, 512, nil, 512)
			require.Zero(t, errno)
		},
		"the old way, no such export": func(c *client) {
			c.put(optionOf(optExportName, []byte("vg/three")))
			c.closed()
		},
		"unknown options": func(c *client) {
			for _, kind := range []uint32{0, 5, 11, 1<<32 - 1} {
				require.EqualValues(t, repErrUnsup, last(c.option(kind, []byte("data"))))
			}
		},
		"abort": func(c *client) {
			require.EqualValues(t, repAck, last(c.option(optAbort, nil)))
			c.closed()
		},
		"too much data": func(c *client) {
			c.put(optionOf(optInfo, nil)[:12], []byte{0xff, 0xff, 0xff, 0xff})
			c.closed()
		},
		"no option": func(c *client) {
			c.put(bytes.Repeat([]byte{'x'}, optionHeader))
			c.closed()
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test(dial(t, path, flagFixedNewstyle|flagNoZeroes))
		})
	}
	t.Run("unknown client flags", func(t *testing.T) { dial(t, path, 1<<7).closed() })
	t.Run("zeroes", func(t *testing.T) {
		c := dial(t, path, flagFixedNewstyle)
		c.put(optionOf(optExportName, []byte("vg/two")))
		require.Len(t, c.recv(134), 134)
		errno, _ := c.simple(cmdRead, 0, 0, 512, nil, 512)
		require.Zero(t, errno)
	})
}

func TestSimpleReads(t *testing.T) {
	dev, first, _ := damaged()
	s, path := start(t, Export{Name: "lv", Dev: dev})
	c := open(t, path, "", false) // the only one
	errno, got := c.simple(cmdRead, 0, 3, 1000, nil, 1000)
	require.Zero(t, errno)
	require.Equal(t, first.data[3:1003], got)
	for name, test := range map[string]struct {
		kind, flags uint16
		off         uint64
		n           uint32
		errno       uint32
	}{
		"up to the bad range":   {cmdRead, 0, mib - 512, 512, 0},
		"one byte into it":      {cmdRead, 0, mib - 512, 513, errIO},
		"its last byte":         {cmdRead, 0, mib + 64<<10 - 1, 1, errIO},
		"behind it":             {cmdRead, 0, mib + 64<<10, 512, 0},
		"the refused sector":    {cmdRead, 0, uint64(dev.Size()) - mib + 5*512, 512, errIO},
		"more than a piece":     {cmdRead, 0, mib + 128<<10, mib, 0},
		"nothing":               {cmdRead, 0, 0, 0, errInval},
		"beyond the end":        {cmdRead, 0, uint64(dev.Size()) - 511, 512, errInval},
		"far beyond the end":    {cmdRead, 0, 1<<64 - 512, 512, errInval},
		"too much":              {cmdRead, 0, 0, maxRequest + 1, errInval},
		"flags":                 {cmdRead, 1 << 2, 0, 512, errInval},
		"FUA on a read":         {cmdRead, cmdFlagFUA, 0, 512, errInval},
		"no such command":       {42, 0, 0, 512, errInval},
		"status, not chosen":    {cmdBlockStatus, 0, 0, 512, errInval},
		"flush of a read-only":  {cmdFlush, 0, 0, 0, errInval},
		"trim of a read-only":   {cmdTrim, 0, 0, 512, errPerm},
		"zeroes on a read-only": {cmdWriteZeroes, 0, 0, 512, errPerm},
	} {
		t.Run(name, func(t *testing.T) {
			errno, _ := c.simple(test.kind, test.flags, test.off, test.n, nil, int(test.n))
			require.Equal(t, test.errno, errno)
		})
	}
	errno, _ = c.simple(cmdWrite, 0, 0, 4096, make([]byte, 4096), 0)
	require.EqualValues(t, errPerm, errno)
	require.EqualValues(t, 3, s.Stats().Failed)
	c.put(requestOf(cmdDisc, 0, 1, 0, 0))
	c.closed()
}

// TestStructuredReads wants every readable byte, whatever lies between, and the reasons.
func TestStructuredReads(t *testing.T) {
	dev, _, _ := damaged()
	_, path := start(t, Export{Name: "lv", Dev: dev})
	c := open(t, path, "lv", true)
	bad := []block.Extent{{Off: mib, Len: 64 << 10}, {Off: dev.Size() - mib + 5*512, Len: 512}}
	for _, r := range [][2]int64{{0, dev.Size()}, {mib - 100, 200}, {mib + 1, 64<<10 - 2}, {bad[1].Off - 1, 514}, {0, 512}, {dev.Size() - 1, 1}} {
		data, missing, why := assemble(t, c.chunks(cmdRead, 0, uint64(r[0]), uint32(r[1])), r[0], r[1])
		want := make([]byte, r[1])
		var lost []block.Extent
		require.NoError(t, block.ReadRange(dev, want, r[0], func(e block.Extent) {
			if e.State == block.Bad {
				lost = append(lost, block.Extent{Off: e.Off, Len: e.Len})
			}
		}))
		require.Equal(t, want, data)
		require.Equal(t, lost, missing)
		for _, text := range why {
			require.Contains(t, []string{"PV pv1 is?missing", "medium error"}, text)
		}
	}
	require.Equal(t, bad, badOf(t, c, dev.Size()))
}

// badOf reads a whole export sector by sector.
func badOf(t *testing.T, c *client, size int64) (bad []block.Extent) {
	for off := int64(0); off < size; off += 512 {
		_, missing, _ := assemble(t, c.chunks(cmdRead, 0, uint64(off), 512), off, 512)
		for _, e := range missing {
			if last := len(bad) - 1; last >= 0 && bad[last].End() == e.Off {
				bad[last].Len += e.Len
			} else {
				bad = append(bad, e)
			}
		}
	}
	return bad
}

func TestBlockStatus(t *testing.T) {
	dev, _, _ := damaged()
	_, path := start(t, Export{Name: "lv", Dev: dev})
	c := open(t, path, "lv", true)
	const k = 64 << 10
	all := c.chunks(cmdBlockStatus, 0, 0, uint32(dev.Size()))
	require.Equal(t, []descriptor{{mib + 2*k, 0}, {mib, statusHole | statusZero}, {mib, 0}}, statuses(t, all, contextAllocation))
	require.Equal(t, []descriptor{{mib, 0}, {k, statusBad}, {k, statusDoubtful}, {2 * mib, 0}}, statuses(t, all, contextDamage))

	all = c.chunks(cmdBlockStatus, cmdFlagReqOne, mib+10, 2*k)
	require.Equal(t, []descriptor{{2*k - 10, 0}}, statuses(t, all, contextAllocation))
	require.Equal(t, []descriptor{{k - 10, statusBad}}, statuses(t, all, contextDamage))

	require.EqualValues(t, chunkError, c.chunks(cmdBlockStatus, 0, uint64(dev.Size()), 512)[0].kind)
	require.EqualValues(t, chunkError, c.chunks(cmdBlockStatus, 0, 0, 0)[0].kind)
}

// TestStatusIsBounded asks of a device that changes its state with each sector.
func TestStatusIsBounded(t *testing.T) {
	var marks []block.Extent
	const n = 100_000
	for i := range int64(n) {
		marks = append(marks, block.Extent{Off: i * 1024, Len: 512, State: block.Bad, Why: "bad"})
	}
	dev, err := block.NewOverlay(block.NewZero(n*1024), marks)
	require.NoError(t, err)
	_, path := start(t, Export{Name: "lv", Dev: dev})
	c := open(t, path, "lv", true)
	all := c.chunks(cmdBlockStatus, 0, 0, n*1024)
	require.Len(t, statuses(t, all, contextDamage), maxDescriptors)
}

func TestManyClients(t *testing.T) {
	dev := newDisk(4 * mib)
	s, path := start(t, Export{Name: "a", Dev: dev}, Export{Name: "b", Dev: newDisk(mib)})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			c := open(t, path, "a", i%2 == 0)
			for off := int64(i * 512); off < dev.Size(); off += 300_000 {
				n := min(100_000, dev.Size()-off)
				var got []byte
				if i%2 == 0 {
					got, _, _ = assemble(t, c.chunks(cmdRead, 0, uint64(off), uint32(n)), off, n)
				} else {
					_, got = c.simple(cmdRead, 0, uint64(off), uint32(n), nil, int(n))
				}
				if !bytes.Equal(dev.data[off:off+n], got) {
					t.Errorf("client %d got other bytes at %d", i, off)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 16, s.Stats().Clients)
}

// TestRequestsRunSideBySide sends many requests before it takes a reply, more than are
// served at once.
func TestRequestsRunSideBySide(t *testing.T) {
	dev := newDisk(4 * mib)
	_, path := start(t, Export{Name: "a", Dev: dev})
	c := open(t, path, "a", false)
	const n = 4 * maxInFlight
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := range uint64(n) {
			c.Write(requestOf(cmdRead, 0, i, i*4096, 4096))
		}
	})
	seen := map[uint64]bool{}
	for range n {
		h := c.recv(16)
		cookie := be.Uint64(h[8:])
		require.Zero(t, be.Uint32(h[4:]))
		require.Equal(t, dev.data[cookie*4096:][:4096], c.recv(4096))
		seen[cookie] = true
	}
	sent.Wait()
	require.Len(t, seen, n)
}

func TestExportNames(t *testing.T) {
	for _, names := range [][]string{{}, {""}, {"a", "a"}, {"a\x00b"}, {"\xff"}, {strings.Repeat("a", maxName+1)}} {
		var exports []Export
		for _, name := range names {
			exports = append(exports, Export{Name: name, Dev: newDisk(512)})
		}
		_, err := NewServer(exports)
		require.Error(t, err, "%q", names)
	}
}

// TestPublicClients has libnbd's and qemu's own programs read a damaged export.
func TestPublicClients(t *testing.T) {
	dev, first, _ := damaged()
	whole := newDisk(3*mib + 512)
	_, path := start(t, Export{Name: "vg/lv", Dev: dev}, Export{Name: "vg/whole", Dev: whole})
	uri := func(name string) string { return "nbd+unix:///" + name + "?socket=" + path }
	run := func(argv ...string) string {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		require.NoError(t, err, "%v: %s", argv, out)
		return string(out)
	}
	require.Contains(t, run("nbdinfo", "--list", "nbd+unix:///?socket="+path), `export="vg/whole"`)
	require.Equal(t, strings.Fields("0 1048576 0 1048576 65536 1 1114112 65536 2 1179648 2097152 0"),
		strings.Fields(run("nbdinfo", "--map=lvrescue:damage", uri("vg/lv"))))

	out := filepath.Join(t.TempDir(), "out.img")
	for _, argv := range [][]string{{"nbdcopy", uri("vg/whole"), out}, {"qemu-img", "convert", "-f", "raw", "-O", "raw", uri("vg/whole"), out}} {
		run(argv...)
		requireFile(t, out, whole.data)
	}
	// What is bad is an error for all of them, and only that.
	require.Error(t, exec.Command("nbdcopy", uri("vg/lv"), out).Run())
	said := run("qemu-io", "-r", "-f", "raw", "-c", "read 1047552 1024", "-c", "read 1114112 512", uri("vg/lv"))
	require.Equal(t, 2, strings.Count(said, "bytes at offset"), said)
	for _, off := range []string{"1048064 1024", "1048576 512", "1113600 512"} {
		said, _ := exec.Command("qemu-io", "-r", "-f", "raw", "-c", "read "+off, uri("vg/lv")).CombinedOutput()
		require.Contains(t, string(said), "read failed: Input/output error", off)
	}
	salvaged := filepath.Join(t.TempDir(), "salvaged.img")
	run("qemu-img", "convert", "--salvage", "-f", "raw", "-O", "raw", uri("vg/lv"), salvaged)
	requireStart(t, salvaged, first.data)
}

// TestSlowClient leaves replies lying, many times what a connection may hold: others are
// served on all the same.
func TestSlowClient(t *testing.T) {
	dev := newDisk(4 * mib)
	_, path := start(t, Export{Name: "a", Dev: dev})
	slow := open(t, path, "a", false)
	go func() {
		for i := range uint64(4 * maxInFlight) {
			slow.Write(requestOf(cmdRead, 0, i, 0, 4*mib))
		}
	}()
	for _, structured := range []bool{true, false} {
		c := open(t, path, "a", structured)
		if structured {
			got, _, _ := assemble(t, c.chunks(cmdRead, 0, 0, 4*mib), 0, 4*mib)
			require.Equal(t, dev.data, got)
		} else {
			_, got := c.simple(cmdRead, 0, 0, 4*mib, nil, 4*mib)
			require.Equal(t, dev.data, got)
		}
	}
	slow.Close()
}

// TestFault has a device panic: the client gets an error, others are served, and the server
// tells of it in the end.
func TestFault(t *testing.T) {
	_, path, end := serve(t, Export{Name: "a", Dev: faulty{newDisk(mib)}}, Export{Name: "b", Dev: newDisk(mib)})
	for _, structured := range []bool{true, false} {
		c := open(t, path, "a", structured)
		if structured {
			require.EqualValues(t, chunkError, c.chunks(cmdRead, 0, 0, 512)[0].kind)
		} else {
			errno, _ := c.simple(cmdRead, 0, 0, 512, nil, 512)
			require.EqualValues(t, errIO, errno)
		}
	}
	errno, _ := open(t, path, "b", false).simple(cmdRead, 0, 0, 512, nil, 512)
	require.Zero(t, errno)
	var fault *block.Fault
	require.ErrorAs(t, end(), &fault)
}

// faulty panics when it is read.
type faulty struct{ *disk }

func (faulty) ReadAt([]byte, int64) (int, error) { panic("a fault") }
