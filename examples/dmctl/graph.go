// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
)

// showGraph prints what stands on what: for the eye, for Graphviz, or as JSON.
func showGraph(ctx context.Context, t *tool) error {
	if t.dot && (t.tree || t.inverted || t.json) {
		return usagef("ls: --dot goes with --inactive and --layers only")
	}
	g, err := t.Graph(ctx, dm.GraphOptions{Inactive: t.inactive, Layers: t.layers})
	switch {
	case err != nil:
		return err
	case t.json:
		return t.printJSON(g)
	case t.dot:
		fmt.Fprint(t.out, g.DOT())
	case len(g.Nodes) == 0:
		fmt.Fprintln(t.out, "No devices found")
	default:
		fmt.Fprint(t.out, g.Tree(dm.TreeOptions{Inverted: t.inverted}))
	}
	return nil
}

// showUsers tells what would break if a device were removed.
func showUsers(ctx context.Context, t *tool, args []string) error {
	g, err := t.Graph(ctx, dm.GraphOptions{Inactive: true, Layers: true})
	if err != nil {
		return err
	}
	return report(ctx, t, args, func(info dm.Info) (jsonUsers, []string, error) {
		entry := jsonUsers{info.Name.String(), []string{}, []string{}, g.OpenElsewhere(info.Dev)}
		direct := map[dm.Dev]bool{}
		for _, n := range g.Users(info.Dev) {
			direct[n.Dev] = true
			entry.Users = append(entry.Users, n.Dev.String())
		}
		var lines []string
		for _, n := range g.Dependents(info.Dev) {
			line := n.String()
			if !direct[n.Dev] {
				line += " indirectly"
			}
			if n := g.OpenElsewhere(n.Dev); n > 0 {
				line += fmt.Sprintf(", itself open %d× by mounts or programs", n)
			}
			lines, entry.Dependents = append(lines, line), append(entry.Dependents, n.Dev.String())
		}
		if entry.OpenElsewhere > 0 {
			lines = append(lines, fmt.Sprintf("open %d× by mounts or programs", entry.OpenElsewhere))
		}
		return entry, lines, nil
	})
}
