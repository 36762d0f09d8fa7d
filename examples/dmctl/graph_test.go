// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
)

// TestGraph shows a stack of four levels with a diamond in all forms.
func TestGraph(t *testing.T) {
	b := newBench(t)
	b.prints("ls --tree", "No devices found\n")
	b.prints("users", "No devices found\n")
	b.ok("create base --table '0 8192 linear /dev/ram0 0'")
	b.ok("create lv2 --table '0 4096 linear /dev/mapper/base 0'")
	b.ok("create lv10 --table '0 4096 linear /dev/mapper/base 4096'")
	b.ok("create 'a b' --table '0 8192 striped 2 8 /dev/mapper/lv10 0 /dev/mapper/lv2 0'")
	b.ok("create other --table '0 8 zero'")
	b.ok("load other --table '0 8 linear /dev/mapper/lv2 0'")
	b.prints("ls --tree", `a b (254:3)
 ├─lv2 (254:1)
 │  └─base (254:0)
 │     └─ram0 (1:0)
 └─lv10 (254:2)
    └─base (254:0)
       └─ram0 (1:0)
other (254:4)
`)
	b.prints("ls --tree --inactive --inverted", `ram0 (1:0)
 └─base (254:0)
    ├─lv2 (254:1)
    │  ├─a b (254:3)
    │  └─other (254:4) [inactive]
    └─lv10 (254:2)
       └─a b (254:3)
`)
	b.prints("ls --dot --inactive", `digraph "device-mapper" {
	node [shape=box];
	"254:3" [label="a b\n254:3"];
	"254:0" [label="base\n254:0"];
	"254:1" [label="lv2\n254:1"];
	"254:2" [label="lv10\n254:2"];
	"254:4" [label="other\n254:4"];
	"1:0" [label="ram0\n1:0", shape=cylinder];
	"254:3" -> "254:1";
	"254:3" -> "254:2";
	"254:0" -> "1:0";
	"254:1" -> "254:0";
	"254:2" -> "254:0";
	"254:4" -> "254:1" [style=dashed, label="inactive"];
}
`)
	b.prints("users base", "other (254:4) indirectly\na b (254:3) indirectly\nlv10 (254:2)\nlv2 (254:1)\n")
	release, err := b.k.Hold(`a\x20b`)
	if err != nil {
		t.Fatal(err)
	}
	b.prints("users lv10 'a b' other", "lv10: a b (254:3), itself open 1× by mounts or programs\na b: open 1× by mounts or programs\nother: \n")
	release()
	var g dm.Graph
	if err := json.Unmarshal([]byte(b.ok("--json ls --tree --inactive")), &g); err != nil || len(g.Nodes) != 6 {
		t.Errorf("%v %v", g, err)
	}
	b.prints("--json users lv10", `[
  {
    "name": "lv10",
    "users": [
      "254:3"
    ],
    "dependents": [
      "254:3"
    ],
    "open_elsewhere": 0
  }
]
`)
	b.fails("ls --dot --tree", 2, "--dot")
	b.fails("ls --inverted", 2, "with --tree")
	b.fails("users nosuch", 3, "nosuch")
}

// treePaths is a tree without its drawing: for each line the numbers of the
// devices from the root to it.
func treePaths(t testing.TB, tree string) string {
	number := regexp.MustCompile(`\(\d+:\d+\)`)
	var paths, path []string
	for l := range strings.Lines(tree) {
		dev := number.FindStringIndex(l)
		if dev == nil {
			t.Fatalf("no device in %q", l)
		}
		depth := 0
		for _, drawn := range []string{"├─", "└─", "`-", "|-"} { // three characters a level, this the last two
			if i := strings.LastIndex(l[:dev[0]], drawn); i >= 0 {
				depth = (len([]rune(l[:i])) + 2) / 3
			}
		}
		path = append(path[:depth], l[dev[0]:dev[1]])
		paths = append(paths, strings.Join(path, " "))
	}
	slices.Sort(paths)
	return strings.Join(paths, "\n")
}

func TestTreePaths(t *testing.T) {
	const want = "(254:0)\n(254:0) (254:1)\n(254:0) (254:1) (1:0)\n(254:0) (254:1) (1:1)\n(254:0) (254:2)\n(254:3)"
	for _, tree := range []string{
		"a b (254:0)\n ├─b (254:1)\n │  ├─ram0 (1:0)\n │  └─ram1 (1:1)\n └─c (254:2)\nd (254:3)\n",
		"d (254:3)\na b (254:0)\n |-c (254:2)\n `-b (254:1)\n    |- (1:1)\n    `- (1:0)\n",
	} {
		if got := treePaths(t, tree); got != want {
			t.Errorf("%s\nhas the paths\n%s", tree, got)
		}
	}
}
