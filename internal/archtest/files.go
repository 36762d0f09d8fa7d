// SPDX-License-Identifier: MIT

package archtest

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

const spdx = "// SPDX-License-Identifier: MIT\n"

// Licence finds Go files that don't begin with the SPDX line.
func Licence(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		if !bytes.HasPrefix(f.Data, []byte(spdx)) {
			found = append(found, Finding{File: f.Name, Line: 1, Text: "the first line must be " + strings.TrimSpace(spdx)})
		}
	}
	return found
}

// Length finds files that are too long to be read in one go. Tests, which are
// read one at a time, may be longer.
func Length(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Go {
		if f.isTest() {
			continue
		}
		limit := maxLines
		if matches("examples/...", f.Package) {
			limit = maxExampleLines
		}
		if n := lines(f.Data); n > limit {
			found = append(found, Finding{File: f.Name, Text: fmt.Sprintf("%d lines, more than %d", n, limit)})
		}
	}
	return found
}

// Comments finds packages without a comment, and those of the library without
// a doc.go.
func Comments(t *Tree) []Finding {
	var found []Finding
	names, files := t.packages()
	for _, pkg := range names {
		var doc, code *goFile
		count := 0
		for _, f := range files[pkg] {
			if f.isTest() {
				continue
			}
			code = f
			if f.AST.Doc != nil && isPackageComment(f) {
				doc = f
				count++
			}
		}
		switch {
		case code == nil || strings.Contains("/"+pkg+"/", "/testdata/"):
		case count == 0:
			found = append(found, Finding{File: pkg, Text: fmt.Sprintf("no package comment that begins with %q", commentStarts(code)[0])})
		case count > 1:
			found = append(found, Finding{File: pkg, Text: "more than one file has a package comment"})
		case isLibrary(pkg) && path.Base(doc.Name) != "doc.go":
			found = append(found, Finding{File: doc.Name, Text: "the package comment belongs into doc.go"})
		}
	}
	return found
}

func isPackageComment(f *goFile) bool {
	for _, start := range commentStarts(f) {
		if strings.HasPrefix(f.AST.Doc.Text(), start) {
			return true
		}
	}
	return false
}

// commentStarts is how the comment of f's package may begin: "Package dm ",
// or for a program "Dmctl " or "Command dmctl ".
func commentStarts(f *goFile) []string {
	if f.AST.Name.Name != "main" {
		return []string{"Package " + f.AST.Name.Name + " "}
	}
	name := path.Base(f.Package)
	return []string{strings.ToUpper(name[:1]) + name[1:] + " ", "Command " + name + " "}
}

// isLibrary reports whether programs elsewhere can import the package.
func isLibrary(pkg string) bool {
	return !matches("internal/...", pkg) && !matches("examples/...", pkg)
}
