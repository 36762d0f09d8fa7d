// SPDX-License-Identifier: MIT

package dm

import (
	"fmt"
	"slices"
	"testing"
)

// The cost of a graph of 2000 devices once the driver has answered.
func BenchmarkGraph(b *testing.B) {
	g := &Graph{Nodes: []Node{{Info: Info{Name: "sda", Dev: Dev{8, 0}}, Kind: KindDisk}}}
	for i := range uint32(2000) {
		n := Node{Info: Info{Name: Name(fmt.Sprint(`vg\x20a-lv`, i)), Dev: Dev{254, i}}, Kind: KindMapped, Below: []Dev{{8, 0}}}
		if i%5 > 0 {
			n.Below = []Dev{{254, i - 1}}
		}
		g.Nodes = append(g.Nodes, n)
	}
	for _, part := range []struct {
		name string
		f    func()
	}{
		{"sort", func() { slices.Reverse(g.Nodes); g.sort() }},
		{"order", func() { g.Order() }},
		{"text", func() { _ = g.Tree(TreeOptions{}) }},
		{"dot", func() { _ = g.DOT() }},
		{"json", func() { g.MarshalJSON() }},
	} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				part.f()
			}
		})
	}
}
