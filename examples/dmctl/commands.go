// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"strings"
)

// command is one sub-command.
type command struct {
	name  string
	args  string // for the usage line
	flags []string
	help  string

	least, most int  // arguments; most -1 for any number
	verbatim    int  // so many arguments, then no flags any more
	offline     bool // needs no kernel

	run func(ctx context.Context, t *tool, args []string) error
}

func (c *command) usage() string { return strings.TrimSpace(c.name + " " + c.args) }

func words(s string) []string { return strings.Fields(s) }

// commands lists all, in the order of help. It is a function because help
// is one of them.
func commands() []*command {
	one := words("uuid u dev")
	with := func(more string) []string { return append(words(more), one...) }
	return []*command{
		{name: "create", args: "NAME [--uuid U] [--table TABLE] [--readonly] [--minor N] [--notable]",
			flags: words("uuid u table readonly r minor m notable n"), least: 1, most: 1, run: create,
			help: "make a device and run it; --notable makes it without a table"},
		{name: "table", args: "[NAME…] [--inactive] [--showkeys]", flags: with("inactive showkeys"), most: -1, run: showTable,
			help: "print tables; keys of crypt and integrity only with --showkeys"},
		{name: "status", args: "[NAME…] [--noflush] [--inactive]", flags: with("noflush inactive"), most: -1, run: showStatus,
			help: "print what the targets report"},
		{name: "info", args: "[NAME…]", flags: one, most: -1, run: showInfo,
			help: "print the state of devices"},
		{name: "ls", args: "[--tree [--inverted]] [--dot] [--inactive] [--layers]",
			flags: words("tree inverted dot inactive layers"), run: list,
			help: "list devices with number and uuid; --tree from top to bottom, --dot for Graphviz; --layers down to the disks"},
		{name: "users", args: "[NAME…]", flags: one, most: -1, run: showUsers,
			help: "print what stands on devices, in the order in which it has to be removed before them"},
		{name: "deps", args: "[NAME…] [--inactive]", flags: with("inactive"), most: -1, run: showDeps,
			help: "list the devices that a table maps"},
		{name: "load", args: "NAME [--table TABLE] [--readonly]", flags: with("table readonly r"), least: 1, most: 1, run: load,
			help: "put a table in the inactive slot (dmsetup's reload); resume makes it live"},
		{name: "reload", args: "NAME [--table TABLE] [--readonly] [--noflush] [--nolockfs]",
			flags: with("table readonly r noflush nolockfs"), least: 1, most: 1, run: reload,
			help: "swap the table of a running device: load, suspend and resume in one"},
		{name: "resume", args: "NAME [--readonly] [--noflush] [--nolockfs]", flags: with("readonly r noflush nolockfs"), least: 1, most: 1, run: resume,
			help: "run a suspended device, on the inactive table if there is one"},
		{name: "suspend", args: "NAME [--noflush] [--nolockfs]", flags: with("noflush nolockfs"), least: 1, most: 1, run: suspend,
			help: "stop the I/O of a device until resume"},
		{name: "clear", args: "NAME", flags: one, least: 1, most: 1, run: clearTable,
			help: "drop the inactive table"},
		{name: "events", args: "[--initial] [--count N]", flags: words("initial count"), run: events,
			help: "print what happens to devices until ^C, or N events"},
		{name: "wait", args: "NAME [NR]", flags: one, least: 1, most: 2, run: wait,
			help: "wait until the event number differs from NR (from now, if not given); print it and the status"},
		{name: "rename", args: "NAME NEW", flags: one, least: 2, most: 2, run: rename,
			help: "give a device another name"},
		{name: "setuuid", args: "NAME UUID", flags: words("dev"), least: 2, most: 2, run: setUUID,
			help: "give a device without a uuid one, for good"},
		{name: "remove", args: "NAME… [--force] [--retry] [--deferred]", flags: with("force f retry deferred"), least: 1, most: -1, run: remove,
			help: "remove devices; --force makes I/O fail first: data not yet written are lost"},
		{name: "remove_all", args: "--force [--deferred]", flags: words("force f deferred"), run: removeAll,
			help: "remove every device of the machine that is not open"},
		{name: "wipe", args: "NAME --force [--noflush] [--nolockfs]", flags: with("force f noflush nolockfs"), least: 1, most: 1, run: wipe,
			help: "swap in a table that fails all I/O"},
		{name: "message", args: "NAME SECTOR [TEXT…]", flags: one, least: 2, most: -1, verbatim: 2, run: message,
			help: "send a message to the target at SECTOR, from stdin without TEXT; print the answer"},
		{name: "targets", run: targets,
			help: "list the targets that the kernel has loaded"},
		{name: "version", run: version,
			help: "print the version of the driver"},
		{name: "recover", args: "[--dry-run]", flags: words("dry-run"), run: recoverAll,
			help: "clean up after killed programs of this library"},
		{name: "mangle", args: "[--undo] TEXT…", flags: words("undo"), least: 1, most: -1, offline: true, run: mangleText,
			help: "print the name that the kernel holds for a text"},
		{name: "help", args: "[COMMAND]", most: 1, offline: true,
			help: "print this"},
	}
}

// find looks a command up; some have the names that dmsetup knows too.
func find(name string) *command {
	switch name {
	case "wipe_table":
		name = "wipe"
	case "list":
		name = "ls"
	}
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}
