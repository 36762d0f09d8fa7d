// SPDX-License-Identifier: MIT

package archtest

import (
	"os"
	"testing"
)

// checks are all the rules, by the name of their subtest.
var checks = []struct {
	name string
	run  func(*Tree) []Finding
}{
	{"ImportDirection", ImportDirection},
	{"Dependencies", Dependencies},
	{"PureGo", PureGo},
	{"GoMod", GoMod},
	{"Licence", Licence},
	{"Length", Length},
	{"Comments", Comments},
	{"Machine", Machine},
}

// TestTree holds the module itself to the rules.
func TestTree(t *testing.T) {
	tree, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if tree.Module != "github.com/linuxblock/linuxblock" || len(tree.Go) < 50 {
		t.Fatalf("read %d Go files of module %s: this is not the whole tree", len(tree.Go), tree.Module)
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			for _, f := range c.run(tree) {
				t.Error(f)
			}
		})
	}
}
