// SPDX-License-Identifier: MIT

package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// GoMod finds direct requirements that are not in the list of modules, and
// directives that make the module another one for those who import it than it
// is here: replace, exclude. It also wants tools to be run by version, not
// required.
func GoMod(t *Tree) []Finding {
	var found []Finding
	block := ""
	n := 0
	for line := range strings.Lines(string(t.GoMod)) {
		n++
		code, comment, _ := strings.Cut(line, "//")
		f := strings.Fields(code)
		if len(f) == 0 {
			continue
		}
		verb := block
		switch {
		case block != "" && f[0] == ")":
			block = ""
			continue
		case block == "" && len(f) == 2 && f[1] == "(":
			block = f[0]
			continue
		case block == "":
			verb, f = f[0], f[1:]
		}
		add := func(format string, args ...any) {
			found = append(found, Finding{File: "go.mod", Line: n, Text: fmt.Sprintf(format, args...)})
		}
		switch verb {
		case "module", "go", "toolchain", "godebug", "retract":
		case "require":
			indirect := strings.HasPrefix(strings.TrimSpace(comment), "indirect")
			known := slices.ContainsFunc(modules, func(m module) bool { return len(f) > 0 && m.Path == f[0] })
			if !indirect && !known {
				add("%s is not in the list of direct dependencies", strings.Join(f, " "))
			}
		default:
			add("%s: not in this module", verb)
		}
	}
	return found
}
