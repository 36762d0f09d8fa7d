// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

// each runs f on every device that the command line names. One of all that
// is gone by then is passed over.
func (t *tool) each(ctx context.Context, args []string, f func(dm.Info) error) (many bool, err error) {
	refs, all, err := t.refs(ctx, args)
	if err != nil {
		return false, err
	}
	for _, ref := range refs {
		info, err := t.Info(ctx, ref)
		if err == nil {
			err = f(info)
		}
		if err != nil && !(all && errors.Is(err, fs.ErrNotExist)) {
			return false, err
		}
	}
	return all || len(refs) > 1, nil
}

// report asks each device that the command line names and prints the answers:
// as JSON, or line by line; with the name in front when there may be several,
// as dmsetup does.
func report[T any](ctx context.Context, t *tool, args []string, ask func(dm.Info) (T, []string, error)) error {
	data := []T{}
	var names []dm.Name
	var lines [][]string
	many, err := t.each(ctx, args, func(info dm.Info) error {
		entry, text, err := ask(info)
		if err == nil {
			data, names, lines = append(data, entry), append(names, info.Name), append(lines, text)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case t.json:
		return t.printJSON(data)
	case many && len(names) == 0:
		fmt.Fprintln(t.out, "No devices found")
	}
	for i, name := range names {
		prefix := ""
		if many {
			prefix = name.Label() + ": "
			if len(lines[i]) == 0 {
				lines[i] = []string{""}
			}
		}
		for _, l := range lines[i] {
			fmt.Fprintln(t.out, prefix+l)
		}
	}
	return nil
}

func showTable(ctx context.Context, t *tool, args []string) error {
	return report(ctx, t, args, func(info dm.Info) (jsonTable, []string, error) {
		table, err := t.Table(ctx, info.Dev, dm.StatusOptions{Inactive: t.inactive})
		entry := tableJSON(info.Name, table, t.showKeys)
		return entry, segmentLines(entry.Segments), err
	})
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
	return report(ctx, t, args, func(info dm.Info) (jsonStatus, []string, error) {
		list, err := t.Status(ctx, info.Dev, dm.StatusOptions{Inactive: t.inactive, NoFlush: t.noFlush})
		entry := statusJSON(info.Name, list)
		return entry, segmentLines(entry.Segments), err
	})
}

func showInfo(ctx context.Context, t *tool, args []string) error {
	data, found := []jsonInfo{}, false
	many, err := t.each(ctx, args, func(info dm.Info) error {
		if data = append(data, infoJSON(info)); t.json {
			return nil
		}
		found = true
		// A double has no queue to ask.
		ahead, err := t.ReadAhead(ctx, info.Dev)
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
	line("Name", i.Name.Label())
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
