// SPDX-License-Identifier: MIT

package runfile

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Field is one key=value of a record. Keys are made of a-z, 0-9, '_', '-' and
// '.'; values are any bytes.
type Field struct{ Key, Value string }

// F is short for Field{key, value}.
func F(key, value string) Field { return Field{key, value} }

// Verbs of a record.
const (
	verbHead  = "head"
	verbBegin = "begin"
	verbNote  = "note"
	verbEnd   = "end"
)

// appendRecord appends one line: verb, id, fields, newline.
func appendRecord(b []byte, verb string, id uint64, fields []Field) []byte {
	b = append(b, verb...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, id, 10)
	for _, f := range fields {
		b = append(b, ' ')
		b = append(b, f.Key...)
		b = append(b, '=')
		b = strconv.AppendQuote(b, f.Value)
	}
	return append(b, '\n')
}

// validName tells whether s may be a field's key or a kind.
func validName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}

// parseRecord takes one line without its newline apart.
func parseRecord(line string) (verb string, id uint64, fields []Field, err error) {
	verb, rest, ok := strings.Cut(line, " ")
	if !ok {
		return "", 0, nil, fmt.Errorf("no id")
	}
	switch verb {
	case verbHead, verbBegin, verbNote, verbEnd:
	default:
		return "", 0, nil, fmt.Errorf("unknown verb")
	}
	num, rest, more := strings.Cut(rest, " ")
	if id, err = strconv.ParseUint(num, 10, 64); err != nil || strconv.FormatUint(id, 10) != num {
		return "", 0, nil, fmt.Errorf("bad id")
	}
	for more {
		key, after, ok := strings.Cut(rest, "=")
		if !ok || !validName(key) {
			return "", 0, nil, fmt.Errorf("bad field name")
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil || quoted[0] != '"' {
			return "", 0, nil, fmt.Errorf("bad value of %s", key)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return "", 0, nil, fmt.Errorf("bad value of %s", key)
		}
		fields = append(fields, Field{key, value})
		rest = after[len(quoted):]
		if rest == "" {
			break
		}
		if rest[0] != ' ' {
			return "", 0, nil, fmt.Errorf("no blank after %s", key)
		}
		rest = rest[1:]
	}
	return verb, id, fields, nil
}

// merge sets each field in to, keeping the order in which keys first came.
func merge(to []Field, add []Field) []Field {
	for _, f := range add {
		i := slices.IndexFunc(to, func(t Field) bool { return t.Key == f.Key })
		if i >= 0 {
			to[i].Value = f.Value
		} else {
			to = append(to, f)
		}
	}
	return to
}

// Left is an entry that was begun and not ended.
type Left struct {
	ID     uint64
	Fields []Field // of begin and all notes; a later value replaced an earlier one
}

// Get returns the value of a field, "" when there is none.
func (l Left) Get(key string) string {
	for _, f := range l.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

// Log is the content of a run file.
type Log struct {
	// Whole tells that the first line is complete and understood; without it
	// nothing was ever begun.
	Whole   bool
	Owner   Owner
	Open    []Left   // in the order of their begin
	Damaged []string // complete lines that could not be understood
}

// Parse reads the content of a run file. It takes any bytes: what it does not
// understand it returns in Damaged. An unfinished last line is what a kill
// leaves and is left out.
func Parse(data []byte) Log {
	var log Log
	open := map[uint64]int{} // id to index in list
	var list []*Left
	for n := 0; ; n++ {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		line := string(data[:i])
		data = data[i+1:]
		if line == "" {
			continue // written to close off a torn line
		}
		verb, id, fields, err := parseRecord(line)
		if err != nil {
			log.Damaged = append(log.Damaged, line)
			continue
		}
		at, known := open[id]
		switch {
		case verb == verbHead && n == 0:
			if log.Owner, err = ownerFrom(id, fields); err != nil {
				log.Damaged = append(log.Damaged, line)
				continue
			}
			log.Whole = true
		case verb == verbBegin && !known:
			open[id] = len(list)
			list = append(list, &Left{ID: id, Fields: merge(nil, fields)})
		case verb == verbNote && known:
			list[at].Fields = merge(list[at].Fields, fields)
		case verb == verbEnd && known && len(fields) == 0:
			list[at] = nil
			delete(open, id)
		default:
			log.Damaged = append(log.Damaged, line)
		}
	}
	for _, l := range list {
		if l != nil {
			log.Open = append(log.Open, *l)
		}
	}
	return log
}
