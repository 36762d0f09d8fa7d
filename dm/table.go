// SPDX-License-Identifier: MIT

package dm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Segment maps Length sectors of a device, from Start on.
type Segment struct {
	Start, Length Sectors
	Target        Target
}

// String prints the segment as dmsetup does, without secrets.
func (s Segment) String() string {
	if s.Target == nil {
		return fmt.Sprintf("%d %d <nil>", s.Start, s.Length)
	}
	return fmt.Sprintf("%d %d %s", uint64(s.Start), uint64(s.Length), targetString(s.Target))
}

// MarshalJSON writes start and length in sectors, the target's name, and its
// arguments without secrets.
func (s Segment) MarshalJSON() ([]byte, error) {
	out := struct {
		Start  uint64 `json:"start"`
		Length uint64 `json:"length"`
		Target string `json:"target"`
		Params string `json:"params,omitempty"`
	}{Start: uint64(s.Start), Length: uint64(s.Length)}
	if s.Target != nil {
		out.Target, out.Params = s.Target.TargetType(), redactedParams(s.Target)
	}
	return json.Marshal(out)
}

// Table is the map of a device: segments in order, without gaps, from
// sector 0. The nil Table stands for no table.
type Table []Segment

// Append gives t with one more segment behind its last: a table of one
// target is Table{}.Append(length, target).
func (t Table) Append(length Sectors, target Target) Table {
	return append(slices.Clip(t), Segment{t.Length(), length, target})
}

// Length is the size of the device that t makes: the end of its last
// segment.
func (t Table) Length() Sectors {
	if len(t) == 0 {
		return 0
	}
	last := t[len(t)-1]
	return last.Start + last.Length
}

// ParseTable reads a table in the form of dmsetup: one segment a line,
//
//	start length type arguments…
//
// in sectors; empty lines and lines that start with '#' are skipped. extra
// brings parsers for further targets. A target without a parser becomes a
// [Raw]. The result has not been validated: call [Table.Validate].
func ParseTable(text string, extra ...Parsers) (Table, error) {
	var t Table
	var all Parsers
	if len(extra) == 1 {
		all = extra[0]
	} else if len(extra) > 1 {
		all = Parsers{}
		for _, e := range extra {
			for name, p := range e {
				all[name] = p
			}
		}
	}
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSegment(line, all)
		if err != nil {
			return nil, badTable("line %d: %w", n, err)
		}
		t = append(t, s)
	}
	if err := sc.Err(); err != nil {
		return nil, badTable("%w", err)
	}
	return t, nil
}

func parseSegment(line string, extra Parsers) (Segment, error) {
	var s Segment
	var words [3]string
	rest := line
	for i := range words {
		rest = strings.TrimLeft(rest, " \t")
		end := strings.IndexAny(rest, " \t")
		if end < 0 {
			end = len(rest)
		}
		words[i], rest = rest[:end], rest[end:]
	}
	if words[2] == "" {
		return s, errors.New("want start, length and target")
	}
	for i, dst := range []*Sectors{&s.Start, &s.Length} {
		n, err := strconv.ParseUint(words[i], 10, 64)
		if err != nil {
			return s, fmt.Errorf("%q is not a number of sectors", words[i])
		}
		*dst = Sectors(n)
	}
	if len(words[2]) >= dmwire.TypeLen {
		return s, fmt.Errorf("target name %.32q is longer than %d bytes", words[2], dmwire.TypeLen-1)
	}
	var err error
	if s.Target, err = parseTarget(words[2], strings.TrimLeft(rest, " \t"), extra); err != nil {
		return s, fmt.Errorf("%s: %w", words[2], err)
	}
	return s, nil
}

// String prints the table as dmsetup does, a segment a line, without the
// secrets in it; Format prints it in full.
func (t Table) String() string {
	var b strings.Builder
	for i, s := range t {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(s.String())
	}
	return b.String()
}

// GoString keeps secrets out of %#v.
func (t Table) GoString() string { return fmt.Sprintf("dm.Table{%q}", t.String()) }

// Format prints the table in the form that ParseTable and dmsetup read, with
// the secrets in it.
func (t Table) Format() string {
	var b strings.Builder
	for _, s := range t {
		fmt.Fprintf(&b, "%d %d %s", uint64(s.Start), uint64(s.Length), s.Target.TargetType())
		if p := s.Target.Params(); p != "" {
			b.WriteByte(' ')
			b.WriteString(p)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Equal reports whether two tables say the same: equal segments with equal
// arguments.
func (t Table) Equal(u Table) bool {
	if len(t) != len(u) {
		return false
	}
	for i, s := range t {
		o := u[i]
		if s.Start != o.Start || s.Length != o.Length {
			return false
		}
		if s.Target == nil || o.Target == nil {
			if s.Target != o.Target {
				return false
			}
			continue
		}
		if s.Target.TargetType() != o.Target.TargetType() || s.Target.Params() != o.Target.Params() {
			return false
		}
	}
	return true
}

// maxTargets is DM_MAX_TARGETS of drivers/md/dm-ioctl.c.
const maxTargets = 1 << 20

// Validate checks what the kernel would refuse, without looking at any
// device: an empty table, a start that is not 0, gaps and overlaps, lengths
// of 0, and the rules of each target that is a [Validator]. The error
// matches ErrBadTable.
func (t Table) Validate() error {
	if len(t) == 0 {
		return badTable("no segment")
	}
	if len(t) > maxTargets {
		return badTable("%d segments, the kernel takes %d", len(t), maxTargets)
	}
	var next Sectors
	for i, s := range t {
		if s.Target == nil {
			return badTable("segment %d: no target", i)
		}
		name := s.Target.TargetType()
		switch {
		case name == "" || len(name) >= dmwire.TypeLen || strings.ContainsAny(name, " \t\n/\x00"):
			return badTable("segment %d: target name %.32q", i, name)
		case s.Length == 0:
			return badTable("segment %d (%s): length 0", i, name)
		case s.Start > next:
			return badTable("segment %d (%s): gap: starts at %d, the one before ends at %d", i, name, uint64(s.Start), uint64(next))
		case s.Start < next:
			return badTable("segment %d (%s): starts at %d, inside the one before, which ends at %d", i, name, uint64(s.Start), uint64(next))
		}
		next += s.Length
		if next < s.Start || next > 1<<54 {
			return badTable("segment %d (%s): ends beyond any device", i, name)
		}
		if strings.IndexByte(s.Target.Params(), 0) >= 0 {
			return badTable("segment %d (%s): NUL in the arguments", i, name)
		}
		if v, ok := s.Target.(Validator); ok {
			if err := v.Validate(s.Length); err != nil {
				return badTable("segment %d (%s): %w", i, name, err)
			}
		}
	}
	return nil
}

// validFor is Validate for a table that is loaded in the given mode.
func (t Table) validFor(readOnly bool) error {
	if err := t.Validate(); err != nil || readOnly {
		return err
	}
	for i, s := range t {
		if r, ok := s.Target.(ReadOnlyTarget); ok && r.NeedsReadOnly() {
			return badTable("segment %d (%s): needs a read-only table", i, s.Target.TargetType())
		}
	}
	return nil
}

// specs is the wire form.
func (t Table) specs() []dmwire.Spec {
	specs := make([]dmwire.Spec, len(t))
	for i, s := range t {
		specs[i] = dmwire.Spec{
			Start: uint64(s.Start), Length: uint64(s.Length),
			Type: s.Target.TargetType(), Params: s.Target.Params(),
		}
	}
	return specs
}

// tableOf makes a table of the kernel's answer. Arguments that a parser
// does not understand are of another kernel version: they stay Raw.
func tableOf(specs []dmwire.Spec, extra Parsers) Table {
	if len(specs) == 0 {
		return nil
	}
	t := make(Table, len(specs))
	for i, s := range specs {
		target, err := parseTarget(s.Type, s.Params, extra)
		if err != nil {
			target = Raw{Type: s.Type, Text: s.Params}
		}
		t[i] = Segment{Sectors(s.Start), Sectors(s.Length), target}
	}
	return t
}

func badTable(format string, args ...any) error {
	return &tableError{fmt.Errorf(format, args...)}
}

// tableError is an ErrBadTable with its reason.
type tableError struct{ err error }

func (e *tableError) Error() string        { return e.err.Error() }
func (e *tableError) Unwrap() error        { return e.err }
func (e *tableError) Is(target error) bool { return target == ErrBadTable }
