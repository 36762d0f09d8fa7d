// SPDX-License-Identifier: MIT

package dm

import (
	"strings"
)

// redactedKey stands in the place of a secret.
const redactedKey = "<redacted>"

// span is a range of bytes of a text.
type span struct{ start, end int }

// words are the places of the arguments in the text, quoting included.
func words(params string) []span {
	var list []span
	for i := 0; i < len(params); {
		if kernelSpace(params[i]) {
			i++
			continue
		}
		start := i
		for ; i < len(params) && !kernelSpace(params[i]); i++ {
			if params[i] == '\\' && i+1 < len(params) {
				i++
			}
		}
		list = append(list, span{start, i})
	}
	return list
}

// secretSpans are the places of what must not be shown of the arguments of a
// target: the key of crypt, the keys of integrity. They go by place and name
// alone, so that arguments of a newer kernel, which no parser understands,
// hide theirs too. Names of keys in the kernel's keyring (":64:logon:name")
// are no secrets, nor is "-".
func secretSpans(target, params string) []span {
	var found []span
	w := words(params)
	switch target {
	case "crypt":
		// cipher key iv_offset device offset …
		if len(w) > 1 {
			if !publicKey(unquote(params[w[1].start:w[1].end])) {
				found = append(found, w[1])
			}
		}
	case "integrity":
		// internal_hash:hmac(sha256):<key>, journal_crypt:…, journal_mac:…
		for _, s := range w {
			name, rest, ok := strings.Cut(params[s.start:s.end], ":")
			name = unquote(name)
			if !ok || name != "internal_hash" && name != "journal_crypt" && name != "journal_mac" {
				continue
			}
			if _, key, ok := strings.Cut(rest, ":"); ok && key != "" {
				found = append(found, span{s.end - len(key), s.end})
			}
		}
	}
	return found
}

// messageSpans is the place of the key in a message "key set <key>" to crypt.
func messageSpans(text string) []span {
	w := words(text)
	if len(w) < 3 || !strings.EqualFold(text[w[0].start:w[0].end], "key") || !strings.EqualFold(text[w[1].start:w[1].end], "set") {
		return nil
	}
	if len(w) == 3 && publicKey(unquote(text[w[2].start:w[2].end])) {
		return nil
	}
	return w[2:]
}

func redact(target, params string) string { return cut(params, secretSpans(target, params)) }

// cut replaces the spans, which are in order.
func cut(text string, spans []span) string {
	if len(spans) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(text[at:s.start])
		b.WriteString(redactedKey)
		at = s.end
	}
	b.WriteString(text[at:])
	return b.String()
}

// secretsOf lists the secrets of a table, for taking them out of free text:
// as they were written, and as the kernel reads them, without the quoting.
func secretsOf(t Table) []string {
	var found []string
	for _, s := range t {
		if s.Target != nil {
			params := s.Target.Params()
			found = append(found, spelled(params, secretSpans(s.Target.TargetType(), params))...)
			if r, ok := s.Target.(Redacter); ok {
				found = append(found, hidden(params, r.Redacted())...)
			}
		}
	}
	return found
}

// hidden lists the words of params that the redacted form does not show.
func hidden(params, redacted string) []string {
	if params == redacted {
		return nil
	}
	shown := map[string]bool{}
	for _, w := range words(redacted) {
		shown[redacted[w.start:w.end]] = true
	}
	var found []span
	for _, w := range words(params) {
		if !shown[params[w.start:w.end]] {
			found = append(found, w)
		}
	}
	return spelled(params, found)
}

func messageSecrets(text string) []string { return spelled(text, messageSpans(text)) }

func spelled(text string, spans []span) []string {
	var found []string
	for _, s := range spans {
		raw := text[s.start:s.end]
		found = append(found, raw)
		if plain := SplitArgs(raw); len(plain) == 1 && plain[0] != raw {
			found = append(found, plain[0])
		}
	}
	return found
}

// redactText takes secrets out of free text, such as lines of the kernel log.
func redactText(text string, secret []string) string {
	for _, s := range secret {
		text = strings.ReplaceAll(text, s, redactedKey)
	}
	return text
}
