// SPDX-License-Identifier: MIT

package dm

import (
	"strings"
)

// redactedKey stands in the place of a secret.
const redactedKey = "<redacted>"

// redact takes the secrets out of the arguments of the targets that have
// some: the key of crypt, the keys of integrity. Names of keys in the
// kernel's keyring (":64:logon:name") are no secrets, nor is "-".
func redact(target, params string) string {
	switch target {
	case "crypt", "integrity":
	default:
		return params
	}
	for _, s := range secrets(target, params) {
		params = strings.ReplaceAll(params, s, redactedKey)
	}
	return params
}

// secrets lists what must not be shown of a target's arguments.
func secrets(target, params string) []string {
	args := SplitArgs(params)
	var found []string
	switch target {
	case "crypt":
		// cipher key iv_offset device offset …
		if len(args) > 1 && args[1] != "-" && !strings.HasPrefix(args[1], ":") {
			found = append(found, args[1])
		}
	case "integrity":
		// internal_hash:hmac(sha256):<key>, journal_crypt:…, journal_mac:…
		for _, a := range args {
			name, rest, ok := strings.Cut(a, ":")
			if !ok || name != "internal_hash" && name != "journal_crypt" && name != "journal_mac" {
				continue
			}
			if i := strings.LastIndexByte(rest, ':'); i >= 0 && i+1 < len(rest) {
				found = append(found, rest[i+1:])
			}
		}
	}
	return found
}

// secretsOf lists the secrets of a whole table, for the text of errors.
func secretsOf(t Table) []string {
	var found []string
	for _, s := range t {
		if s.Target != nil {
			found = append(found, secrets(s.Target.TargetType(), s.Target.Params())...)
		}
	}
	return found
}

// messageSecret is the key in a message "key set <key>" to crypt.
func messageSecret(text string) []string {
	args := SplitArgs(text)
	if len(args) == 3 && strings.EqualFold(args[0], "key") && strings.EqualFold(args[1], "set") &&
		args[2] != "-" && !strings.HasPrefix(args[2], ":") {
		return []string{args[2]}
	}
	return nil
}

// redactText takes secrets out of free text, such as lines of the kernel log.
func redactText(text string, secret []string) string {
	for _, s := range secret {
		text = strings.ReplaceAll(text, s, redactedKey)
	}
	return text
}
