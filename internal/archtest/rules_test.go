// SPDX-License-Identifier: MIT

package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const goMod = "module example.com/m\n\ngo 1.26.0\n"

// tree makes a module of files given as name and text, in turn. Go files get
// what every file must have when their text does not begin with a comment.
func tree(t *testing.T, files ...string) *Tree {
	t.Helper()
	fsys := fstest.MapFS{"go.mod": {Data: []byte(goMod)}}
	for i := 0; i < len(files); i += 2 {
		text := files[i+1]
		if strings.HasSuffix(files[i], ".go") && !strings.HasPrefix(text, "//") {
			text = spdx + "\n" + text
		}
		fsys[files[i]] = &fstest.MapFile{Data: []byte(text)}
	}
	got, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// want compares findings with lines of "file:line: part of the text".
func want(t *testing.T, got []Finding, lines ...string) {
	t.Helper()
	ok := len(got) == len(lines)
	for i := 0; ok && i < len(got); i++ {
		place, text, _ := strings.Cut(lines[i], ": ")
		ok = strings.HasPrefix(got[i].String(), place+": ") && strings.Contains(got[i].Text, text)
	}
	if !ok {
		t.Errorf("found:\n%s\nwant:\n%s", printed(got), strings.Join(lines, "\n"))
	}
}

func printed(list []Finding) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

func TestLoad(t *testing.T) {
	got := tree(t, "a.go", "package m", "dm/testdata/x.bin", "\x00", ".git/config", "x", ".git/a.go", "package (",
		"dm/a_test.go", "package dm", "README.md", "text", ".ci/run", "#!/bin/sh", "dm/asm.s", "")
	var names []string
	for _, f := range got.Text {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	if s := strings.Join(names, " "); s != ".ci/run README.md a.go dm/a_test.go go.mod" {
		t.Errorf("read as text: %s", s)
	}
	if len(got.Go) != 2 || got.Module != "example.com/m" || len(got.Native) != 1 {
		t.Errorf("%d Go files of module %s, %d native", len(got.Go), got.Module, len(got.Native))
	}
	for name, fsys := range map[string]fstest.MapFS{
		"no go.mod":  {},
		"no module":  {"go.mod": {Data: []byte("go 1.26\n")}},
		"not parsed": {"go.mod": {Data: []byte(goMod)}, "a.go": {Data: []byte("package (")}},
	} {
		if _, err := Load(fsys); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestImportDirection(t *testing.T) {
	for _, c := range []struct {
		file, imports string
		ok            bool
	}{
		// The root package is a leaf, also in the tests beside it, but for dm.
		{"a.go", "dm", false},
		{"a.go", "internal/udev", false},
		{"a_test.go", "dm", true},
		{"a_test.go", "dm/dmtest", true},
		{"a_test.go", "lvm", false},

		{"dm/a.go", "", true},
		{"dm/a.go", "internal/udev", true},
		{"dm/a.go", "internal/fixture", false},
		{"dm/a.go", "internal/vmtest", false},
		{"dm/a.go", "internal/unheard", false},
		{"dm/a.go", "dm/dmtest", false},
		{"dm/a.go", "dmraid", false},
		{"dm/a.go", "drbd", false},
		{"dm/a_test.go", "dm", true},
		{"dm/a_test.go", "dm/dmtest", true},
		{"dm/a_test.go", "internal/fixture", true},
		{"dm/a_test.go", "internal/vmtest", true},
		{"dm/a_test.go", "internal/vmtest/kmod", false},
		{"dm/a_test.go", "dmraid", false},
		{"dm/dmtest/a.go", "dm", true},
		{"dm/dmtest/a.go", "dmraid", false},
		{"dm/other/a.go", "", false}, // no rule

		{"dmraid/a.go", "dm", true},
		{"dmraid/a.go", "lvm", false},
		{"lvm/a.go", "dm", true},
		{"lvm/a.go", "dmraid", true},
		{"lvm/a.go", "drbd", false},
		{"lvm/a.go", "netapp/transfer", false},
		{"drbd/a.go", "", true},
		{"drbd/a.go", "dm", false},
		{"drbd/drbdtest/a.go", "drbd", true},
		{"xen/a.go", "lvm", false},
		{"netapp/a.go", "netapp/transfer", true},
		{"netapp/transfer/a.go", "netapp", false},
		{"netapp/a.go", "lvm", false},

		{"examples/tour/a.go", "lvm", true},
		{"examples/tour/a.go", "dm/dmtest", true},
		{"examples/tour/a.go", "internal/vmtest", true},

		{"internal/udev/a.go", "", true},
		{"internal/udev/a.go", "internal/kmsg", false},
		{"internal/udev/a.go", "dm", false},
		{"internal/udev/a_test.go", "internal/vmtest", true},
		{"internal/udev/a_test.go", "internal/kmsg", false},
		{"internal/vmtest/a.go", "internal/vmtest/kmod", true},
		{"internal/vmtest/a.go", "dm", false},
		{"internal/vmtest/kmod/a.go", "internal/vmtest", false},
		{"internal/cmd/vmtest/a.go", "internal/vmtest", true},
		{"internal/cmd/vmtest/a.go", "dm", false},

		{"new/a.go", "", false}, // no rule
	} {
		to := strings.TrimSuffix("example.com/m/"+c.imports, "/")
		got := ImportDirection(tree(t, c.file, fmt.Sprintf("package p\n\nimport _ %q\n", to)))
		if (len(got) == 0) != c.ok {
			t.Errorf("%s imports %q: %s", c.file, to, printed(got))
		}
	}
	// Imports of others are none of its business.
	want(t, ImportDirection(tree(t, "a.go", `package m; import _ "example.com/more"`)))
}

// TestNoCycle proves that the table itself can't allow a cycle of packages:
// what a rule allows comes before it in some order.
func TestNoCycle(t *testing.T) {
	rank := make(map[string]int)
	var visit func(pkg string, path []string) int
	visit = func(pkg string, path []string) int {
		if slices.Contains(path, pkg) {
			t.Fatalf("the rules allow a cycle: %v %s", path, pkg)
		}
		if r, ok := rank[pkg]; ok {
			return r
		}
		i := slices.IndexFunc(importRules, func(r importRule) bool { return matches(r.Package, pkg) })
		if i < 0 {
			t.Fatalf("no rule for %s, which another rule names", pkg)
		}
		n := 0
		for _, to := range importRules[i].Imports {
			if !strings.HasSuffix(to, "/...") {
				n = max(n, 1+visit(to, append(path, pkg)))
			}
		}
		rank[pkg] = n
		return n
	}
	for _, r := range importRules {
		if !strings.HasSuffix(r.Package, "/...") {
			visit(r.Package, nil)
		}
	}
	if rank["lvm"] <= rank["dmraid"] || rank["dmraid"] <= rank["dm"] || rank["."] != 0 {
		t.Errorf("order: %v", rank)
	}
}

func TestDependencies(t *testing.T) {
	want(t, Dependencies(tree(t,
		"dm/a.go", "package dm\n\nimport (\n\t_ \"errors\"\n\t_ \"golang.org/x/sys/unix\"\n\t_ \"golang.org/x/sysadmin\"\n\t_ \"example.com/m/dm\"\n)\n",
		"dm/b.go", "package dm\n\nimport _ \"github.com/mdlayher/netlink\"\n",
		"drbd/a.go", "package drbd\n\nimport _ \"github.com/mdlayher/netlink/nlenc\"\n",
		"drbd/a_test.go", "package drbd\n\nimport _ \"github.com/google/go-cmp/cmp\"\n",
	)),
		"dm/a.go:8: golang.org/x/sysadmin is of no module",
		"dm/b.go:5: may be imported by drbd/...")
}

func TestPureGo(t *testing.T) {
	want(t, PureGo(tree(t,
		"dm/a.go", "package dm\n\nimport \"C\"\n",
		"dm/a.s", "",
		"dm/b.go", "package dm\n\nimport (\n\t\"os\"\n\tsc \"syscall\"\n)\n\nvar (\n\t_ = os.StartProcess\n\t_ = sc.ForkExec\n\t_ = os.Open\n)\n",
		"dm/c.go", "package dm\n\nimport x \"os/exec\"\n\nvar _ = x.Command\n",
		"dm/c_test.go", "package dm\n\nimport _ \"os/exec\"\n",
		"dm/d_test.go", "package dm\n\nimport \"os\"\n\nvar _ = os.StartProcess\n",
		"examples/tour/a.go", "package main\n\nimport (\n\t\"os\"\n\t_ \"os/exec\"\n)\n\nvar _ = os.StartProcess\n",
		"internal/cmd/vmtest/a.go", "package main\n\nimport _ \"os/exec\"\n",
		"internal/cmd/vmtest/guest/a.go", "package main\n\nimport _ \"os/exec\"\n",
		"internal/vmtest/a.go", "package vmtest\n\nimport _ \"os/exec\"\n",
	)),
		"dm/a.s: Go alone",
		"dm/a.go:5: cgo",
		"dm/b.go:11: os.StartProcess",
		"dm/b.go:12: sc.ForkExec",
		"dm/c.go:5: os/exec outside",
		"dm/c_test.go:5: os/exec outside",
		"examples/tour/a.go:7: os/exec outside",
		"internal/cmd/vmtest/guest/a.go:5: os/exec outside")
}

func TestGoMod(t *testing.T) {
	for text, findings := range map[string][]string{
		"require golang.org/x/sys v0.49.0\n":                              nil,
		"require (\n\tgithub.com/google/go-cmp v0.7.0 // a reason\n)\n":   nil,
		"require (\n\texample.com/x v1.0.0 // indirect\n)\n":              nil,
		"require example.com/x v1.0.0\n":                                  {"go.mod:4: example.com/x v1.0.0 is not"},
		"require (\n\n\texample.com/x v1.0.0 // indirectly useful? no\n)": nil,
		"require (\n\texample.com/x v1.0.0 // direct\n)\nretract v0.1.0":  {"go.mod:5: example.com/x"},
		"replace golang.org/x/sys => ../sys\n":                            {"go.mod:4: replace"},
		"exclude (\n\tgolang.org/x/sys v0.1.0\n)\n":                       {"go.mod:5: exclude"},
		"tool honnef.co/go/tools/cmd/staticcheck\n":                       {"go.mod:4: tool"},
	} {
		want(t, GoMod(&Tree{GoMod: []byte(goMod + text)}), findings...)
	}
}

func TestLicence(t *testing.T) {
	want(t, Licence(tree(t,
		"a.go", "package m",
		"b.go", "// Package m has no licence.\npackage m",
		"c.go", "//go:build linux\n\n"+spdx+"\npackage m",
		"d.go", "// SPDX-License-Identifier: MIT-0\n\npackage m",
	)), "b.go:1: first line", "c.go:1: first line", "d.go:1: first line")
}

func TestLength(t *testing.T) {
	long := func(n int) string { return "package p" + strings.Repeat("\n", n-2) }
	want(t, Length(tree(t,
		"dm/a.go", long(500),
		"dm/b.go", long(500)+"// one more",
		"dm/a_test.go", long(900),
		"examples/tour/a.go", long(200),
		"examples/tour/b.go", long(201),
	)), "dm/b.go: 501 lines", "examples/tour/b.go: 201 lines")
}

func TestComments(t *testing.T) {
	want(t, Comments(tree(t,
		"dm/doc.go", spdx+"\n// Package dm is good.\npackage dm\n",
		"dm/a.go", "package dm\n",
		"drbd/doc.go", spdx+"\n// This is not how it begins.\npackage drbd\n",
		"lvm/lvm.go", spdx+"\n// Package lvm has it in the wrong file.\npackage lvm\n",
		"xen/doc.go", spdx+"\n// Package xen once.\npackage xen\n",
		"xen/xen.go", spdx+"\n// Package xen twice.\npackage xen\n",
		"internal/a/a.go", spdx+"\n// Package a may have it anywhere.\npackage a\n",
		"internal/b/b.go", "package b\n",
		"internal/cmd/tool/main.go", spdx+"\n// Tool is a program.\npackage main\n",
		"internal/cmd/third/main.go", spdx+"\n// Command third is one too.\npackage main\n",
		"internal/cmd/other/main.go", spdx+"\n// Package main is how a program's does not begin.\npackage main\n",
		"internal/c/c_test.go", "package c\n",
	)),
		"drbd: begins with \"Package drbd \"",
		"internal/b: no package comment",
		"internal/cmd/other: begins with \"Other \"",
		"lvm/lvm.go: into doc.go",
		"xen: more than one")
}

func TestMachine(t *testing.T) {
	// Written with | for /, because this file is checked too.
	bad := []string{
		"see |home|me|x", "(|srv|build|x)", "\"|opt|tool|bin\"", "|Users|me|go", "cd |repo|x && make",
		"dir=|workspace|x", "`|builds|x`", "a:|work|x",
		"https:||registry.corp.local|x", "http:||10.1.2.3:8080|", "git:||code.internal|x",
		"https:||github.com.evil.net|x", "http:||deb.debian.org|debian",
	}
	good := []string{
		"/dev/mapper/control", "a file in /run/linuxblock and /tmp/x", "drivers/md/dm.c", "and/or/not", "./x/y", "../x/y",
		"a / b / c", "go run ./examples/tour", "$HOME/x/y", "https://github.com/linuxblock/linuxblock",
		"https://docs.kernel.org/x/y.html", "http://%s/x/y", "https://example.com/a/b",
		"//go:build linux", "2/3/4", "~/go/bin", "<x>/y/z",
	}
	for _, s := range bad {
		s = strings.ReplaceAll(s, "|", "/")
		for _, name := range []string{"README.md", "dm/a.go", "dm/a_test.go", ".ci/run", "dm/testdata/PROVENANCE.md"} {
			text := "\n\n" + s + "\n"
			if strings.HasSuffix(name, ".go") {
				text = "package p\n/*\n" + s + "\n*/\n"
			}
			if got := Machine(tree(t, name, text)); len(got) != 1 {
				t.Errorf("%q in %s: %d findings\n%s", s, name, len(got), printed(got))
			}
		}
	}
	// A made-up path is fine in a test, and nowhere else.
	want(t, Machine(tree(t, "a_test.go", "package m // "+strings.ReplaceAll("|data|x", "|", "/"))))
	want(t, Machine(tree(t, "a.go", "package m // "+strings.ReplaceAll("|data|x", "|", "/"))), "a.go:3: /data")
	for _, s := range good {
		want(t, Machine(tree(t, "README.md", s+"\n")))
	}
}
