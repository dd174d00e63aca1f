package dm

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/metadata"
)

// fakeKernel keeps devices as the kernel does, and fails or dies at a step.
type fakeKernel struct {
	mu      sync.Mutex // for what takes devices down
	devs    map[string]*fakeDevice
	nodes   map[string]uint64
	loops   map[uint64]bool // held by lvrescue
	missing string          // a target that it does not have
	next    uint64

	steps, failAt, dieAt int // counted from 1; 0: never
}

type fakeDevice struct {
	info
	table, loaded []line
}

var errStep = errors.New("the step failed")

// died is the panic of a kernel at whose step lvrescue was killed.
type died struct{}

func newFake() *fakeKernel {
	return &fakeKernel{devs: map[string]*fakeDevice{}, nodes: map[string]uint64{}, loops: map[uint64]bool{}}
}

// packed is a device number, as major and minor take it apart.
func packed(major, minor uint64) uint64 { return major<<8 | minor&0xff | minor&^0xff<<12 }

func (k *fakeKernel) step() error {
	k.steps++
	switch k.steps {
	case k.dieAt:
		panic(died{})
	case k.failAt:
		return errStep
	}
	return nil
}

func (k *fakeKernel) create(name, uuid string) (uint64, error) {
	if err := k.step(); err != nil {
		return 0, err
	}
	if k.devs[name] != nil {
		return 0, syscall.EBUSY
	}
	k.next++
	k.devs[name] = &fakeDevice{info: info{name: name, uuid: uuid, dev: packed(253, k.next)}}
	return k.devs[name].dev, nil
}

func (k *fakeKernel) load(name string, writable bool, table []line) error {
	if err := k.step(); err != nil {
		return err
	}
	for _, l := range table {
		if l.kind == k.missing {
			return syscall.EINVAL
		}
	}
	k.devs[name].loaded = table
	k.devs[name].readOnly = !writable
	return nil
}

func (k *fakeKernel) resume(name string) error {
	if err := k.step(); err != nil {
		return err
	}
	k.devs[name].table, k.devs[name].active = k.devs[name].loaded, true
	return nil
}

// opens counts how many devices stand on one.
func (k *fakeKernel) opens(dev uint64) (n int) {
	for _, d := range k.devs {
		for _, l := range append(d.table, d.loaded...) {
			if slices.Contains(strings.Fields(l.params), fmt.Sprintf("%d:%d", major(dev), minor(dev))) {
				return 1
			}
		}
	}
	return 0
}

func (k *fakeKernel) remove(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.step(); err != nil {
		return nil // removing does not fail here
	}
	d := k.devs[name]
	if d == nil {
		return syscall.ENXIO
	}
	if k.opens(d.dev)+d.open > 0 {
		return syscall.EBUSY
	}
	delete(k.devs, name)
	return nil
}

func (k *fakeKernel) link(name string, dev uint64) error {
	if err := k.step(); err != nil {
		return err
	}
	k.nodes[name] = dev
	return nil
}

func (k *fakeKernel) unlink(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.nodes, name)
	return nil
}

func (k *fakeKernel) attachSource(*Source) (uint64, io.Closer, error)   { return k.attach() }
func (k *fakeKernel) attachScratch(*Scratch) (uint64, io.Closer, error) { return k.attach() }

func (k *fakeKernel) attach() (uint64, io.Closer, error) {
	if err := k.step(); err != nil {
		return 0, nil, err
	}
	k.next++
	dev := packed(7, k.next)
	k.loops[dev] = true
	return dev, fakeHold{k, dev}, nil
}

type fakeHold struct {
	k   *fakeKernel
	dev uint64
}

func (h fakeHold) Close() error {
	delete(h.k.loops, h.dev)
	return nil
}

func (k *fakeKernel) devices() ([]string, error) { return slices.Sorted(maps.Keys(k.devs)), nil }

func (k *fakeKernel) info(name string) (info, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.devs[name]
	if d == nil {
		return info{}, syscall.ENXIO
	}
	i := d.info
	i.open += k.opens(d.dev)
	return i, nil
}

func (k *fakeKernel) settle()                                 {}
func (k *fakeKernel) left(string) int64                       { return 1 << 30 }
func (k *fakeKernel) tableStatus(name string) ([]line, error) { return k.devs[name].table, nil }
func (k *fakeKernel) hasTarget(kind string) bool              { return kind != k.missing }
func (k *fakeKernel) holders(uint64) []string                 { return []string{"process 1 (init) has it open"} }

// host is a Host on a fake kernel.
func host(t *testing.T, k kernel, dir string) *Host {
	t.Helper()
	h, err := newHost(k, records(dir), io.NopCloser(nil))
	require.NoError(t, err)
	return h
}

// stacked is an LV with arrays, fences and files.
func stacked(t *testing.T) *Stack {
	t.Helper()
	c := fixtures.Open(t, "raid-levels")
	for _, p := range plans(t, c.Paths(), nil) {
		if p.plan.LV.Name == "r5ls" {
			s, why := compiled(t, p.plan)
			require.Empty(t, why)
			return s
		}
	}
	require.Fail(t, "no such LV")
	return nil
}

func TestAllOrNothing(t *testing.T) {
	s := stacked(t)
	for step := 1; ; step++ {
		k, dir := newFake(), t.TempDir()
		k.failAt = step
		h := host(t, k, dir)
		err := h.Activate(s, Record{})
		if err == nil {
			require.Greater(t, step, 20)
			active, err := host(t, k, dir).Active()
			require.NoError(t, err)
			require.Len(t, active, 1)
			require.True(t, active[0].Complete)
			return
		}
		require.ErrorIs(t, err, errStep)
		require.NoError(t, h.Close())
		require.Empty(t, k.devs, "step %d", step)
		require.Empty(t, k.nodes)
		require.Empty(t, k.loops)
		require.Empty(t, records(dir).uuids())
	}
}

// TestKilled kills lvrescue before each step, of activation and of the clearing up.
func TestKilled(t *testing.T) {
	s := stacked(t)
	killed := func(do func()) (was bool) {
		defer func() {
			if p := recover(); p != nil {
				require.Equal(t, died{}, p)
				was = true
			}
		}()
		do()
		return false
	}
	clear := func(k *fakeKernel, dir string) {
		h := host(t, k, dir)
		active, err := h.Active()
		require.NoError(t, err)
		for _, a := range active {
			require.NoError(t, h.Deactivate(a))
		}
	}
	for step := 1; ; step++ {
		k, dir := newFake(), t.TempDir()
		k.dieAt = step
		whole := !killed(func() { require.NoError(t, host(t, k, dir).Activate(s, Record{})) })
		k.steps, k.dieAt = 0, 1+step%7
		killed(func() { clear(k, dir) })
		k.dieAt = 0
		clear(k, dir)
		require.Empty(t, k.devs, "step %d", step)
		require.Empty(t, records(dir).uuids())
		if whole {
			require.Greater(t, step, 20)
			return
		}
	}
}

// TestDeactivateAll takes all LVs of a VG down, of which one is in use.
func TestDeactivateAll(t *testing.T) {
	k, dir := newFake(), t.TempDir()
	h := host(t, k, dir)
	for _, p := range plans(t, fixtures.Open(t, "raid-levels").Paths(), nil) {
		s, why := compiled(t, p.plan)
		require.Empty(t, why)
		require.NoError(t, h.Activate(s, Record{}))
	}
	k.devs["lvrescue-vgr-r5ls"].open = 1
	list, err := h.Active()
	require.NoError(t, err)
	for i, err := range h.DeactivateAll(list) {
		if list[i].LV != "r5ls" {
			require.NoError(t, err)
			continue
		}
		var busy *BusyError
		require.ErrorAs(t, err, &busy)
	}
	left, err := h.Active()
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Len(t, k.devs, len(left[0].Devices))
	k.devs["lvrescue-vgr-r5ls"].open = 0
	require.Equal(t, []error{nil}, h.DeactivateAll(left))
	require.Empty(t, k.devs)
	require.Empty(t, k.nodes)
	require.Empty(t, records(dir).uuids())
}

func TestRefusals(t *testing.T) {
	s := stacked(t)
	k, dir := newFake(), t.TempDir()
	require.NoError(t, host(t, k, dir).Activate(s, Record{Health: "complete"}))
	var active *ActiveError
	require.ErrorAs(t, host(t, k, dir).Activate(s, Record{}), &active)
	require.Equal(t, "vgr/r5ls is active already, as device lvrescue-vgr-r5ls", active.Error())

	k.devs[s.Top().Name].open = 1
	h := host(t, k, dir)
	list, err := h.Active()
	require.NoError(t, err)
	require.Equal(t, "complete", list[0].Health)
	require.True(t, list[0].IsOf("vgr") && list[0].IsOf("vgr/r5ls") && list[0].IsOf("/dev/mapper/lvrescue-vgr-r5ls"))
	require.False(t, list[0].IsOf("vgr/r5l"))
	before := len(k.devs)
	var busy *BusyError
	require.ErrorAs(t, h.Deactivate(list[0]), &busy)
	require.Contains(t, busy.Error(), "process 1 (init)")
	require.Len(t, k.devs, before, "nothing is touched")

	k = newFake()
	_, err = k.create(s.Top().Name, "somebody's")
	require.NoError(t, err)
	var name *NameError
	require.ErrorAs(t, host(t, k, t.TempDir()).Activate(s, Record{}), &name)

	k = newFake()
	k.missing = "raid"
	var target *TargetError
	require.ErrorAs(t, host(t, k, t.TempDir()).Activate(s, Record{}), &target)
	require.Equal(t, "dm-raid", target.Module())
	require.Empty(t, k.devs)

	k = newFake()
	vg := s.Top().UUID[len(UUIDPrefix) : len(UUIDPrefix)+idLength]
	_, err = k.create("vgr-r5ls", "LVM-"+vg+"x")
	require.NoError(t, err)
	var live *LiveError
	require.ErrorAs(t, host(t, k, t.TempDir()).Live("vgr", metadata.ID(vg)), &live)
}
