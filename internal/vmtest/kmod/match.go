// SPDX-License-Identifier: MIT

package kmod

import "strings"

func isPattern(s string) bool { return strings.ContainsAny(s, "*?[") }

// match reports whether name matches the shell pattern that a module alias
// is: * and ? match any byte including '/', [a-f] one of a set. path.Match is
// not the same, its * stops at a slash.
func match(pattern, name string) bool {
	// Iterative, with one point to return to: a second * makes the first one
	// irrelevant, so that this is quadratic at worst.
	p, n := 0, 0
	starP, starN := -1, 0
	for n < len(name) {
		if p < len(pattern) {
			switch pattern[p] {
			case '*':
				starP, starN = p, n
				p++
				continue
			case '?':
				p++
				n++
				continue
			case '[':
				if ok, width := matchSet(pattern[p:], name[n]); ok {
					p += width
					n++
					continue
				}
			default:
				if pattern[p] == name[n] {
					p++
					n++
					continue
				}
			}
		}
		if starP < 0 {
			return false
		}
		starN++
		p, n = starP+1, starN
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchSet matches c against the bracket expression at the start of s and
// returns the expression's width. An expression without an end never matches.
func matchSet(s string, c byte) (ok bool, width int) {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return false, 0
	}
	set := s[1:end]
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			if set[i] <= c && c <= set[i+2] {
				return true, end + 1
			}
			i += 2
			continue
		}
		if set[i] == c {
			return true, end + 1
		}
	}
	return false, end + 1
}
