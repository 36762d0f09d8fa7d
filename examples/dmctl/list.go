// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/linuxblock/linuxblock/dm"
)

func list(ctx context.Context, t *tool, _ []string) error {
	if t.tree || t.dot {
		return showGraph(ctx, t)
	}
	if t.inverted || t.inactive || t.layers {
		return usagef("ls: --inverted, --inactive and --layers go with --tree or --dot")
	}
	entries, err := t.List(ctx, dm.ListOptions{})
	if err != nil {
		return err
	}
	if t.json {
		data := []jsonEntry{}
		for _, e := range entries {
			data = append(data, jsonEntry{e.Name.String(), e.Name.Unmangle(), e.Dev.String(), e.UUID.String(), e.EventNr})
		}
		return t.printJSON(data)
	}
	if len(entries) == 0 {
		fmt.Fprintln(t.out, "No devices found")
	}
	for _, e := range entries {
		line := fmt.Sprintf("%s\t(%v)", e.Name.Label(), e.Dev)
		if e.UUID != "" {
			line += "\t" + e.UUID.String()
		}
		fmt.Fprintln(t.out, line)
	}
	return nil
}

func showDeps(ctx context.Context, t *tool, args []string) error {
	return report(ctx, t, args, func(info dm.Info) (jsonDeps, []string, error) {
		deps, err := t.Deps(ctx, info.Dev, dm.DepsOptions{Inactive: t.inactive})
		line := fmt.Sprintf("%d dependencies\t:", len(deps))
		entry := jsonDeps{info.Name.String(), []string{}}
		for _, d := range deps {
			line += fmt.Sprintf(" (%d, %d)", d.Major, d.Minor)
			entry.Deps = append(entry.Deps, d.String())
		}
		return entry, []string{line}, err
	})
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
