// SPDX-License-Identifier: MIT

package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// ImportDirection finds imports between packages of the module that are not
// in the table of rules, and packages that no rule is about.
func ImportDirection(t *Tree) []Finding { return importDirection(t, importRules) }

func importDirection(t *Tree, rules []importRule) []Finding {
	var found []Finding
	names, files := t.packages()
	for _, pkg := range names {
		i := slices.IndexFunc(rules, func(r importRule) bool { return matches(r.Package, pkg) })
		if i < 0 {
			found = append(found, Finding{File: pkg, Text: "no rule says what this package may import; add one to internal/archtest/rules.go"})
			continue
		}
		for _, f := range files[pkg] {
			allowed := rules[i].Imports
			if f.isTest() {
				allowed = slices.Concat(allowed, rules[i].TestImports, testHelpers, []string{pkg})
			}
			for _, s := range f.AST.Imports {
				to, ours := t.within(importOf(s))
				if ours && !matchesAny(allowed, to) {
					found = append(found, f.find(s, "%s may not import %s", pkg, to))
				}
			}
		}
	}
	return found
}

// Dependencies finds imports of modules that are not in the list, or not in
// the list for this package.
func Dependencies(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		for _, s := range f.AST.Imports {
			p := importOf(s)
			if _, ours := t.within(p); ours || isStandard(p) {
				continue
			}
			i := slices.IndexFunc(modules, func(m module) bool { return p == m.Path || strings.HasPrefix(p, m.Path+"/") })
			switch {
			case i < 0:
				found = append(found, f.find(s, "%s is of no module that may be used", p))
			case modules[i].Only != nil && !matchesAny(modules[i].Only, f.Package):
				found = append(found, f.find(s, "%s may be imported by %s only", p, strings.Join(modules[i].Only, ", ")))
			}
		}
	}
	return found
}

// isStandard: packages of the standard library have no dot in their first
// element.
func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// starters are the functions that start a process without os/exec.
var starters = map[string][]string{
	"os":                    {"StartProcess"},
	"syscall":               {"StartProcess", "ForkExec", "Exec", "SYS_EXECVE", "SYS_EXECVEAT"},
	"golang.org/x/sys/unix": {"Exec", "SYS_EXECVE", "SYS_EXECVEAT"},
}

// PureGo finds cgo, files for a C compiler or an assembler, and subprocesses:
// os/exec in code and in tests, and other ways to start a program in code.
func PureGo(t *Tree) []Finding {
	var found []Finding
	for _, name := range t.Native {
		found = append(found, Finding{File: name, Text: "the module is Go alone"})
	}
	for _, f := range t.Go {
		local := make(map[string]string) // name in this file: import path
		for _, s := range f.AST.Imports {
			p := importOf(s)
			switch {
			case p == "C":
				found = append(found, f.find(s, "cgo"))
			case p == "os/exec" && !matchesAny(runsPrograms, f.Package):
				found = append(found, f.find(s, "os/exec outside %s", strings.Join(runsPrograms, ", ")))
			}
			if _, ok := starters[p]; ok {
				name := p[strings.LastIndexByte(p, '/')+1:]
				if s.Name != nil {
					name = s.Name.Name
				}
				local[name] = p
			}
		}
		if f.isTest() || matchesAny(mayFork, f.Package) {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(starters[local[x.Name]], sel.Sel.Name) {
				found = append(found, f.find(sel, "%s.%s starts a program", x.Name, sel.Sel.Name))
			}
			return true
		})
	}
	return found
}
