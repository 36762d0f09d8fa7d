// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

// graph asks the driver what stands on what, and compares with what the steps
// before have built.
func (c *dmChapter) graph(ctx context.Context) (string, error) {
	all, err := c.client.Graph(ctx, dm.GraphOptions{})
	if err != nil {
		return "", err
	}
	isDisk := func(n dm.Node) bool {
		return slices.ContainsFunc(c.disks, func(d disk) bool { return d.dev == n.Dev })
	}
	g := all.Filter(func(n dm.Node) bool { return strings.HasPrefix(n.Name.String(), "tour-") || isDisk(n) })
	for line := range strings.Lines(g.String()) {
		c.s.say("%s", strings.TrimSuffix(line, "\n"))
	}

	dev := map[dm.Name]dm.Dev{}
	for _, n := range g.Nodes {
		dev[n.Name] = n.Dev
	}
	for name, want := range map[dm.Name][]dm.Dev{
		"tour-data":  {dev["tour-real"]},
		"tour-snap":  {dev["tour-real"], c.disks[3].dev},
		"tour-small": {dev["tour-real"], dev["tour-cow"]},
		"tour-cow":   {c.disks[2].dev},
		"tour-real":  {c.disks[0].dev, c.disks[1].dev},
	} {
		n, found := g.Node(dev[name])
		same := len(n.Below) == len(want)
		for _, d := range want {
			same = same && slices.Contains(n.Below, d)
		}
		if !found || !same {
			return "", mismatch("%s stands on %v, want %v", name, n.Below, want)
		}
	}

	// What breaks without the first disk, each before what it stands on.
	var names []string
	for _, n := range g.Dependents(c.disks[0].dev) {
		names = append(names, n.Label())
	}
	c.s.say("without %s go %s", c.disks[0].path, strings.Join(names, ", "))
	last := len(names) - 1
	if len(names) != 4 || names[last] != "tour-real" || slices.Contains(names, "tour-cow") {
		return "", mismatch("on %s stand %q", c.disks[0].path, names)
	}
	return "each device stands on what its table maps, and on nothing else", nil
}
