// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io"
)

// command is one sub-command.
type command struct {
	name, args  string
	flags       string // that it takes
	help        string
	least, most int  // words; most -1 for any number
	offline     bool // needs no kernel
	run         func(ctx context.Context, t *tool, words []string) error
}

var commands = []command{
	{"create", "NAME TYPE (LEG… | --files DIR --count N --size S) [--chunk 64K] [--region S] [--max-rate K] [--force] [--yes] [--plan]",
		"files count size chunk region max-rate force yes plan",
		"make an array; --files makes files for its legs", 2, -1, false, create},
	{"assemble", "NAME LEG… [--yes] [--plan]", "yes plan",
		"bring an array up from its legs, - for one that is not there", 2, -1, false, assemble},
	{"status", "[NAME…]", "", "show the health of arrays; exit status 7 when one is not well", 0, -1, false, showStatus},
	{"watch", "NAME [--once]", "once", "show the progress until nothing runs any more; --once a single time", 1, 1, false, watch},
	{"fail", "NAME LEG [--yes] [--plan]", "yes plan", "take a leg, named by its position, out of an array", 2, 2, false, failLeg},
	{"return", "NAME LEG [--plan]", "plan", "give a leg back that fail took out; what was written meanwhile is copied", 2, 2, false, returnLeg},
	{"replace", "NAME POSITION LEG [--force] [--yes] [--plan]", "force yes plan",
		"put another leg in a position and rebuild it", 3, 3, false, replaceLeg},
	{"revive", "NAME [--plan]", "plan", "give legs that failed and can be read again another chance", 1, 1, false, revive},
	{"scrub", "NAME [--repair]", "repair", "compare all legs; exit status 7 when they differ and are not repaired", 1, 1, false, scrub},
	{"stop", "NAME [--plan]", "plan", "take an array down; files stay, their loop devices go", 1, 1, false, stop},
	{"verify", "LEG…", "", "read superblocks and bitmaps, and say what the legs are to each other", 1, -1, true, verify},
	{"read", "LEG… --out FILE", "out", "read an array from its legs without the kernel, - for one that is missing", 1, -1, true, readArray},
	{"explain", "LINE [--draft]", "draft", "say what a line of a table means; --draft: in the grammar of the mail of 2010", 1, 1, true, explain},
}

// help prints the list of commands.
func (t *tool) help() error {
	io.WriteString(t.out, `raidctl makes arrays of the device-mapper target raid and looks after them.

usage: raidctl COMMAND …

A LEG is a device or a file: 4 MiB of it are for the superblock and the bitmap,
the rest for data. Sizes are bytes, or as 64M, 512K, 8s (sectors).

`)
	for _, c := range commands {
		fmt.Fprintf(t.out, "  %s %s\n        %s\n", c.name, c.args, c.help)
	}
	io.WriteString(t.out, `
  --yes answers the question before something is overwritten, --force takes legs
  that carry something, --plan prints the steps and does nothing.
`)
	return nil
}
