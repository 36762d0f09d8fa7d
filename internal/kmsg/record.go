// SPDX-License-Identifier: MIT

package kmsg

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrFormat: bytes that are not a /dev/kmsg record.
var ErrFormat = errors.New("not a /dev/kmsg record")

// Levels of a record (Linux include/linux/kern_levels.h).
const (
	LevelErr     = 3
	LevelWarning = 4
	LevelNotice  = 5
	LevelInfo    = 6
)

// Record is one record of the kernel's log.
type Record struct {
	Priority     int           // 0 emergency … 7 debug
	Facility     int           // 0 the kernel itself; others were written by programs
	Seq          uint64        // rises by one a record
	Timestamp    time.Duration // since boot, microsecond steps
	Continuation byte          // '-' whole line, 'c' first fragment, '+' further fragment
	Caller       string        // "T<thread id>" or "C<cpu>"; "" without CONFIG_PRINTK_CALLER
	Text         string        // may hold newlines and any bytes
	Dict         []Pair        // such as SUBSYSTEM=block, DEVICE=b254:0
}

// Pair is one key=value line after the text.
type Pair struct{ Key, Value string }

// Get returns the value of a dictionary key.
func (r Record) Get(key string) string {
	for _, p := range r.Dict {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// ParseRecord takes one record as read(2) returns it apart:
//
//	6,339,5140900,-,caller=T123;text
//	 KEY=value
//
// Unknown fields before the ';' are skipped, as the format demands.
func ParseRecord(b []byte) (Record, error) {
	prefix, rest, ok := bytes.Cut(b, []byte{';'})
	if !ok {
		return Record{}, ErrFormat
	}
	var r Record
	field := strings.Split(string(prefix), ",")
	if len(field) < 3 {
		return Record{}, ErrFormat
	}
	level, err1 := strconv.ParseUint(field[0], 10, 31)
	seq, err2 := strconv.ParseUint(field[1], 10, 64)
	// More microseconds than a Duration holds nanoseconds of is no uptime.
	usec, err3 := strconv.ParseUint(field[2], 10, 53)
	if err1 != nil || err2 != nil || err3 != nil {
		return Record{}, ErrFormat
	}
	r.Priority, r.Facility = int(level&7), int(level>>3)
	r.Seq, r.Timestamp = seq, time.Duration(usec)*time.Microsecond
	r.Continuation = '-'
	for i, f := range field[3:] {
		if i == 0 && len(f) == 1 {
			r.Continuation = f[0]
		} else if caller, ok := strings.CutPrefix(f, "caller="); ok {
			r.Caller = caller
		}
	}
	// The text ends at the first newline: one within it is escaped.
	text, dict, _ := bytes.Cut(rest, []byte{'\n'})
	r.Text = unescape(text)
	for len(dict) > 0 {
		var line []byte
		line, dict, _ = bytes.Cut(dict, []byte{'\n'})
		line, ok := bytes.CutPrefix(line, []byte{' '})
		if !ok {
			continue // no meaning is defined for it
		}
		key, value, _ := bytes.Cut(line, []byte{'='})
		r.Dict = append(r.Dict, Pair{unescape(key), unescape(value)})
	}
	return r, nil
}

// unescape turns \xNN into its byte. The kernel escapes the backslash itself
// too, so any other backslash means nothing and stays.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) && b[i+1] == 'x' {
			if n, err := strconv.ParseUint(string(b[i+2:i+4]), 16, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return string(out)
}
