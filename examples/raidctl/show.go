// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// array opens an array by its name.
func (t *tool) array(ctx context.Context, name string) (*dmraid.Array, error) {
	return dmraid.OpenArray(ctx, t.c, dm.Name(name), dmraid.WithDevices(t.devices()))
}

// names are those on the command line, or of all arrays.
func (t *tool) names(ctx context.Context, words []string) ([]string, error) {
	if len(words) > 0 {
		return words, nil
	}
	all, err := t.c.List(ctx, dm.ListOptions{})
	for _, e := range all {
		s, err := t.c.Status(ctx, e.Dev, dm.StatusOptions{})
		if err == nil && len(s) == 1 && s[0].Type == "raid" {
			words = append(words, string(e.Name))
		}
	}
	return words, err
}

// showStatus prints the health of arrays.
func showStatus(ctx context.Context, t *tool, words []string) error {
	names, err := t.names(ctx, words)
	if err != nil {
		return err
	}
	var bad error
	for _, name := range names {
		a, err := t.array(ctx, name)
		if err != nil {
			return err
		}
		s, err := a.State(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.out, "%s: %s of %d legs, %s\n  %s\n", name, s.Status.Type, len(s.Table.Legs), human(s.Length), s.Health)
		for i, l := range s.Table.Legs {
			fmt.Fprintf(t.out, "  leg %d  %s\n", i, t.legLine(s, i, l))
		}
		switch s.Health.Condition {
		case dmraid.Degraded, dmraid.Failed:
			bad = errDegraded
		}
	}
	return bad
}

// legLine is a leg for people: what it stands on, and how it is.
func (t *tool) legLine(s dmraid.ArrayState, i int, l dmraid.Leg) string {
	word := "in sync"
	switch h := s.Health; {
	case l.Missing():
		return "missing"
	case has(h.Dead, i):
		word = "failed"
	case has(h.OutOfSync, i):
		word = "not in sync"
	}
	text := fmt.Sprintf("%-12s data %s", word, l.Data)
	if l.Meta != "" {
		text += ", metadata " + l.Meta
	}
	if f := s.Legs[i]; f.Meta == dmraid.MetaValid {
		text += fmt.Sprintf(", events %d", f.Super.Events)
	}
	return text
}

func has(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}

// watch shows the progress of an array until nothing runs.
func watch(ctx context.Context, t *tool, words []string) error {
	a, err := t.array(ctx, words[0])
	if err != nil {
		return err
	}
	if t.once {
		s, err := a.State(ctx)
		if err == nil {
			b := &bar{out: t.out}
			b.progress(dmraid.Progress{Status: s.Status, Health: s.Health})
			b.end()
		}
		return err
	}
	return t.follow(ctx, a)
}

// follow draws a bar until nothing runs and nothing is due.
func (t *tool) follow(ctx context.Context, a *dmraid.Array) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	b := &bar{out: t.out}
	defer b.end()
	for p, err := range a.Watch(ctx, dmraid.WatchOptions{Interval: 200 * time.Millisecond}) {
		if err != nil {
			return err
		}
		b.progress(p)
		if p.Health.Running == dmraid.ActionIdle && p.Health.Pending == "" {
			return nil
		}
		if p.Health.Frozen {
			return errors.New("the array is frozen or suspended; raidctl revive lets it go on")
		}
	}
	return ctx.Err()
}

// bar is a line that is drawn again and again.
type bar struct {
	out  io.Writer
	last string
}

const barWidth = 32

// draw shows a part of 1, with a word in front and a text behind.
func (b *bar) draw(word string, part float64, text string) {
	full := int(part*barWidth + 0.5)
	line := fmt.Sprintf("%-8s [%s%s] %5.1f %%  %s", word, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*part, text)
	if line == b.last {
		return
	}
	// What is left of a longer line is wiped out by blanks.
	fmt.Fprintf(b.out, "\r%-*s", len(b.last), line)
	b.last = line
}

func (b *bar) progress(p dmraid.Progress) {
	part := 1.0
	if percent, ok := p.Health.Percent(); ok {
		part = percent / 100
	}
	left := ""
	if p.Left > 0 {
		left = ", " + p.Left.Round(time.Second).String() + " left"
	}
	b.draw(string(p.Health.Running), part, p.Health.Condition.String()+left)
}

// end ends the line.
func (b *bar) end() {
	if b.last != "" {
		fmt.Fprintln(b.out)
	}
	b.last = ""
}
