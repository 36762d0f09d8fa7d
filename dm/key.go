// SPDX-License-Identifier: MIT

package dm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unique"
)

// Key is the key of an encrypting or authenticating target: bytes, a
// reference to a key in the kernel's keyring, or none, which is the zero
// value. Keys can be compared with ==.
//
// The bytes are in [Key.Reveal], and in the Params of a target, which loads
// them. Printing and encoding a Key, or whatever holds one, gives a
// placeholder. Go can't wipe the copies that it made of a string: a key that
// must not stay in this program's memory belongs into the keyring.
type Key struct {
	// Behind a pointer, so that it stays hidden even where fmt may call no
	// method, which is in the unexported fields of others.
	text unique.Handle[string]
}

// NewKey is a key of bytes; of none it is the zero Key.
func NewKey(raw []byte) Key {
	if len(raw) == 0 {
		return Key{}
	}
	return textKey(hex.EncodeToString(raw))
}

// KeyringKey refers to a key in the kernel's keyring: its size in bytes, its
// type, which is logon, user, encrypted or trusted, and its description.
// The kernel looks for it among the keys of the process that loads the table.
func KeyringKey(size int, typ, description string) Key {
	return textKey(":" + strconv.Itoa(size) + ":" + typ + ":" + description)
}

func textKey(text string) Key { return Key{unique.Make(text)} }

// ParseKey reads a key as a table has it: an even number of hex digits,
// ":size:type:description", or "-" for none. The error does not show it.
func ParseKey(text string) (Key, error) {
	if text == "-" {
		return Key{}, nil
	}
	k := textKey(strings.ToLower(text))
	if strings.HasPrefix(text, ":") {
		k = textKey(text)
	}
	if err := k.Validate(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// Reveal is the key in the form of a table, in the clear.
func (k Key) Reveal() string {
	if k.IsZero() {
		return "-"
	}
	return k.text.Value()
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// InKeyring reports whether the key is a reference to one in the keyring.
func (k Key) InKeyring() bool { return strings.HasPrefix(k.Reveal(), ":") }

// Size is the length of the key in bytes, as its text says.
func (k Key) Size() int {
	switch text := k.Reveal(); {
	case k.IsZero():
		return 0
	case k.InKeyring():
		n, _, _ := strings.Cut(text[1:], ":")
		size, _ := strconv.Atoi(n)
		return size
	default:
		return len(text) / 2
	}
}

// maxKeySize is far above any cipher's and below what a table may hold.
const maxKeySize = 64 << 10

// Validate checks the form of the key (get_key_size and
// crypt_set_keyring_key in drivers/md/dm-crypt.c).
func (k Key) Validate() error {
	if k.IsZero() {
		return nil
	}
	text := k.Reveal()
	if !k.InKeyring() {
		if len(text) == 0 || len(text)%2 != 0 || len(text) > 2*maxKeySize {
			return fmt.Errorf("a key of %d hex digits", len(text))
		}
		for i := range len(text) {
			if strings.IndexByte("0123456789abcdef", text[i]) < 0 {
				return errors.New("a key that is not all hex digits")
			}
		}
		return nil
	}
	part := strings.SplitN(text[1:], ":", 3)
	if len(part) < 3 {
		return errors.New("a key of the keyring is :size:type:description")
	}
	n, err := strconv.ParseUint(part[0], 10, 32)
	switch {
	case err != nil || n == 0 || n > maxKeySize || strconv.FormatUint(n, 10) != part[0]:
		return errors.New("the size of the key in the keyring is not a number of bytes")
	case part[1] != "logon" && part[1] != "user" && part[1] != "encrypted" && part[1] != "trusted":
		return errors.New("a key of the keyring is of type logon, user, encrypted or trusted")
	case part[2] == "":
		return errors.New("the key in the keyring has no description")
	}
	for i := range len(part[2]) {
		// The kernel prints it back without quoting.
		if c := part[2][i]; kernelSpace(c) || c == '\\' || c == 0 {
			return errors.New("blank or backslash in the description of a key")
		}
	}
	return nil
}

// publicKey reports whether what stands in the place of a key may be shown.
func publicKey(text string) bool {
	if text == "-" {
		return true
	}
	if !strings.HasPrefix(text, ":") {
		return false
	}
	_, err := ParseKey(text)
	return err == nil
}

// String is the reference or "-"; bytes are not shown.
func (k Key) String() string {
	if text := k.Reveal(); publicKey(text) {
		return text
	}
	return redactedKey
}

// Format prints String for every verb.
func (k Key) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		io.WriteString(f, k.GoString())
		return
	}
	io.WriteString(f, k.String())
}

// GoString keeps the bytes out of %#v.
func (k Key) GoString() string { return fmt.Sprintf("dm.Key{%q}", k.String()) }

// MarshalText is String: encoders show no bytes either.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
