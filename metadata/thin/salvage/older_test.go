package salvage_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures/pdata"
	"github.com/lvrescue/lvrescue/metadata/btree"
	"github.com/lvrescue/lvrescue/metadata/thin"
	"github.com/lvrescue/lvrescue/metadata/thin/salvage"
)

// generations is a pool in which device 2 was removed, made anew and removed again, and in
// which device 3 has half of the data of the first of the two.
func generations() ([]byte, salvage.Hints) {
	m := pdata.New()
	run := func(first, data, n uint64) []pdata.Entry {
		var all []pdata.Entry
		for i := range n {
			all = append(all, pdata.Mapping(first+i, data+i, 0))
		}
		return all
	}
	one := pdata.Device{ID: 1, Root: m.Tree(8, run(0, 0, 600)), Mapped: 600}
	two := pdata.Device{ID: 2, Root: m.Tree(8, run(10, 1000, 400)), Mapped: 400, Transaction: 1}
	m.Commit(pdata.Pool{Transaction: 2, Devices: []pdata.Device{one, two}})
	m.Commit(pdata.Pool{Transaction: 3, Devices: []pdata.Device{one}})
	again := pdata.Device{ID: 2, Root: m.Tree(8, run(0, 2000, 20)), Mapped: 20, Transaction: 3}
	m.Commit(pdata.Pool{Transaction: 4, Devices: []pdata.Device{one, again}})
	three := pdata.Device{ID: 3, Root: m.Tree(8, run(0, 1000, 200)), Mapped: 200, Transaction: 5}
	m.Commit(pdata.Pool{Transaction: 6, Devices: []pdata.Device{one, three}})
	return *m, salvage.Hints{ChunkSize: 65536, TransactionID: 6, Devices: map[uint32]uint64{1: 0, 3: 5}}
}

func TestOlderStates(t *testing.T) {
	b, hints := generations()
	p := salvaged(t, b, hints)
	require.Len(t, p.Devices, 2)
	all := p.Older()
	require.Len(t, all, 2)
	p.Reuse(all...)
	for i, want := range []struct{ made, mapped, last, reused uint64 }{{3, 20, 19, 0}, {1, 400, 409, 200}} {
		o := all[i]
		require.Equal(t, uint32(2), o.ID)
		require.True(t, p.Removed(o))
		require.Equal(t, want.made, o.Known.TransactionID)
		require.Equal(t, []uint64{want.mapped, want.last, want.reused}, []uint64{o.Mapped, o.Last, o.Reused})
	}
	var runs []thin.Run
	for r := range p.OlderDevice(all[1]).Runs(0, 500) {
		runs = append(runs, r)
	}
	const doubt = "the thin device was removed: its data may have been used by another that is gone too"
	require.Equal(t, []thin.Run{
		{First: 0, Last: 9, State: thin.Hole, Doubt: doubt},
		{First: 10, Last: 209, State: thin.Lost, Err: runs[1].Err},
		{First: 210, Last: 409, Data: 1200, Doubt: doubt},
		{First: 410, Last: 500, State: thin.Hole, Doubt: doubt},
	}, runs)
	require.EqualError(t, runs[1].Err, "a thin device of today has this block of the pool's data")
}

// TestStatesWithoutSuperblock: of four states the one is taken that has the VG's devices, and
// without the VG's text everything is in doubt that an older state has otherwise.
func TestStatesWithoutSuperblock(t *testing.T) {
	b, hints := generations()
	want := truthOf(t, b, 1, 3)
	spoil(b, 0)
	p := salvaged(t, b, hints)
	require.Equal(t, share{sure: 800, all: 800}, want.hold(t, p))
	p = salvaged(t, b, salvage.Hints{ChunkSize: 65536})
	require.Zero(t, want.hold(t, p).wrong)

	_, err := salvage.Run(image(b), int64(len(b)), salvage.Hints{})
	require.ErrorContains(t, err, "nothing else tells the pool's chunk size")
	_, err = salvage.Run(image(make([]byte, 1<<20)), 1<<20, hints)
	require.ErrorContains(t, err, "none of the 256 blocks")
}

// FuzzSalvage changes nodes of a pool, and gives them valid checksums.
func FuzzSalvage(f *testing.F) {
	whole, hints := generations()
	f.Add(uint16(0), uint16(320), []byte{9, 0, 0, 0, 0, 0, 0, 0}, uint16(1))
	for block := range uint16(len(whole) / btree.BlockSize) {
		f.Add(block, uint16(32), []byte{1, 2, 3}, block+1)
		f.Add(block, uint16(4), []byte{1, 0, 0, 0}, uint16(0))
	}
	f.Fuzz(func(t *testing.T, block, at uint16, change []byte, lost uint16) {
		b := slices.Clone(whole)
		n := int(block) % (len(b) / btree.BlockSize)
		raw := b[n*btree.BlockSize:][:btree.BlockSize]
		if kind, ok := btree.Identify(raw, uint64(n)); ok {
			copy(raw[8+int(at)%(btree.BlockSize-8):], change)
			binary.LittleEndian.PutUint64(raw[8:], uint64(n))
			binary.LittleEndian.PutUint32(raw, btree.Sum(raw, kind))
		}
		clear(b[int(lost)%(len(b)/btree.BlockSize)*btree.BlockSize:][:btree.BlockSize])
		for _, guess := range []bool{false, true} {
			hints.Guess = guess
			p, err := salvage.Run(image(b), int64(len(b)), hints)
			if err != nil {
				continue
			}
			_ = p.Damage()
			for id := range p.Devices {
				d, ok := p.Device(id)
				require.True(t, ok)
				gapless(t, d)
			}
			for _, o := range p.Older() {
				gapless(t, p.OlderDevice(o))
			}
		}
	})
}

// gapless goes through a device.
func gapless(t *testing.T, d thin.Device) {
	next := uint64(0)
	for r := range d.Runs(0, 1<<40) {
		require.Equal(t, next, r.First)
		require.GreaterOrEqual(t, r.Last, r.First)
		next = r.Last + 1
	}
	require.Equal(t, uint64(1<<40+1), next)
}

func TestBlocksClaimedTwice(t *testing.T) {
	m := pdata.New()
	one := m.Tree(8, []pdata.Entry{pdata.Mapping(0, 5, 0), pdata.Mapping(1, 6, 0)})
	two := m.Tree(8, []pdata.Entry{pdata.Mapping(0, 5, 0), pdata.Mapping(9, 6, 1)})
	m.Commit(pdata.Pool{Devices: []pdata.Device{{ID: 1, Root: one, Mapped: 2}, {ID: 2, Root: two, Mapped: 2}}})
	found, ok := salvaged(t, *m, salvage.Hints{}).Conflicts(100)
	require.True(t, ok)
	require.Equal(t, []salvage.Conflict{{Data: 6, Block: 1, Other: 9, Time: 0, Since: 1}}, found)
	_, ok = salvaged(t, *m, salvage.Hints{}).Conflicts(1 << 60)
	require.False(t, ok)

	requireDoubtful(t, salvaged(t, *m, salvage.Hints{}), map[uint32][]uint64{1: {1}, 2: {9}})
	pool := m.Block(0)
	binary.LittleEndian.PutUint64(pool[64:], 6) // block 6 is behind the end of the data
	m.Seal(0, btree.ThinSuperblock)
	requireDoubtful(t, salvaged(t, *m, salvage.Hints{}), map[uint32][]uint64{})
}

// TestDoubtfulClaimLeavesTheOtherAlone: a device that is doubtful as a whole says nothing of
// another's blocks.
func TestDoubtfulClaimLeavesTheOtherAlone(t *testing.T) {
	m := pdata.New()
	one := m.Tree(8, []pdata.Entry{pdata.Mapping(0, 5, 0), pdata.Mapping(1, 6, 0)})
	two := m.Tree(8, []pdata.Entry{pdata.Mapping(9, 6, 1)})
	m.Commit(pdata.Pool{Devices: []pdata.Device{{ID: 1, Root: one, Mapped: 2}, {ID: 2, Root: two, Mapped: 3}}})
	requireDoubtful(t, salvaged(t, *m, salvage.Hints{}), map[uint32][]uint64{2: {9}})
}

// requireDoubtful wants these mapped blocks of the devices to be doubtful, and no others.
func requireDoubtful(t *testing.T, p *salvage.Pool, want map[uint32][]uint64) {
	t.Helper()
	got := map[uint32][]uint64{}
	for id := range p.Devices {
		d, _ := p.Device(id)
		for r := range d.Runs(0, 1<<20) {
			for b := r.First; r.State == thin.Mapped && r.Doubt != "" && b <= r.Last; b++ {
				got[id] = append(got[id], b)
			}
		}
	}
	require.Equal(t, want, got)
}
