// SPDX-License-Identifier: MIT

package dm

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Limits of the kernel, in bytes without the NUL (include/uapi/linux/dm-ioctl.h).
const (
	MaxName = dmwire.NameLen - 1
	MaxUUID = dmwire.UUIDLen - 1
)

// Ref names a device in a call: a [Name], a [UUID] or a [Dev]. The number is
// the surest, because names can be changed by others; it is free for reuse
// when the device is gone.
type Ref interface {
	fmt.Stringer
	identify(*dmwire.Header) error
}

// Name is the name of a device as the kernel holds it, in mangled form: the
// bytes outside [0-9A-Za-z#+-.:=@_] are written \xNN. [Mangle] makes a Name
// from any text, [Name.Unmangle] gives the text back. Every call checks the
// Name it is given before the kernel sees it.
type Name string

// UUID is the unique id of a device as the kernel holds it, mangled like a
// [Name]. Subsystems put their own prefix first: "LVM-", "CRYPT-", "mpath-".
type UUID string

// String is the name itself.
func (n Name) String() string { return string(n) }

// Label is n for the eye: the text that a person gave, where it leads back to
// n and a terminal can show it; else n itself, with each byte that is not
// printable as \xNN. It is no name to be given to a call.
func (n Name) Label() string {
	if notMangled(string(n)) < 0 && strings.IndexByte(string(n), '\\') < 0 {
		return string(n) // as most are
	}
	text := n.Unmangle()
	if again, err := Mangle(text, MangleAuto); err == nil && again == n && printable(text) == text {
		return text
	}
	return printable(string(n))
}

// printable replaces what would upset a terminal.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(s[:size])
		} else {
			for i := range size {
				b.WriteString(`\x`)
				b.WriteByte(hexDigits[s[i]>>4])
				b.WriteByte(hexDigits[s[i]&15])
			}
		}
		s = s[size:]
	}
	return b.String()
}

// String is the uuid itself.
func (u UUID) String() string { return string(u) }

// Validate tells whether the kernel can hold n: 1 to 127 bytes, no '/', no
// NUL. The kernel itself cuts longer names without a word.
func (n Name) Validate() error { return validate(string(n), MaxName, "name") }

// Validate tells whether the kernel can hold u: 1 to 128 bytes, no NUL. A
// '/' is refused too, because udev makes a link of that name.
func (u UUID) Validate() error { return validate(string(u), MaxUUID, "uuid") }

func validate(s string, limit int, what string) error {
	switch {
	case s == "":
		return badName(s, "empty "+what)
	case len(s) > limit:
		return badName(s, fmt.Sprintf("%s of %d bytes, the kernel takes %d", what, len(s), limit))
	case strings.IndexByte(s, '/') >= 0:
		return badName(s, "'/' in "+what)
	case strings.IndexByte(s, 0) >= 0:
		return badName(s, "NUL in "+what)
	}
	return nil
}

// validateNew is the check of a name or uuid that is to be given to a
// device: it must also be usable as a file name, and be well mangled, or
// udev and every tool that goes through libdevmapper would see another one.
func validateNew(s string, limit int, what string, anyBytes bool) error {
	if err := validate(s, limit, what); err != nil {
		return err
	}
	if what == "name" && (s == "." || s == ".." || s == "control") {
		return badName(s, "the name is taken in /dev/mapper")
	}
	if anyBytes {
		return nil
	}
	if i := notMangled(s); i >= 0 {
		return badName(s, fmt.Sprintf("byte %d is not mangled; use Mangle", i))
	}
	return nil
}

func (n Name) identify(h *dmwire.Header) error {
	h.Name = string(n)
	return n.Validate()
}

func (u UUID) identify(h *dmwire.Header) error {
	h.UUID = string(u)
	return u.Validate()
}

func badName(s, why string) error { return &nameError{s, why} }

// nameError is an ErrBadName with the text that was refused.
type nameError struct{ text, why string }

func (e *nameError) Error() string {
	if e.text == "" {
		return e.why
	}
	text := e.text
	if len(text) > 160 {
		text = text[:160] + "…"
	}
	return fmt.Sprintf("%q: %s", text, e.why)
}

func (e *nameError) Is(target error) bool { return target == ErrBadName }
