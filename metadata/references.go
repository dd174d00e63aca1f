package metadata

import "strings"

// checkReferences looks at how LVs make up each other.
func (c *checker) checkReferences() {
	owners := make(map[string]string)
	for _, lv := range c.vg.LVs {
		for _, s := range lv.Segments {
			if kind, _ := areasOf(s.Type); kind.list == keyRAIDs || kind.list == keyRAID0LVs {
				for _, a := range s.Areas {
					c.own(owners, lv, s, a.Name)
				}
			}
			for _, ref := range kindOf(s.Type).references {
				name, ok := s.Node.String(ref.key)
				switch {
				case !ok:
				case c.lvs[name] == nil:
					c.addSegment(lv, s, "unknown-lv", "there is no LV %s for %s", shorten(name), ref.key)
				case ref.alone:
					c.own(owners, lv, s, name)
				}
			}
		}
	}
	c.checkRecursion()
}

// own notes that an LV is part of a segment, and reports a second owner.
func (c *checker) own(owners map[string]string, lv *LV, s *Segment, name string) {
	if name == "" {
		return
	}
	if other, taken := owners[name]; taken {
		c.addSegment(lv, s, "shared-lv", "%s is part of %s already", shorten(name), other)
		return
	}
	owners[name] = lv.Name
}

// visit states of checkRecursion.
const (
	unvisited = iota
	onPath
	done
)

// checkRecursion reports LVs that are part of themselves. The walk keeps its own stack: a
// hostile text may chain as many LVs as it likes.
func (c *checker) checkRecursion() {
	state := make(map[string]int, len(c.vg.LVs))
	type step struct {
		name string
		next []string
	}
	for _, lv := range c.vg.LVs {
		if state[lv.Name] != unvisited {
			continue
		}
		path := []step{{lv.Name, c.parts(lv.Name)}}
		state[lv.Name] = onPath
		for len(path) > 0 {
			top := &path[len(path)-1]
			if len(top.next) == 0 {
				state[top.name] = done
				path = path[:len(path)-1]
				continue
			}
			name := top.next[0]
			top.next = top.next[1:]
			switch state[name] {
			case unvisited:
				state[name] = onPath
				path = append(path, step{name, c.parts(name)})
			case onPath:
				var names []string
				for i := len(path) - 1; i >= 0 && path[i].name != name && len(names) < 10; i-- {
					names = append(names, path[i].name)
				}
				through := ""
				if len(names) > 0 {
					through = " through " + strings.Join(names, ", ")
				}
				c.add(Inconsistency{LV: name, Code: "recursion"}, "LV %s is part of itself%s", name, through)
			}
		}
	}
}

// parts lists the LVs of the VG that an LV's segments are made of.
func (c *checker) parts(name string) []string {
	var parts []string
	for _, s := range c.lvs[name].Segments {
		for _, a := range s.Areas {
			if c.pvs[a.Name] == nil && c.lvs[a.Name] != nil {
				parts = append(parts, a.Name)
			}
		}
		for _, ref := range s.References() {
			if c.lvs[ref] != nil {
				parts = append(parts, ref)
			}
		}
	}
	return parts
}
