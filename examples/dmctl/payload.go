// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// payload is what stands behind the header, for the eye.
type payload struct {
	lines  []string // decoded
	bytes  []byte   // the part that means something
	hidden []bool   // bytes that may be a key
}

// decode reads a payload. What can't be read is not shown at all: there
// might be a key in it. dm.WithTrace masks keys by itself; this is the
// second lock on the same door.
func decode(command string, h dmwire.Header, p []byte, sent bool) payload {
	if len(p) == 0 || !sent && h.Flags&dmwire.BufferFull != 0 {
		return payload{}
	}
	lines, used, secret, err := decodeLines(command, h, p, sent)
	if err != nil {
		return payload{lines: []string{fmt.Sprintf("payload of %d bytes: %v", len(p), err)}}
	}
	out := payload{lines: lines, bytes: p[:min(used, len(p))]}
	out.hidden = make([]bool, len(out.bytes))
	for _, s := range secret {
		hide(out.hidden, out.bytes, s)
	}
	return out
}

// hide marks each place where s stands.
func hide(hidden []bool, p []byte, s string) {
	for at := 0; s != ""; {
		i := bytes.Index(p[at:], []byte(s))
		if i < 0 {
			return
		}
		for j := range len(s) {
			hidden[at+i+j] = true
		}
		at += i + 1
	}
}

func decodeLines(command string, h dmwire.Header, p []byte, sent bool) (lines []string, used int, secret []string, err error) {
	used = len(p)
	switch {
	case command == "TABLE_LOAD" && sent:
		specs, err := dmwire.ParseLoad(p, h.TargetCount)
		lines, secret = segments(specs)
		return lines, dmwire.SpecsSize(specs), secret, err
	case (command == "TABLE_STATUS" || command == "DEV_WAIT") && !sent:
		specs, err := dmwire.ParseStatus(p, h.TargetCount)
		lines, secret = segments(specs)
		return lines, used, secret, err
	case command == "TARGET_MSG" && sent:
		sector, text, err := dmwire.ParseMessage(p)
		shown := text
		if words := dm.SplitArgs(text); len(words) > 0 && strings.EqualFold(words[0], "key") {
			shown, secret = words[0]+" <redacted>", []string{text}
		}
		return []string{fmt.Sprintf("sector %d message %q", sector, shown)}, dmwire.MessageSize(text), secret, err
	case command == "DEV_RENAME" && sent, command == "DEV_SET_GEOMETRY" && sent, command == "TARGET_MSG":
		text, err := dmwire.ParseString(p)
		return []string{fmt.Sprintf("%q", text)}, len(text) + 1, nil, err
	case command == "LIST_DEVICES" && !sent:
		names, err := dmwire.ParseNames(p, h.Version)
		for _, n := range names {
			major, minor := dmwire.SplitDev(n.Dev)
			lines = append(lines, fmt.Sprintf("%d:%d %q uuid %q event_nr %d", major, minor, n.Name, n.UUID, n.EventNr))
		}
		return lines, used, nil, err
	case command == "TABLE_DEPS" && !sent:
		devs, err := dmwire.ParseDeps(p)
		for _, d := range devs {
			major, minor := dmwire.SplitDev(d)
			lines = append(lines, fmt.Sprintf("%d:%d", major, minor))
		}
		return lines, used, nil, err
	case (command == "LIST_VERSIONS" || command == "GET_TARGET_VERSION") && !sent:
		list, err := dmwire.ParseVersions(p)
		for _, v := range list {
			lines = append(lines, fmt.Sprintf("%s %s", v.Name, versionText(v.Version)))
		}
		return lines, used, nil, err
	case sent:
		// Room for the answer.
		return nil, 0, nil, nil
	}
	return nil, 0, nil, fmt.Errorf("not known for %s", command)
}

// segments prints target records without keys, and tells which parameters
// had some.
func segments(specs []dmwire.Spec) (lines, secret []string) {
	for _, s := range specs {
		raw := dm.Raw{Type: s.Type, Text: s.Params}
		if raw.Redacted() != s.Params {
			secret = append(secret, s.Params)
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%d %d %v", s.Start, s.Length, raw)))
	}
	return lines, secret
}
