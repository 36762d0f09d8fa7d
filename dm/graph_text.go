// SPDX-License-Identifier: MIT

package dm

import (
	"slices"
	"strings"
)

// TreeOptions change Tree; the zero value draws as dmsetup ls --tree does in
// a UTF-8 locale.
type TreeOptions struct {
	ASCII bool // draw with |- and `-
	// Inverted puts the disks at the roots, and what stands on a device
	// below it.
	Inverted bool
	// Once draws what is below a device only the first time that the device
	// comes; later its line ends in " ...".
	Once bool
}

// maxTreeLines is when a tree is drawn with Once whatever was asked for: each
// diamond in a stack doubles what is below it.
const maxTreeLines = 1 << 16

// String is the tree, see [Graph.Tree].
func (g Graph) String() string { return g.Tree(TreeOptions{}) }

// Tree draws the graph, a line for each device: [Graph.Roots], and below each
// the devices that it stands on, those of an inactive table last. A device that several stand on comes once for
// each, with all that is below it, as long as that makes no more than 65536
// lines and no ring of devices is among them. Behind the device stands in brackets what is particular about it:
//
//	[inactive]  only the table in the inactive slot maps it
//	[missing]   it is there no more
//	[ring]      it stands on itself; the line is drawn no further
//
// Devices are named by [Name.Label], which a terminal can show.
func (g Graph) Tree(opts TreeOptions) string {
	w := g.wires()
	t := tree{g: g, opts: opts, way: w.down, roots: w.ends(w.up), under: make([]bool, len(g.Nodes)), drawn: make([]bool, len(g.Nodes))}
	if opts.Inverted {
		t.way, t.roots = w.up, w.ends(w.down)
	}
	t.last, t.more, t.bar = " └─", " ├─", " │ "
	if opts.ASCII {
		t.last, t.more, t.bar = " `-", " |-", " | "
	}
	t.opts.Once = opts.Once || t.lines(w) > maxTreeLines
	for _, i := range t.roots {
		t.b.WriteString(g.Nodes[i].String())
		t.below(i, "")
	}
	return t.b.String()
}

// tree is a drawing under way.
type tree struct {
	g               Graph
	opts            TreeOptions
	way             [][]int // to the next level
	roots           []int
	under           []bool // is on the way from the root to here
	drawn           []bool // with what is below it
	last, more, bar string
	b               strings.Builder
}

// below ends the line of a device and draws what comes under it; rest is what
// their lines begin with.
func (t *tree) below(i int, rest string) {
	next := t.way[i]
	switch {
	case t.under[i]:
		t.b.WriteString(" [ring]\n")
		return
	case t.opts.Once && t.drawn[i] && len(next) > 0:
		t.b.WriteString(" ...\n")
		return
	}
	t.b.WriteByte('\n')
	t.under[i], t.drawn[i] = true, true
	for at, j := range next {
		first, then := t.more, rest+t.bar
		if at == len(next)-1 {
			first, then = t.last, rest+"   "
		}
		t.b.WriteString(rest + first + t.g.Nodes[j].String())
		if t.inactive(i, j) {
			t.b.WriteString(" [inactive]")
		}
		t.below(j, then)
	}
	t.under[i] = false
}

// inactive reports whether only an inactive table ties the two together.
func (t *tree) inactive(i, j int) bool {
	if t.opts.Inverted {
		i, j = j, i
	}
	return !slices.Contains(t.g.Nodes[i].Below, t.g.Nodes[j].Dev)
}

// lines is how many the tree has without Once, or more than the limit. In a
// ring of several devices that depends on where one comes in: too many, then.
func (t *tree) lines(w *wires) int {
	parts := w.groups() // lower ones first
	if t.opts.Inverted {
		slices.Reverse(parts)
	}
	count := make([]int, len(t.way))
	for _, part := range parts {
		if len(part) > 1 {
			return maxTreeLines + 1
		}
		i := part[0]
		count[i] = 1
		for _, j := range t.way[i] {
			count[i] = min(count[i]+count[j], maxTreeLines+1)
		}
	}
	sum := 0
	for _, i := range t.roots {
		sum = min(sum+count[i], maxTreeLines+1)
	}
	return sum
}
