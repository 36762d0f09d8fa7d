// SPDX-License-Identifier: MIT

package dm

import (
	"slices"
	"strings"
)

// DOT prints the graph for Graphviz: each device a node with its number as id,
// an edge from each to what it stands on. Disks are drawn as cylinders,
// missing devices dashed, and so is what only an inactive table maps.
func (g Graph) DOT() string {
	var b strings.Builder
	b.WriteString("digraph \"device-mapper\" {\n\tnode [shape=box];\n")
	for _, n := range g.Nodes {
		label := n.Dev.String()
		if n.Name != "" {
			label = n.Label() + "\n" + label
		}
		if n.File != "" {
			label += "\n" + printable(n.File)
		}
		b.WriteString("\t" + quoteDOT(n.Dev.String()) + " [label=" + quoteDOT(label))
		switch n.Kind {
		case KindMapped:
		case KindMissing:
			b.WriteString(", style=dashed")
		default:
			b.WriteString(", shape=cylinder")
		}
		b.WriteString("];\n")
	}
	for _, n := range g.Nodes {
		for _, d := range n.lower() {
			b.WriteString("\t" + quoteDOT(n.Dev.String()) + " -> " + quoteDOT(d.String()))
			if !slices.Contains(n.Below, d) {
				b.WriteString(` [style=dashed, label="inactive"]`)
			}
			b.WriteString(";\n")
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// quoteDOT writes a string of the language, in which only the quote needs an
// escape; but in labels the backslash has a meaning, as in \N, and &amp; too.
func quoteDOT(s string) string { return `"` + escapeDOT.Replace(s) + `"` }

var escapeDOT = strings.NewReplacer(`\`, `\\`, `&`, "&amp;", `"`, `\"`, "\n", `\n`)
