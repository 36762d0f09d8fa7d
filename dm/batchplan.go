// SPDX-License-Identifier: MIT

package dm

import (
	"fmt"
	"slices"
	"strings"
)

// batchPlan is a batch with its devices found and its order.
type batchPlan struct {
	c     *Client
	nodes []*batchNode
}

// batchNode is a change and where it stands.
type batchNode struct {
	change
	info  Info  // the device before, of reload and remove
	deps  []Dev // what its live table maps, of reload and remove
	after []int // changes that must be done before, in ascending order
}

func (p *batchPlan) wait(i, before int) {
	if i != before && !slices.Contains(p.nodes[i].after, before) {
		p.nodes[i].after = append(p.nodes[i].after, before)
		slices.Sort(p.nodes[i].after)
	}
}

// planBatch finds the devices of a batch and puts its changes in order.
func (c *Client) planBatch(b *Batch) (*batchPlan, error) {
	p := &batchPlan{c: c}
	for _, h := range b.changes {
		n := &batchNode{change: h}
		if h.kind != changeCreate {
			var err error
			if n.info, err = c.info(h.ref); err == nil && n.info.ActiveTable {
				n.deps, err = c.deps(n.info.Dev, false)
			}
			if err != nil {
				return nil, fail(changeNames[h.kind], h.ref, err)
			}
		}
		p.nodes = append(p.nodes, n)
	}
	at, err := p.index()
	if err != nil {
		return nil, err
	}
	for i, n := range p.nodes {
		// Who uses a device lets go of it first.
		for _, d := range n.deps {
			j, ok := at.devs[d]
			if ok && (p.nodes[j].kind == changeRemove || n.kind == changeRemove) {
				p.wait(j, i)
			}
		}
		for _, path := range lowerDevices(n.table) {
			j, err := p.lower(at, path)
			if err != nil {
				return nil, fail(changeNames[n.kind], n.ref, err)
			}
			if j >= 0 {
				p.wait(i, j)
			}
		}
	}
	return p, p.checkOrder()
}

// batchIndex finds the change of a device.
type batchIndex struct {
	devs  map[Dev]int    // reload and remove
	paths map[string]int // create
	found map[string]Dev // paths that were looked up; many tables map one disk
}

// index also finds changes that contradict each other, and has a device
// that takes the name, the uuid or the number of another wait for its removal.
func (p *batchPlan) index() (at batchIndex, err error) {
	at = batchIndex{devs: map[Dev]int{}, paths: map[string]int{}, found: map[string]Dev{}}
	// What is created.
	names, uuids, minors := map[Name]int{}, map[UUID]int{}, map[uint32]int{}
	twice := func(n *batchNode, what string) error {
		return fail(changeNames[n.kind], n.ref, badTable("%s is in the batch twice", what))
	}
	for i, n := range p.nodes {
		if n.kind != changeCreate {
			if _, ok := at.devs[n.info.Dev]; ok {
				return at, twice(n, n.info.Name.String())
			}
			at.devs[n.info.Dev] = i
			continue
		}
		name := n.ref.(Name)
		if _, ok := names[name]; ok {
			return at, twice(n, name.String())
		}
		names[name] = i
		if u := n.create.UUID; u != "" {
			if _, ok := uuids[u]; ok {
				return at, twice(n, u.String())
			}
			uuids[u] = i
		}
		at.paths["/dev/mapper/"+string(name)] = i
		at.paths[p.c.host.nodes.Path(string(name))] = i
		if m := n.create.Minor; m != nil {
			if _, ok := minors[*m]; ok {
				return at, twice(n, "minor number "+num(*m))
			}
			minors[*m] = i
			at.paths["/dev/dm-"+num(*m)] = i
		}
	}
	for j, old := range p.nodes {
		if old.kind != changeRemove {
			continue
		}
		if i, ok := names[old.info.Name]; ok {
			p.wait(i, j)
		}
		if i, ok := uuids[old.info.UUID]; ok {
			p.wait(i, j)
		}
		if i, ok := minors[old.info.Dev.Minor]; ok {
			p.wait(i, j)
		}
	}
	return at, nil
}

// lower finds the change that must be done before a table can map path, or
// -1.
func (p *batchPlan) lower(at batchIndex, path string) (int, error) {
	if j, ok := at.paths[path]; ok {
		return j, nil
	}
	dev, known := at.found[path]
	if !known {
		var err error
		if dev, err = ParseDev(path); err != nil && p.c.host.system != nil {
			dev.Major, dev.Minor, _, err = p.c.host.system.BlockDevice(path)
		}
		if err != nil {
			dev = Dev{} // the load finds out
		}
		at.found[path] = dev
	}
	j, ok := at.devs[dev]
	if !ok {
		return -1, nil
	}
	if p.nodes[j].kind == changeRemove {
		return -1, badTable("the table maps %s, which the batch removes", path)
	}
	return j, nil
}

// lowerDevices lists the devices of a table.
func lowerDevices(t Table) []string {
	var paths []string
	for _, s := range t {
		if m, ok := s.Target.(Mapper); ok {
			for _, x := range m.Extents(s.Length) {
				paths = append(paths, x.Device)
			}
			continue
		}
		// A target that can't say: whatever looks like a device.
		for _, w := range SplitArgs(s.Target.Params()) {
			if _, err := ParseDev(w); err == nil || strings.HasPrefix(w, "/") {
				paths = append(paths, w)
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// checkOrder refuses changes that wait for each other.
func (p *batchPlan) checkOrder() error {
	waits := make([]int, len(p.nodes))
	for i, n := range p.nodes {
		waits[i] = len(n.after)
	}
	then := p.followers()
	var ready []int
	for i := range p.nodes {
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	done := 0
	for ; done < len(ready); done++ {
		for _, j := range then[ready[done]] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	if done == len(p.nodes) {
		return nil
	}
	var stuck []string
	for i, n := range p.nodes {
		if waits[i] > 0 {
			stuck = append(stuck, n.String())
		}
	}
	return badTable("these changes wait for each other: %s", strings.Join(stuck, ", "))
}

// followers turns the order around: what waits for each change.
func (p *batchPlan) followers() [][]int {
	then := make([][]int, len(p.nodes))
	for i, n := range p.nodes {
		for _, j := range n.after {
			then[j] = append(then[j], i)
		}
	}
	return then
}

// checkUsers refuses a removal of what others have open.
func (p *batchPlan) checkUsers() error {
	users := map[Dev]int{} // devices that the batch takes off
	for _, n := range p.nodes {
		for _, d := range n.deps {
			users[d]++
		}
	}
	for _, n := range p.nodes {
		if n.kind == changeRemove && n.info.Open > users[n.info.Dev] && n.remove.Retries == 0 {
			return fail("remove", n.ref, &Error{Code: ebusy, Detail: fmt.Sprintf("open %d times, %d of them by devices of the batch", n.info.Open, users[n.info.Dev])})
		}
	}
	return nil
}
