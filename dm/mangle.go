// SPDX-License-Identifier: MIT

package dm

import (
	"strings"
)

// Mangling is the rule by which libdevmapper turns a name that a person
// gave into the one that the kernel holds (libdm/libdm-common.c).
type Mangling uint8

// The modes of libdevmapper; the zero value is its default.
const (
	// MangleAuto encodes what must be encoded. A text that holds \xNN
	// already is taken as mangled; one that holds both is refused. What
	// stands for NN is not looked at, so that \xzz stays too, and Create
	// refuses it.
	MangleAuto Mangling = iota
	// MangleHex encodes always, the backslash too.
	MangleHex
	// MangleNone takes the text as it is.
	MangleNone
)

const hexDigits = "0123456789abcdef"

// plain reports whether udev lets c pass unchanged into a link name.
func plain(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' ||
		strings.IndexByte("#+-.:=@_", c) >= 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// escapeAt reports whether s has \xNN at i.
func escapeAt(s string, i int) bool {
	return i+4 <= len(s) && s[i] == '\\' && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3])
}

// notMangled is the place of the first byte that is neither plain nor part
// of \xNN, or -1.
func notMangled(s string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case plain(s[i]):
		case escapeAt(s, i):
			i += 3
		default:
			return i
		}
	}
	return -1
}

// Mangle makes the Name that the kernel holds of the text that a person
// gave. The error matches ErrBadName when the text can't be a name, when
// the result is over 127 bytes, and in mode MangleAuto when the text is
// mangled in part.
func Mangle(text string, mode Mangling) (Name, error) {
	s, err := mangle(text, MaxName, "name", mode)
	return Name(s), err
}

// MangleUUID does for a uuid what Mangle does for a name.
func MangleUUID(text string, mode Mangling) (UUID, error) {
	s, err := mangle(text, MaxUUID, "uuid", mode)
	return UUID(s), err
}

func mangle(text string, limit int, what string, mode Mangling) (string, error) {
	if strings.IndexByte(text, '/') >= 0 || strings.IndexByte(text, 0) >= 0 || text == "" {
		return "", validate(text, max(limit, len(text)), what)
	}
	out := text
	if mode != MangleNone {
		escaped, raw := false, false
		var b strings.Builder
		for i := 0; i < len(text); i++ {
			c := text[i]
			switch {
			case plain(c):
				b.WriteByte(c)
			case mode == MangleAuto && strings.HasPrefix(text[i:], `\x`):
				// Like libdm, which does not look at the two digits.
				if len(text)-i < 4 {
					return "", badName(text, `\x without two hexadecimal digits`)
				}
				escaped = true
				b.WriteString(text[i : i+4])
				i += 3
			default:
				raw = true
				b.WriteString(`\x`)
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&15])
			}
		}
		if escaped && raw {
			return "", badName(text, "mangled in part")
		}
		out = b.String()
	}
	if err := validate(out, limit, what); err != nil {
		return "", err
	}
	return out, nil
}

// Unmangle is the text that a person gave: every \xNN becomes its byte.
// What is not an escape stays as it is.
func (n Name) Unmangle() string { return unmangle(string(n)) }

// Unmangle is the text that a person gave.
func (u UUID) Unmangle() string { return unmangle(string(u)) }

func unmangle(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if !escapeAt(s, i) {
			b.WriteByte(s[i])
			continue
		}
		b.WriteByte(unhex(s[i+2])<<4 | unhex(s[i+3]))
		i += 3
	}
	return b.String()
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
