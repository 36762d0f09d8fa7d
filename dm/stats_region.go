// SPDX-License-Identifier: MIT

package dm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// StatsRegion is a region of a device in which the kernel counts I/O.
type StatsRegion struct {
	ID            int // the lowest number that was free on the device
	Start, Length Sectors
	Step          Sectors // length of an area
	Precise       bool    // time is counted in nanoseconds
	Histogram     []time.Duration
	Program, Aux  string // empty for none, which the kernel prints as "-"
}

// Areas is the number of areas.
func (r StatsRegion) Areas() int {
	if r.Step == 0 {
		return 0
	}
	n := uint64(r.Length / r.Step)
	if r.Length%r.Step != 0 {
		n++
	}
	return int(min(n, math.MaxInt))
}

// String is the line of @stats_list.
func (r StatsRegion) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %d+%d %d %s %s", r.ID, uint64(r.Start), uint64(r.Length), uint64(r.Step), orDash(r.Program), orDash(r.Aux))
	if r.Precise {
		b.WriteString(preciseOption)
	}
	if len(r.Histogram) > 0 {
		b.WriteString(histogramOption)
		b.WriteString(boundsText(r.Histogram, statsUnit(r.Precise)))
	}
	return b.String()
}

// The options as @stats_list prints them behind the aux data.
const (
	preciseOption   = " precise_timestamps"
	histogramOption = " histogram:"
)

// statsUnit is the unit of all times that the kernel prints of a region.
func statsUnit(precise bool) time.Duration {
	if precise {
		return time.Nanosecond
	}
	return time.Millisecond
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func noDash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

func boundsText(bounds []time.Duration, unit time.Duration) string {
	var b strings.Builder
	for i, d := range bounds {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(num(int64(d / unit)))
	}
	return b.String()
}

// ParseStatsList reads the answer to @stats_list. The kernel prints Program
// and Aux as they are: where a program that somebody made has a blank in it,
// what is behind the blank counts as Aux.
func ParseStatsList(text string) ([]StatsRegion, error) {
	var list []StatsRegion
	for line := range strings.Lines(text) {
		r, err := parseStatsRegion(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, badStats(line, err)
		}
		list = append(list, r)
	}
	return list, nil
}

func badStats(line string, err error) error {
	return &Error{Op: "stats", Detail: fmt.Sprintf("%.200q", line), Err: corrupt(err)}
}

// parseStatsRegion reads "id: start+length step program aux [options]".
func parseStatsRegion(line string) (StatsRegion, error) {
	f := statsFields{rest: line}
	id := f.number(':')
	if f.err == nil && !strings.HasPrefix(f.rest, " ") {
		f.fail("no blank behind the number of the region")
	}
	f.rest = strings.TrimPrefix(f.rest, " ")
	r := StatsRegion{ID: int(id), Start: Sectors(f.number('+')), Length: Sectors(f.number(' ')), Step: Sectors(f.number(' '))}
	program, rest, ok := strings.Cut(f.rest, " ")
	switch {
	case f.err != nil:
		return StatsRegion{}, f.err
	case id > math.MaxInt32 || r.Step == 0 || r.Start+r.Length < r.Start:
		return StatsRegion{}, fmt.Errorf("no region has such numbers")
	case !ok || program == "" || rest == "":
		return StatsRegion{}, fmt.Errorf("no program or no aux data")
	}
	aux, precise, bounds := cutStatsOptions(rest)
	unit := statsUnit(precise)
	for _, b := range bounds {
		if b > uint64(math.MaxInt64/unit) {
			return StatsRegion{}, fmt.Errorf("a histogram bound of %d is beyond 292 years", b)
		}
		r.Histogram = append(r.Histogram, time.Duration(b)*unit)
	}
	r.Precise, r.Program, r.Aux = precise, noDash(program), noDash(aux)
	return r, nil
}

// cutStatsOptions cuts the options off the aux data, which go to the end of
// the line and may have blanks.
func cutStatsOptions(text string) (aux string, precise bool, bounds []uint64) {
	aux = text
	if i := strings.LastIndex(aux, histogramOption); i > 0 {
		if bounds = parseBounds(aux[i+len(histogramOption):]); bounds != nil {
			aux = aux[:i]
		}
	}
	if s, ok := strings.CutSuffix(aux, preciseOption); ok && s != "" {
		aux, precise = s, true
	}
	return aux, precise, bounds
}

// parseBounds returns nil for what the kernel would not print.
func parseBounds(text string) []uint64 {
	var bounds []uint64
	last := uint64(0)
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil || n <= last || word[0] == '+' {
			return nil
		}
		bounds = append(bounds, n)
		last = n
	}
	return bounds
}

// statsFields reads the numbers of a line one by one and keeps the first
// error.
type statsFields struct {
	rest string
	err  error
}

func (f *statsFields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// word cuts at the separator, or with 0 at the end of the line.
func (f *statsFields) word(sep byte) string {
	i := len(f.rest)
	if sep != 0 {
		if i = strings.IndexByte(f.rest, sep); i < 0 {
			f.fail("%q is missing behind %.40q", sep, f.rest)
			return ""
		}
	}
	word := f.rest[:i]
	f.rest = f.rest[min(i+1, len(f.rest)):]
	return word
}

func (f *statsFields) number(sep byte) uint64 {
	word := f.word(sep)
	if f.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		f.fail("%.40q is no number", word)
	}
	return n
}
