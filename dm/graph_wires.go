// SPDX-License-Identifier: MIT

package dm

import (
	"cmp"
	"slices"
)

// wires is a graph as numbers of nodes, made for one walk over it.
type wires struct {
	index map[Dev]int
	down  [][]int // what each node stands on
	up    [][]int // what stands on it
	group []int   // of each node: nodes of one ring share it; set by groups
}

func (g Graph) wires() *wires {
	w := &wires{
		index: make(map[Dev]int, len(g.Nodes)),
		down:  make([][]int, len(g.Nodes)), up: make([][]int, len(g.Nodes)),
	}
	for i, n := range g.Nodes {
		w.index[n.Dev] = i
	}
	for i, n := range g.Nodes {
		for _, d := range n.lower() {
			if j, ok := w.index[d]; ok { // one made by hand may be incomplete
				w.down[i] = append(w.down[i], j)
				w.up[j] = append(w.up[j], i)
			}
		}
	}
	return w
}

// reach marks what can be come to from a node, and the node.
func (w *wires) reach(from int, way [][]int) []bool {
	seen := make([]bool, len(way))
	seen[from] = true
	for todo := []int{from}; len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, j := range way[i] {
			if !seen[j] {
				seen[j] = true
				todo = append(todo, j)
			}
		}
	}
	return seen
}

// groups are the strongly connected parts, lower ones first: Tarjan's
// algorithm. A part is one node, or a ring of several.
func (w *wires) groups() [][]int {
	n := len(w.down)
	w.group = make([]int, n)
	number, low := make([]int, n), make([]int, n) // from 1; 0 is not visited
	onStack := make([]bool, n)
	var stack []int
	var out [][]int
	count := 0
	var visit func(int)
	visit = func(i int) {
		count++
		number[i], low[i] = count, count
		stack, onStack[i] = append(stack, i), true
		for _, j := range w.down[i] {
			if number[j] == 0 {
				visit(j)
				low[i] = min(low[i], low[j])
			} else if onStack[j] {
				low[i] = min(low[i], number[j])
			}
		}
		if low[i] != number[i] {
			return
		}
		at := slices.Index(stack, i)
		part := slices.Clone(stack[at:])
		stack = stack[:at]
		slices.Sort(part)
		for _, j := range part {
			onStack[j], w.group[j] = false, len(out)
		}
		out = append(out, part)
	}
	for i := range n {
		if number[i] == 0 {
			visit(i)
		}
	}
	return out
}

// order is every node behind what it stands on, and the rings that make that
// impossible.
func (w *wires) order() (order []int, rings [][]int) {
	for _, part := range w.groups() {
		order = append(order, part...)
		if len(part) > 1 || slices.Contains(w.down[part[0]], part[0]) {
			rings = append(rings, part)
		}
	}
	slices.SortFunc(rings, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return order, rings
}

// ends are the nodes from which way leads nowhere; of a ring that can't be
// left that way, the first.
func (w *wires) ends(way [][]int) []int {
	var list []int
	for _, part := range w.groups() {
		leads := slices.ContainsFunc(part, func(i int) bool {
			return slices.ContainsFunc(way[i], func(j int) bool { return w.group[j] != w.group[i] })
		})
		if !leads {
			list = append(list, part[0])
		}
	}
	slices.Sort(list)
	return list
}
