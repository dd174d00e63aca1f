package dm

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lvrescue/lvrescue/fixtures"
	"github.com/lvrescue/lvrescue/fixtures/damage"
	"github.com/lvrescue/lvrescue/metadata"
)

// notInKernel lists the LVs of the corpora that device-mapper cannot give, with a part of the
// reason.
var notInKernel = func() map[string]string {
	list := map[string]string{}
	for reason, lvs := range map[string]string{
		"a reshape is under way": "raid-reshape/vgh: chunk5 chunk6 chunk10 layout5 narrower wider",
	} {
		vg, names, _ := strings.Cut(lvs, ": ")
		for name := range strings.FieldsSeq(names) {
			list[vg+"/"+name] = reason
		}
	}
	return list
}()

// TestCorporaComeToTheBytesOfUserSpace compares, without a kernel, every LV that comes to tables
// of linear, striped, zero and error alone; TestGuestCorpora looks at the others.
func TestCorporaComeToTheBytesOfUserSpace(t *testing.T) {
	plain := map[string]int{}
	for _, name := range fixtures.Names() {
		t.Run(name, func(t *testing.T) {
			c := fixtures.Open(t, name)
			for _, p := range plans(t, c.Paths(), nil) {
				t.Run(strings.ReplaceAll(shownName(p.plan), "/", "_"), func(t *testing.T) {
					s, why := compiled(t, p.plan)
					want, known := notInKernel[name+"/"+shownName(p.plan)]
					require.Equal(t, known, why != "", "%s", why)
					require.Contains(t, why, want)
					if s != nil && simulate(t, s, p.dev) {
						plain[name]++
					}
				})
			}
		})
	}
	for _, name := range []string{"linear", "striped", "thin", "cache", "cache-crash", "writecache", "writecache-crash", "snapshot", "mirror", "merge", "pvmove", "zero-error"} {
		require.NotZero(t, plain[name], name)
	}
}

// TestDamage loses disks and parts of disks.
func TestDamage(t *testing.T) {
	for corpus, drop := range map[string][]string{
		"linear": {"a", "b"}, "striped": {"a", "b", "c"}, "thin": {"a", "b"}, "cache": {"b"}, "mirror": {"a", "b", "c"}, "snapshot": {"a", "b"},
	} {
		for _, disk := range drop {
			t.Run(corpus+"_without_"+disk, func(t *testing.T) {
				c := fixtures.Open(t, corpus)
				require.NoError(t, c.Drop(disk))
				for _, p := range plans(t, c.Paths(), nil) {
					if s, _ := compiled(t, p.plan); s != nil {
						simulate(t, s, p.dev)
					}
				}
			})
			t.Run(corpus+"_with_holes_in_"+disk, func(t *testing.T) {
				c := fixtures.Open(t, corpus)
				m := "0 + 1\n0 1100000 +\n1100000 513 -\n1100513 2000000 +\n3100513 100000 ?\n3200513 900000000 +\n"
				require.NoError(t, os.WriteFile(c.Disk(disk)+".map", []byte(m), 0o600))
				require.NoError(t, damage.Truncate(c.Disk(disk), 6<<20+100))
				for _, p := range plans(t, c.Paths(), nil) {
					if s, _ := compiled(t, p.plan); s != nil {
						simulate(t, s, p.dev)
					}
				}
			})
		}
	}
}

func TestZeroForWhatIsMissing(t *testing.T) {
	c := fixtures.Open(t, "linear")
	require.NoError(t, c.Drop("b"))
	types := map[string]bool{}
	for _, p := range plans(t, c.Paths(), nil) {
		s, err := Compile(p.plan, Options{ZeroLost: true}, Sources{})
		require.NoError(t, err)
		for _, d := range s.Devices {
			for _, l := range d.Table {
				types[l.Type] = true
			}
		}
	}
	require.Equal(t, map[string]bool{"linear": true, "zero": true}, types)
}

func TestDeviceName(t *testing.T) {
	long := strings.Repeat("n", 100)
	for _, c := range []struct{ vg, lv, want string }{
		{"vg0", "root", "lvrescue-vg0-root"},
		{"my-vg", "a-b", "lvrescue-my--vg-a--b"},
		{"v g", "../x\n", "lvrescue-v=20g-..=2Fx=0A"},
	} {
		require.Equal(t, c.want, DeviceName(c.vg, c.lv))
	}
	require.Len(t, DeviceName(long, long), maxName-maxSuffix)
	require.NotEqual(t, DeviceName(long, long), DeviceName(long, long+"x"))
	for _, bad := range []string{"", "a/b", "a b", "control", "..", strings.Repeat("x", 120)} {
		require.Error(t, CheckName(bad), bad)
	}
	require.NoError(t, CheckName("my-name_1.x+y"))
	require.Equal(t, strings.Repeat("a", idLength), ident(metadata.ID(strings.Repeat("a", idLength)), "x"))
	require.Len(t, ident("damaged", "x"), idLength)
}

func TestScript(t *testing.T) {
	c := fixtures.Open(t, "striped")
	var stacks []*Stack
	sources := Sources{}
	for _, p := range plans(t, c.Paths(), nil) {
		s, err := Compile(p.plan, Options{}, sources)
		require.NoError(t, err)
		stacks = append(stacks, s)
	}
	var b strings.Builder
	require.NoError(t, Script(&b, stacks))
	require.Equal(t, len(c.Disks), strings.Count(b.String(), "losetup"), "each disk is attached once:\n%s", b.String())
	require.Contains(t, b.String(), fmt.Sprintf("loop0=$(losetup --find --show --read-only --offset 4096 -- '%s')\n", c.Disk("a")))
	require.Regexp(t, `(?m)^dmsetup create --concise "lvrescue-\S+,LVRESCUE-\w{64},,ro,0 \d+ striped 2 \d+ \$loop\d \d+ \$loop\d \d+"$`, b.String())
	require.Equal(t, `a\\,b\\;c\"\$\\\\`, escape(`a,b;c"$\`))
	require.Equal(t, `'it'\''s'`, quote("it's"))
}
