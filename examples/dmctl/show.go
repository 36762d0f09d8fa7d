// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/linuxblock/linuxblock/dm"
)

// each runs f on every device that the command line names. One of all that
// is gone by then is passed over.
func (t *tool) each(ctx context.Context, args []string, f func(ref dm.Ref, info dm.Info) error) (many bool, err error) {
	refs, all, err := t.refs(ctx, args)
	if err != nil {
		return false, err
	}
	for _, ref := range refs {
		info, err := t.Info(ctx, ref)
		if err == nil {
			err = f(info.Dev, info)
		}
		if err != nil && !(all && errors.Is(err, fs.ErrNotExist)) {
			return false, err
		}
	}
	return all || len(refs) > 1, nil
}

// shown is a name as a person writes it, like dmsetup's; a name that would
// upset a terminal stays mangled.
func shown(n dm.Name) string {
	text := n.Unmangle()
	again, err := mangle(text)
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if err != nil || again != n || !utf8.ValidString(text) || strings.ContainsFunc(text, odd) {
		return n.String()
	}
	return text
}

// print writes the lines of devices in order; with the name in front when
// there may be several, as dmsetup does.
func (t *tool) print(many bool, names []dm.Name, lines [][]string) {
	if many && len(names) == 0 {
		fmt.Fprintln(t.out, "No devices found")
	}
	for i, name := range names {
		prefix := ""
		if many {
			prefix = shown(name) + ": "
			if len(lines[i]) == 0 {
				lines[i] = []string{""}
			}
		}
		for _, l := range lines[i] {
			fmt.Fprintln(t.out, prefix+l)
		}
	}
}

func showTable(ctx context.Context, t *tool, args []string) error {
	var names []dm.Name
	var lines [][]string
	data := []jsonTable{}
	many, err := t.each(ctx, args, func(ref dm.Ref, info dm.Info) error {
		table, err := t.Table(ctx, ref, dm.StatusOptions{Inactive: t.inactive})
		if err != nil {
			return err
		}
		entry := tableJSON(info.Name, table, t.showKeys)
		names, lines = append(names, info.Name), append(lines, segmentLines(entry.Segments))
		data = append(data, entry)
		return nil
	})
	if err != nil {
		return err
	}
	if t.json {
		return t.printJSON(data)
	}
	t.print(many, names, lines)
	return nil
}

// segmentLines is the form of dmsetup table and status.
func segmentLines(list []jsonSegment) []string {
	var lines []string
	for _, s := range list {
		lines = append(lines, fmt.Sprintf("%d %d %s %s", s.Start, s.Length, s.Target, s.Params))
	}
	return lines
}

func showStatus(ctx context.Context, t *tool, args []string) error {
	var names []dm.Name
	var lines [][]string
	data := []jsonStatus{}
	many, err := t.each(ctx, args, func(ref dm.Ref, info dm.Info) error {
		list, err := t.Status(ctx, ref, dm.StatusOptions{Inactive: t.inactive, NoFlush: t.noFlush})
		if err != nil {
			return err
		}
		entry := statusJSON(info.Name, list)
		names, lines = append(names, info.Name), append(lines, segmentLines(entry.Segments))
		data = append(data, entry)
		return nil
	})
	if err != nil {
		return err
	}
	if t.json {
		return t.printJSON(data)
	}
	t.print(many, names, lines)
	return nil
}

func showInfo(ctx context.Context, t *tool, args []string) error {
	data, found := []jsonInfo{}, false
	many, err := t.each(ctx, args, func(ref dm.Ref, info dm.Info) error {
		if data = append(data, infoJSON(info)); t.json {
			return nil
		}
		found = true
		// A double has no queue to ask.
		ahead, err := t.ReadAhead(ctx, ref)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		fmt.Fprint(t.out, infoText(info, ahead, err == nil))
		return nil
	})
	switch {
	case err != nil:
		return err
	case t.json:
		return t.printJSON(data)
	case many && !found:
		fmt.Fprintln(t.out, "No devices found")
	}
	return nil
}

// infoText is the form of dmsetup info.
func infoText(i dm.Info, ahead dm.Sectors, known bool) string {
	var b strings.Builder
	line := func(what string, value any) { fmt.Fprintf(&b, "%-18s %v\n", what+":", value) }
	state := "ACTIVE"
	switch {
	case i.Suspended:
		state = "SUSPENDED"
	case i.InternalSuspend:
		state = "SUSPENDED (INTERNAL)"
	}
	if i.ReadOnly {
		state += " (READ-ONLY)"
	}
	if i.DeferredRemove {
		state += " (DEFERRED REMOVE)"
	}
	tables := "None"
	switch {
	case i.ActiveTable && i.InactiveTable:
		tables = "LIVE & INACTIVE"
	case i.ActiveTable:
		tables = "LIVE"
	case i.InactiveTable:
		tables = "INACTIVE"
	}
	line("Name", shown(i.Name))
	line("State", state)
	if known {
		line("Read Ahead", uint64(ahead))
	}
	line("Tables present", tables)
	line("Open count", i.Open)
	line("Event number", i.EventNr)
	line("Major, minor", fmt.Sprintf("%d, %d", i.Dev.Major, i.Dev.Minor))
	line("Number of targets", i.Targets)
	if i.UUID != "" {
		fmt.Fprintf(&b, "UUID: %s\n", i.UUID)
	}
	b.WriteByte('\n')
	return b.String()
}
