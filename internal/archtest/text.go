// SPDX-License-Identifier: MIT

package archtest

import (
	"regexp"
	"slices"
	"strings"
)

var (
	// An absolute path: a slash and a word that no other word, and no other
	// slash, goes before, with something below it.
	pathPattern = regexp.MustCompile(`(?:^|[^\w/.%*)}\]~@<>-])/([A-Za-z_][\w.-]*)/[\w.*$%{<]`)
	urlPattern  = regexp.MustCompile(`\b[a-z][a-z0-9+]+://([^\s/"'` + "`" + `)>,;]+)`)
)

// Machine finds what is only true where a file was written: absolute paths
// outside the folders that every Linux has, and URLs of hosts that are not
// public. In tests, which make up paths, only those count that look like a
// place where somebody works.
func Machine(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.Text {
		n := 0
		for line := range strings.Lines(string(f.Data)) {
			n++
			if strings.Count(line, "/") < 2 {
				continue
			}
			for _, m := range pathPattern.FindAllStringSubmatch(line, -1) {
				own := !slices.Contains(systemRoots, m[1])
				if strings.HasSuffix(f.Name, "_test.go") {
					own = slices.Contains(workRoots, m[1])
				}
				if own {
					found = append(found, Finding{File: f.Name, Line: n, Text: "path of somebody's machine: /" + m[1]})
				}
			}
			if !strings.Contains(line, "://") {
				continue
			}
			for _, m := range urlPattern.FindAllStringSubmatch(line, -1) {
				if !isPublic(m[1]) {
					found = append(found, Finding{File: f.Name, Line: n, Text: "URL of a host that is not in the list: " + m[1]})
				}
			}
		}
	}
	return found
}

func isPublic(host string) bool {
	if strings.ContainsAny(host, "%${<[*\\") || host == "..." {
		return true // a place-holder
	}
	host, _, _ = strings.Cut(host, ":")
	return slices.ContainsFunc(publicHosts, func(p string) bool {
		return host == p || strings.HasSuffix(host, "."+p)
	})
}
