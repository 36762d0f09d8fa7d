// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

// options are the flags of all commands together.
type options struct {
	json, dump bool

	uuid, dev, table                string
	minor                           uint
	readOnly, noTable               bool
	inactive, showKeys              bool
	tree, dot, inverted, layers     bool
	noFlush, noLockFS               bool
	force, retry, deferred          bool
	dryRun, initial, undo, tableSet bool
	count                           int
}

// flags declares the ones that a command takes; the names of dmsetup.
func (o *options) flags(names []string) *flag.FlagSet {
	f := flag.NewFlagSet("dmctl", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	bools := map[string]*bool{
		"readonly": &o.readOnly, "r": &o.readOnly, "notable": &o.noTable, "n": &o.noTable,
		"inactive": &o.inactive, "showkeys": &o.showKeys,
		"tree": &o.tree, "dot": &o.dot, "inverted": &o.inverted, "layers": &o.layers,
		"noflush": &o.noFlush, "nolockfs": &o.noLockFS,
		"force": &o.force, "f": &o.force, "retry": &o.retry, "deferred": &o.deferred,
		"dry-run": &o.dryRun, "initial": &o.initial, "undo": &o.undo,
	}
	texts := map[string]*string{"uuid": &o.uuid, "u": &o.uuid, "dev": &o.dev, "table": &o.table}
	for _, name := range append([]string{"json", "dump"}, names...) {
		switch {
		case name == "json":
			f.BoolVar(&o.json, name, o.json, "")
		case name == "dump":
			f.BoolVar(&o.dump, name, o.dump, "")
		case name == "minor" || name == "m":
			f.UintVar(&o.minor, name, math.MaxUint32, "")
		case name == "count":
			f.IntVar(&o.count, name, 0, "")
		case bools[name] != nil:
			f.BoolVar(bools[name], name, false, "")
		default:
			f.StringVar(texts[name], name, "", "")
		}
	}
	return f
}

// parse takes the command line apart. Flags and arguments may be mixed, as
// with dmsetup, up to "--" or to the text of a message.
func (t *tool) parse(args []string) (*command, []string, error) {
	global := t.flags(nil)
	if err := global.Parse(args); err != nil {
		return nil, nil, flagError(err)
	}
	args = global.Args()
	if len(args) == 0 {
		return nil, nil, usagef("no command; see: dmctl help")
	}
	cmd := find(args[0])
	if cmd == nil {
		return nil, nil, usagef("unknown command %q; see: dmctl help", args[0])
	}
	f := t.flags(cmd.flags)
	var words []string
	for args = args[1:]; len(args) > 0; {
		if cmd.verbatim > 0 && len(words) >= cmd.verbatim-t.named(cmd) {
			words = append(words, args...)
			break
		}
		if err := f.Parse(args); err != nil {
			return nil, nil, usagef("%s: %v; see: dmctl help %s", cmd.name, flagError(err), cmd.name)
		}
		done := len(args) - f.NArg()
		ended := done > 0 && args[done-1] == "--"
		if args = f.Args(); len(args) == 0 {
			break
		}
		if ended {
			words = append(words, args...)
			break
		}
		words, args = append(words, args[0]), args[1:]
	}
	f.Visit(func(g *flag.Flag) { t.tableSet = t.tableSet || g.Name == "table" })
	least, most := max(cmd.least-t.named(cmd), 0), cmd.most
	if most > 0 {
		most -= t.named(cmd)
	}
	if len(words) < least || most >= 0 && len(words) > most {
		return nil, nil, usagef("usage: dmctl %s", cmd.usage())
	}
	return cmd, words, nil
}

func flagError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return usagef("see: dmctl help")
	}
	return usagef("%s", strings.Replace(err.Error(), ": -", ": --", 1))
}

// named is 1 when a flag stands for the argument NAME.
func (t *tool) named(c *command) int {
	if slices.Contains(c.flags, "dev") && (t.uuid != "" || t.dev != "") {
		return 1
	}
	return 0
}

// ref is the device that the command line names, and the arguments behind.
func (t *tool) ref(words []string) (dm.Ref, []string, error) {
	switch {
	case t.uuid != "" && t.dev != "":
		return nil, nil, usagef("--uuid and --dev together")
	case t.uuid != "":
		u, err := dm.MangleUUID(t.uuid, dm.MangleAuto)
		return u, words, err
	case t.dev != "":
		d, err := dm.ParseDev(t.dev)
		return d, words, err
	}
	n, err := mangle(words[0])
	return n, words[1:], err
}

// mangle makes a kernel's name of what a person wrote; a path below
// /dev/mapper is taken for its last element.
func mangle(text string) (dm.Name, error) {
	return dm.Mangle(strings.TrimPrefix(text, "/dev/mapper/"), dm.MangleAuto)
}

// refs are the devices that the command line names: all when it names none.
func (t *tool) refs(ctx context.Context, words []string) (list []dm.Ref, all bool, err error) {
	if t.uuid != "" || t.dev != "" {
		r, _, err := t.ref(nil)
		return []dm.Ref{r}, false, err
	}
	for _, w := range words {
		n, err := mangle(w)
		if err != nil {
			return nil, false, err
		}
		list = append(list, n)
	}
	if len(list) > 0 {
		return list, false, nil
	}
	entries, err := t.List(ctx, dm.ListOptions{})
	for _, e := range entries {
		list = append(list, e.Dev)
	}
	return list, true, err
}

// readTable is the table of --table or stdin.
func (t *tool) readTable() (dm.Table, error) {
	text := t.table
	if !t.tableSet {
		b, err := io.ReadAll(t.in)
		if err != nil {
			return nil, err
		}
		text = string(b)
	}
	table, err := dm.ParseTable(text)
	if err == nil && len(table) == 0 {
		err = usagef("no table in --table or stdin")
	}
	return table, err
}
