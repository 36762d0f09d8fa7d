// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// screen is a terminal's size in characters.
type screen struct{ width, height int }

// view prints samples: as a table that is drawn anew, as lines, or as JSON.
type view struct {
	out    io.Writer
	json   bool
	screen func() (screen, bool)
	drawn  bool // something was shown
}

func newView(out io.Writer, o options, s func() (screen, bool)) *view {
	return &view{out: out, json: o.json, screen: s}
}

// show prints the samples of a round.
func (v *view) show(list []sample) error {
	slices.SortFunc(list, func(a, b sample) int {
		return cmp.Or(cmp.Compare(b.Utilization(b.interval), a.Utilization(a.interval)), cmp.Compare(a.name, b.name))
	})
	var b bytes.Buffer
	s, terminal := v.screen()
	switch {
	case v.json:
		for _, x := range list {
			if err := json.NewEncoder(&b).Encode(record(x)); err != nil {
				return err
			}
		}
	case terminal:
		v.draw(&b, list, s)
	default:
		if !v.drawn {
			b.WriteString(line(plainName, columns()...))
		}
		for _, x := range list {
			b.WriteString(line(plainName, cells(x)...))
		}
	}
	v.drawn = true
	_, err := v.out.Write(b.Bytes())
	return err
}

// plainName is the width of a name where there is no screen to fit.
const plainName = 24

// heads are the columns behind the name: those of iostat -x, sizes in KiB
// and times in milliseconds.
var heads = []string{"r/s", "w/s", "rkB/s", "wkB/s", "areq-kB", "r_await", "w_await", "aqu-sz", "inflt", "%util"}

const cellWidth = 9

func columns() []string { return append([]string{"DEVICE"}, heads...) }

func cells(s sample) []string {
	i := s.interval
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
	return []string{
		printable(s.name.String()),
		fmt.Sprintf("%.1f", s.ReadsPerSecond(i)), fmt.Sprintf("%.1f", s.WritesPerSecond(i)),
		fmt.Sprintf("%.1f", s.ReadBytesPerSecond(i)/1024), fmt.Sprintf("%.1f", s.WriteBytesPerSecond(i)/1024),
		fmt.Sprintf("%.1f", s.AverageSize()/1024), ms(s.ReadWait()), ms(s.WriteWait()),
		fmt.Sprintf("%.2f", s.QueueLength(i)), fmt.Sprint(s.InFlight), fmt.Sprintf("%.1f", 100*s.Utilization(i)),
	}
}

// printable keeps a name that another program made from steering the
// terminal. Most are mangled already.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}

// line is the name, as wide as said, and the numbers.
func line(name int, cells ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", name, cells[0])
	for _, c := range cells[1:] {
		fmt.Fprintf(&b, " %*s", cellWidth-1, c)
	}
	return b.String() + "\n"
}

// draw fills the screen from its top: no clearing, which would flicker, but
// each line and the rest are cut off behind what is written.
func (v *view) draw(b *bytes.Buffer, list []sample, s screen) {
	if !v.drawn {
		b.WriteString("\x1b[2J")
	}
	b.WriteString("\x1b[H")
	name := min(max(s.width-len(heads)*cellWidth-1, 10), 40)
	lines := []string{line(name, columns()...)}
	for _, x := range list {
		c := cells(x)
		c[0] = cut(c[0], name)
		lines = append(lines, line(name, c...))
	}
	if len(list) == 0 {
		lines = append(lines, "no devices\n")
	}
	// The last line stays free: a newline there would scroll.
	if most := max(s.height-1, 1); len(lines) > most {
		lines = lines[:most]
	}
	for _, l := range lines {
		b.WriteString(cut(strings.TrimSuffix(l, "\n"), s.width) + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
}

// cut shortens a text to a number of characters.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(width, 0)])
}
