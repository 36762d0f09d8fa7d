// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

func list(ctx context.Context, t *tool, _ []string) error {
	entries, err := t.List(ctx, dm.ListOptions{})
	if err != nil {
		return err
	}
	if t.tree {
		return printTree(ctx, t, entries)
	}
	if t.json {
		data := []jsonEntry{}
		for _, e := range entries {
			data = append(data, jsonEntry{e.Name.String(), e.Name.Unmangle(), e.Dev.String(), e.UUID.String(), e.EventNr, nil})
		}
		return t.printJSON(data)
	}
	if len(entries) == 0 {
		fmt.Fprintln(t.out, "No devices found")
	}
	for _, e := range entries {
		line := fmt.Sprintf("%s\t(%v)", shown(e.Name), e.Dev)
		if e.UUID != "" {
			line += "\t" + e.UUID.String()
		}
		fmt.Fprintln(t.out, line)
	}
	return nil
}

// node is a device in the tree: what it maps is below it.
type node struct {
	entry dm.Entry
	below []*node
}

// forest asks each device for what it maps; the result are the devices that
// no other one maps.
func forest(ctx context.Context, t *tool, entries []dm.Entry) ([]*node, error) {
	nodes, mapped := map[dm.Dev]*node{}, map[dm.Dev]bool{}
	for _, e := range entries {
		nodes[e.Dev] = &node{entry: e}
	}
	for _, e := range entries {
		deps, err := t.Deps(ctx, e.Dev, dm.DepsOptions{})
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		for _, d := range deps {
			child := nodes[d]
			if child == nil {
				child = &node{entry: dm.Entry{Dev: d}} // not of device-mapper
			}
			mapped[d] = true
			nodes[e.Dev].below = append(nodes[e.Dev].below, child)
		}
	}
	var roots []*node
	for _, e := range entries {
		if !mapped[e.Dev] {
			roots = append(roots, nodes[e.Dev])
		}
	}
	return roots, nil
}

func printTree(ctx context.Context, t *tool, entries []dm.Entry) error {
	roots, err := forest(ctx, t, entries)
	if err != nil {
		return err
	}
	if t.json {
		return t.printJSON(treeJSON(roots))
	}
	if len(roots) == 0 {
		fmt.Fprintln(t.out, "No devices found")
	}
	var b strings.Builder
	for _, r := range roots {
		writeNode(&b, r, "", "")
	}
	fmt.Fprint(t.out, b.String())
	return nil
}

// writeNode draws as dmsetup ls --tree does: first stands before the device,
// rest before what is below it.
func writeNode(b *strings.Builder, n *node, first, rest string) {
	name := "" // a plain disk has none
	if n.entry.Name != "" {
		name = shown(n.entry.Name)
	}
	fmt.Fprintf(b, "%s%s (%v)\n", first, name, n.entry.Dev)
	for i, c := range n.below {
		if i == len(n.below)-1 {
			writeNode(b, c, rest+" └─", rest+"   ")
		} else {
			writeNode(b, c, rest+" ├─", rest+" │ ")
		}
	}
}

func showDeps(ctx context.Context, t *tool, args []string) error {
	var names []dm.Name
	var lines [][]string
	data := []jsonDeps{}
	many, err := t.each(ctx, args, func(ref dm.Ref, info dm.Info) error {
		deps, err := t.Deps(ctx, ref, dm.DepsOptions{Inactive: t.inactive})
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%d dependencies\t:", len(deps))
		entry := jsonDeps{info.Name.String(), []string{}}
		for _, d := range deps {
			line += fmt.Sprintf(" (%d, %d)", d.Major, d.Minor)
			entry.Deps = append(entry.Deps, d.String())
		}
		names, lines, data = append(names, info.Name), append(lines, []string{line}), append(data, entry)
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

func versionText(v dm.Version) string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

func targets(ctx context.Context, t *tool, _ []string) error {
	have, err := t.Versions(ctx)
	if err != nil {
		return err
	}
	data := []jsonTarget{}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		data = append(data, jsonTarget{name, versionText(have[name])})
	}
	if t.json {
		return t.printJSON(data)
	}
	for _, d := range data {
		fmt.Fprintf(t.out, "%-16s v%s\n", d.Name, d.Version)
	}
	return nil
}

func version(_ context.Context, t *tool, _ []string) error {
	v := versionText(t.Version())
	if t.json {
		return t.printJSON(map[string]string{"driver_version": v})
	}
	fmt.Fprintf(t.out, "Driver version:    %s\n", v)
	return nil
}
