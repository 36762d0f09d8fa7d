// SPDX-License-Identifier: MIT

package dmraid

// foldEqual reports whether word is lower but for the case of ASCII letters:
// strcasecmp of lib/string.c. strings.EqualFold would take more, such as a
// long s for an s.
func foldEqual(lower, word string) bool {
	if len(lower) != len(word) {
		return false
	}
	for i := range len(word) {
		c := word[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
