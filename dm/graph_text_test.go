// SPDX-License-Identifier: MIT

package dm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// odd is a graph of everything that is hard to print.
func odd() *Graph {
	g := &Graph{Nodes: []Node{
		{Info: Info{Name: `my\x20volume`, UUID: "LVM-x", Dev: Dev{254, 0}, Open: 2, EventNr: 7, Targets: 1, ActiveTable: true, InactiveTable: true},
			Kind: KindMapped, Below: []Dev{{254, 1}, {254, 2}}, InactiveBelow: []Dev{{7, 0}, {254, 2}}},
		{Info: Info{Name: "raw\n\"&lt;\xff\\", UUID: "u\xff", Dev: Dev{254, 1}, Suspended: true, InternalSuspend: true, ReadOnly: true, DeferredRemove: true},
			Kind: KindMapped, Below: []Dev{{8, 0}, {8, 17}}},
		{Info: Info{Name: `\x1b[31m\N\x22`, Dev: Dev{254, 2}}, Kind: KindMapped, Below: []Dev{{254, 2}, {8, 0}}},
		{Info: Info{Name: "é", Dev: Dev{254, 3}}, Kind: KindMapped},
		{Info: Info{Name: "cciss/c0d0", Dev: Dev{8, 0}}, Kind: KindDisk},
		{Info: Info{Dev: Dev{8, 17}}, Kind: KindMissing},
		{Info: Info{Name: "loop0", Dev: Dev{7, 0}}, Kind: KindLoop, File: "/a\tb\xff \"c\""},
	}}
	g.sort()
	return g
}

// golden compares with a file below testdata/graph; with GOLDEN=1 in the
// environment it writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "graph", name)
	if os.Getenv("GOLDEN") == "1" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestGraphText(t *testing.T) {
	g := odd()
	golden(t, "odd.tree", g.Tree(TreeOptions{}))
	golden(t, "odd-ascii-inverted.tree", g.Tree(TreeOptions{ASCII: true, Inverted: true}))
	golden(t, "odd.dot", g.DOT())
	text, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "odd.json", string(text)+"\n")
	stack := graphOf("top: left right; left: base; right: base; base: A B; A:; B:; alone:")
	golden(t, "diamond.tree", stack.Tree(TreeOptions{}))
	golden(t, "diamond-once.tree", stack.Tree(TreeOptions{Once: true}))
	golden(t, "diamond-inverted.tree", stack.Tree(TreeOptions{Inverted: true}))
	for _, s := range []string{g.String(), g.DOT(), string(text)} {
		if i := strings.IndexFunc(s, func(r rune) bool {
			return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == 0xfffd && s != string(text)
		}); i >= 0 {
			t.Errorf("%q would upset a terminal", s[max(0, i-9):i+1])
		}
	}
	checkDOT(t, g)
	checkDOT(t, stack)
	checkDOT(t, &Graph{})
}

// Drawing must end, and with a bearable text, whatever the graph.
func TestGraphTreeEnds(t *testing.T) {
	// 60 diamonds on each other: 2^60 ways down.
	g := &Graph{}
	for i := range uint32(60) {
		top, left, right, base := Dev{254, 3 * i}, Dev{254, 3*i + 1}, Dev{254, 3*i + 2}, Dev{254, 3*i + 3}
		g.Nodes = append(g.Nodes,
			Node{Info: Info{Name: Name(fmt.Sprint("top", i)), Dev: top}, Kind: KindMapped, Below: []Dev{left, right}},
			Node{Info: Info{Name: Name(fmt.Sprint("left", i)), Dev: left}, Kind: KindMapped, Below: []Dev{base}},
			Node{Info: Info{Name: Name(fmt.Sprint("right", i)), Dev: right}, Kind: KindMapped, Below: []Dev{base}})
	}
	g.Nodes = append(g.Nodes, Node{Info: Info{Name: "disk", Dev: Dev{254, 180}}, Kind: KindDisk})
	g.sort()
	for _, inverted := range []bool{false, true} {
		text := g.Tree(TreeOptions{Inverted: inverted})
		if n := strings.Count(text, "\n"); n != 4*60+1 || strings.Count(text, " ...\n") != 59 {
			t.Errorf("inverted %v: %d lines, %d cut", inverted, n, strings.Count(text, " ...\n"))
		}
	}
	small := g.Filter(func(n Node) bool { return n.Dev.Minor >= 3*50 })
	if n := strings.Count(small.String(), "\n"); n != 4*(1<<10)-3 {
		t.Errorf("ten diamonds in %d lines", n)
	}
	// Everything on everything.
	ring := &Graph{}
	for i := range uint32(200) {
		n := Node{Info: Info{Name: Name(fmt.Sprint("r", i)), Dev: Dev{254, i}}, Kind: KindMapped}
		for j := range uint32(200) {
			n.Below = append(n.Below, Dev{254, j})
		}
		ring.Nodes = append(ring.Nodes, n)
	}
	text := ring.String()
	if n := strings.Count(text, "\n"); n != 200*200+1 || !strings.Contains(text, "r0 (254:0) [ring]\n") {
		t.Errorf("%d lines", n)
	}
	if got, want := graphOf("a: a").String(), "a (254:0)\n └─a (254:0) [ring]\n"; got != want {
		t.Errorf("%s", got)
	}
	if got, want := graphOf("a: b; b: a").String(), "a (254:0)\n └─b (254:1)\n    └─a (254:0) [ring]\n"; got != want {
		t.Errorf("%s", got)
	}
}

// checkDOT reads the language as far as the graph uses it, and wants to find
// the graph.
func checkDOT(t *testing.T, g *Graph) {
	t.Helper()
	in := g.DOT()
	pos := 0
	next := func() string {
		for pos < len(in) && strings.IndexByte(" \t\n", in[pos]) >= 0 {
			pos++
		}
		start := pos
		switch {
		case pos == len(in):
			return ""
		case in[pos] == '"':
			for pos++; pos < len(in) && in[pos] != '"'; pos++ {
				if in[pos] == '\\' {
					pos++
				}
				if pos < len(in) && in[pos] == '\n' {
					t.Errorf("a line ends in a string: %q", in[start:pos])
				}
			}
			pos++
		case strings.HasPrefix(in[pos:], "->"):
			pos += 2
		case strings.IndexByte("{}[]=,;", in[pos]) >= 0:
			pos++
		default:
			for pos < len(in) && in[pos] >= 'a' && in[pos] <= 'z' {
				pos++
			}
		}
		if pos > len(in) || pos == start {
			t.Fatalf("at byte %d of\n%s", start, in)
		}
		return in[start:pos]
	}
	want := func(tokens ...string) {
		t.Helper()
		for _, w := range tokens {
			if got := next(); got != w {
				t.Fatalf("%q at byte %d, want %q, of\n%s", got, pos, w, in)
			}
		}
	}
	unquote := func(s string) string {
		if len(s) < 2 || s[0] != '"' {
			t.Fatalf("%q is not quoted", s)
		}
		return strings.NewReplacer("&amp;", "&", `\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(s[1 : len(s)-1])
	}
	want("digraph", `"device-mapper"`, "{", "node", "[", "shape", "=", "box", "]", ";")
	labels, edges := map[string]string{}, map[string][]string{}
	for tok := next(); tok != "}"; tok = next() {
		id, label := unquote(tok), ""
		tok = next()
		isEdge := tok == "->"
		if isEdge {
			edges[id] = append(edges[id], unquote(next()))
			tok = next()
		}
		if tok == "[" {
			for tok != "]" {
				name := next()
				want("=")
				if value := next(); name == "label" {
					label = unquote(value)
				}
				if tok = next(); tok != "]" && tok != "," {
					t.Fatalf("%q in attributes", tok)
				}
			}
			tok = next()
		}
		if tok != ";" {
			t.Fatalf("%q at the end of a statement", tok)
		}
		if !isEdge {
			labels[id] = label
		}
	}
	want("")
	wantEdges := map[string][]string{}
	for _, n := range g.Nodes {
		id := n.Dev.String()
		if l, ok := labels[id]; !ok || n.Name != "" && !strings.HasPrefix(l, n.Label()+"\n"+id) {
			t.Errorf("%v has the label %q", n, l)
		}
		for _, d := range n.lower() {
			wantEdges[id] = append(wantEdges[id], d.String())
		}
	}
	if len(labels) != len(g.Nodes) || !reflect.DeepEqual(edges, wantEdges) {
		t.Errorf("%d nodes, edges %v, want %v", len(labels), edges, wantEdges)
	}
}

func TestGraphJSON(t *testing.T) {
	for _, g := range []*Graph{odd(), {}, graphOf("top: left right; left: base; right: base, D; base: A B; A:; B:; D:; alone:")} {
		text, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		var back Graph
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(&back, g) {
			t.Errorf("%s\nread back: %v\n%+v\nwant\n%+v", text, err, back, *g)
		}
	}
	state := `"state":{"open":0,"event_nr":0,"targets":0,"suspended":false,"internal_suspend":false,"read_only":false,"active_table":false,"inactive_table":false,"deferred_remove":false}`
	for _, tt := range []struct{ text, says string }{
		{`{"devices":[{"dev":"8:0","kind":"disk","future":1}],"more":[]}`, ""},
		{`{"devices":[{"dev":"9:0","kind":"future","below":["8:0"]},{"dev":"8:0","kind":"disk"}]}`, ""},
		{`{"devices":[{"dev":"254:0","kind":"dm","name":"a",` + state + `}]}`, ""},
		{`{"devices":[{"dev":"8:0","kind":"disk"},{"dev":"8:0","kind":"disk"}]}`, "listed twice"},
		{`{"devices":[{"dev":"8:0"}]}`, "no kind"},
		{`{"devices":[{"dev":"8","kind":"disk"}]}`, "not major:minor"},
		{`{"devices":[{"dev":"0:0","kind":"disk"}]}`, "no device has this number"},
		{`{"devices":[{"dev":"8:1","kind":"part","below":["8:0"]}]}`, "8:0 is below it and not listed"},
		{`{"devices":[{"dev":"8:1","kind":"part","below":["x"]}]}`, "not major:minor"},
		{`{"devices":[{"dev":"8:1","kind":"dm","name":"a","inactive_below":["0:0"],` + state + `}]}`, "no device has"},
		{`{"devices":[{"dev":"254:0","kind":"dm","name":"a"}]}`, "no state"},
		{`{"devices":[{"dev":"254:0","kind":"dm",` + state + `}]}`, "empty name"},
		{`{"devices":[{"dev":"254:0","kind":"dm","name":"a/b",` + state + `}]}`, "'/'"},
		{`{"devices":[{"dev":"254:0","kind":"dm","name":"a","uuid":"` + strings.Repeat("u", MaxUUID+1) + `",` + state + `}]}`, "129 bytes"},
		{`{"devices":[{"dev":"254:0","kind":"dm","name":"a",` + strings.Replace(state, "0", "-1", 1) + `}]}`, "negative"},
		{`{"devices":[{"dev":"8:0","kind":"disk","name":"a\u0000"}]}`, "NUL"},
		{`[]`, "cannot unmarshal"},
	} {
		g := Graph{Nodes: []Node{{File: "kept"}}}
		err := json.Unmarshal([]byte(tt.text), &g)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.says)
		}
		if err != nil && (len(g.Nodes) != 1 || g.Nodes[0].File != "kept") {
			t.Errorf("%s: the graph was changed", tt.text)
		}
	}
}

// FuzzGraphJSON: what is accepted can be walked, printed and read again.
func FuzzGraphJSON(f *testing.F) {
	for _, g := range []*Graph{odd(), {}, graphOf("top: left right; left: base; right: base, D; base: A; A:; D:")} {
		text, err := json.Marshal(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var g, back Graph
		if json.Unmarshal(text, &g) != nil {
			return
		}
		again, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &back); err != nil || !reflect.DeepEqual(back, g) {
			t.Errorf("%s\nprinted %s\nand read: %v", text, again, err)
		}
		if order, _ := g.Order(); len(order) != len(g.Nodes) {
			t.Errorf("%d of %d nodes in order", len(order), len(g.Nodes))
		}
		for _, n := range g.Nodes {
			if len(g.Dependents(n.Dev)) > len(g.Nodes)-1 {
				t.Error("too many dependents")
			}
		}
		lines := g.Tree(TreeOptions{Inverted: len(text)%2 == 1})
		for _, n := range g.Nodes {
			if !strings.Contains(lines, n.String()) {
				t.Errorf("%v is not in the tree", n)
			}
		}
		checkDOT(t, &g)
	})
}
