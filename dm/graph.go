// SPDX-License-Identifier: MIT

package dm

import (
	"slices"

	"github.com/linuxblock/linuxblock/internal/blockdev"
)

// Graph says which devices stand on which. [Client.Graph] makes one; it is a
// plain value, which stays as it is when devices change, prints as a tree
// ([Graph.Tree]), for Graphviz ([Graph.DOT]) and as JSON, and can be read back
// from JSON. There are names in it and no tables, so no keys.
type Graph struct {
	// Nodes are in natural order of their names, lv2 before lv10; those
	// without a name come last, by number. No two have the same Dev.
	Nodes []Node
}

// Node is a device in a [Graph].
type Node struct {
	// Info is the state of a mapped device. Of any other, Dev and Name are
	// set at most, and Name is then what the kernel calls it, "sda1".
	Info
	Kind Kind
	// File is what stands behind a loop device.
	File string
	// Below are the devices that this one stands on, in the order of Nodes:
	// what the live table maps. Each is a node of the graph.
	Below []Dev
	// InactiveBelow are those that the table in the inactive slot maps.
	InactiveBelow []Dev
}

// Kind tells drivers apart. There may be more in later versions.
type Kind string

// The kinds that there are now. All but KindMapped are of other drivers.
const (
	KindMapped    Kind = blockdev.KindMapped    // device-mapper's: "dm"
	KindDisk      Kind = blockdev.KindDisk      // of any driver that is not told apart: "disk"
	KindPartition Kind = blockdev.KindPartition // "part"
	KindLoop      Kind = blockdev.KindLoop      // "loop"
	KindRAID      Kind = blockdev.KindRAID      // Linux software RAID: "md"
	// KindMissing is a device that a table maps, and that is there no more:
	// a disk that was pulled out.
	KindMissing Kind = "missing"
	// KindUnknown is a device of another driver when the machine can't be
	// asked: the client is on a double without a [System].
	KindUnknown Kind = "unknown"
)

// Label is the name of n for the eye, see [Name.Label]; empty when it has
// none.
func (n Node) Label() string { return n.Name.Label() }

// String prints a node as a line of the tree does: "lv10 (254:3)".
func (n Node) String() string {
	s := "(" + n.Dev.String() + ")"
	if n.Name != "" {
		s = n.Label() + " " + s
	}
	switch {
	case n.Kind == KindMissing:
		s += " [missing]"
	case n.File != "":
		s += " [" + printable(n.File) + "]"
	}
	return s
}

// lower lists the devices that n stands on with either table, without
// repetition.
func (n Node) lower() []Dev {
	if len(n.InactiveBelow) == 0 {
		return n.Below
	}
	list := slices.Clone(n.Below)
	for _, d := range n.InactiveBelow {
		if !slices.Contains(n.Below, d) {
			list = append(list, d)
		}
	}
	return list
}

// Node finds the device with a number.
func (g Graph) Node(dev Dev) (n Node, ok bool) {
	i := slices.IndexFunc(g.Nodes, func(n Node) bool { return n.Dev == dev })
	if i < 0 {
		return Node{}, false
	}
	return g.Nodes[i], true
}

// Roots are the devices that no other one stands on, in the order of Nodes.
// Of devices that stand on each other in a ring, and carry nothing else, the
// first counts.
func (g Graph) Roots() []Node {
	w := g.wires()
	return g.pick(w.ends(w.up))
}

// Leaves are the devices that stand on no other one, in the order of Nodes:
// disks, and mapped devices without a table, or with one that maps nothing. Of
// a ring that stands on nothing else the first counts.
func (g Graph) Leaves() []Node {
	w := g.wires()
	return g.pick(w.ends(w.down))
}

// Users are the devices that stand on dev directly, with their live or, when
// the graph has those, their inactive table; in the order of Nodes. None when
// dev is not in the graph.
func (g Graph) Users(dev Dev) []Node {
	var list []Node
	for _, n := range g.Nodes {
		if slices.Contains(n.Below, dev) || slices.Contains(n.InactiveBelow, dev) {
			list = append(list, n)
		}
	}
	return list
}

// Dependents are the devices that break if dev goes away: all that stand on
// it, directly or not. They are in the order in which they have to be removed
// first, each before what it stands on. dev itself is not among them.
//
// Programs and mounts hold devices too; Info.Open counts them, see
// [Graph.OpenElsewhere].
func (g Graph) Dependents(dev Dev) []Node {
	w := g.wires()
	at, ok := w.index[dev]
	if !ok {
		return nil
	}
	above := w.reach(at, w.up)
	above[at] = false
	order, _ := w.order()
	var list []Node
	for _, i := range slices.Backward(order) {
		if above[i] {
			list = append(list, g.Nodes[i])
		}
	}
	return list
}

// OpenElsewhere is how often a mapped device is open beyond the devices in the
// graph that stand on it: by mounts, programs, and devices and inactive tables
// that the graph does not have. 0 for a device of another driver, of which that is not known.
//
// The driver opens a device once for all tables of another one; a second time
// when one table reads it and another writes it, which counts here.
func (g Graph) OpenElsewhere(dev Dev) int {
	n, _ := g.Node(dev)
	return max(0, n.Open-len(g.Users(dev)))
}

// Order lists all nodes so that each comes behind what it stands on: disks
// first, in which order a stack is built, or resumed.
//
// rings is nil as a rule. But the driver lets a device be loaded with a table
// that leads back to it through others, older ones (Linux 6.1) even with one
// that maps it, and then no order is right: each element is a set of devices
// that stand on each other in a circle, in the order of Nodes. They are next
// to each other in the list.
func (g Graph) Order() (order []Node, rings [][]Node) {
	w := g.wires()
	list, groups := w.order()
	for _, ring := range groups {
		rings = append(rings, g.pick(ring))
	}
	return g.pick(list), rings
}

// Filter is the graph of the nodes that keep wants, with what they stand on
// among themselves.
func (g Graph) Filter(keep func(Node) bool) *Graph {
	out := &Graph{}
	kept := map[Dev]bool{}
	for _, n := range g.Nodes {
		if keep(n) {
			out.Nodes = append(out.Nodes, n)
			kept[n.Dev] = true
		}
	}
	only := func(devs []Dev) []Dev {
		var list []Dev
		for _, d := range devs {
			if kept[d] {
				list = append(list, d)
			}
		}
		return list
	}
	for i := range out.Nodes {
		n := &out.Nodes[i]
		n.Below, n.InactiveBelow = only(n.Below), only(n.InactiveBelow)
	}
	return out
}

// Stack is the part of the graph that has to do with some devices: they, all
// that they stand on, and all that stands on them.
func (g Graph) Stack(devs ...Dev) *Graph {
	w := g.wires()
	want := make([]bool, len(g.Nodes))
	for _, d := range devs {
		at, ok := w.index[d]
		if !ok {
			continue
		}
		for _, way := range [][][]int{w.up, w.down} {
			for i, found := range w.reach(at, way) {
				want[i] = want[i] || found
			}
		}
	}
	return g.Filter(func(n Node) bool { return want[w.index[n.Dev]] })
}

func (g Graph) pick(list []int) []Node {
	var nodes []Node
	for _, i := range list {
		nodes = append(nodes, g.Nodes[i])
	}
	return nodes
}
