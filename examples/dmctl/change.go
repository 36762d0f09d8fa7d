// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

func create(ctx context.Context, t *tool, args []string) error {
	name, err := mangle(args[0])
	if err != nil {
		return err
	}
	opts := dm.CreateOptions{ReadOnly: t.readOnly}
	if t.uuid != "" {
		if opts.UUID, err = dm.MangleUUID(t.uuid, dm.MangleAuto); err != nil {
			return err
		}
	}
	if t.minor != math.MaxUint32 {
		minor := uint32(min(t.minor, math.MaxUint32))
		opts.Minor = &minor
	}
	var table dm.Table
	if t.noTable && t.tableSet {
		return usagef("--table and --notable together")
	}
	if !t.noTable {
		if table, err = t.readTable(); err != nil {
			return err
		}
	}
	info, err := t.Create(ctx, name, table, opts)
	if err == nil && t.json {
		err = t.printJSON([]jsonInfo{infoJSON(info)})
	}
	return err
}

func load(ctx context.Context, t *tool, args []string) error {
	ref, _, err := t.ref(args)
	if err != nil {
		return err
	}
	table, err := t.readTable()
	if err != nil {
		return err
	}
	return t.Load(ctx, ref, table, dm.LoadOptions{ReadOnly: t.readOnly})
}

// reload swaps tables. dmsetup's reload only loads: a script that suspends,
// reloads, does something below the device and then resumes must not be
// surprised by a device that runs too early.
func reload(ctx context.Context, t *tool, args []string) error {
	ref, _, err := t.ref(args)
	if err != nil {
		return err
	}
	table, err := t.readTable()
	if err != nil {
		return err
	}
	info, err := t.Info(ctx, ref)
	if err != nil {
		return err
	}
	if info.Suspended && info.ActiveTable {
		return fmt.Errorf("reload %v: the device is suspended, and reload would run it: use load, and resume later", ref)
	}
	_, err = t.Reload(ctx, ref, table, dm.ReloadOptions{ReadOnly: t.readOnly, SuspendOptions: t.suspendOptions()})
	return err
}

func (t *tool) suspendOptions() dm.SuspendOptions {
	return dm.SuspendOptions{NoFlush: t.noFlush, SkipLockFS: t.noLockFS}
}

func resume(ctx context.Context, t *tool, args []string) error {
	ref, _, err := t.ref(args)
	if err != nil {
		return err
	}
	_, err = t.Resume(ctx, ref, dm.ResumeOptions{SuspendOptions: t.suspendOptions()})
	return err
}

func suspend(ctx context.Context, t *tool, args []string) error {
	ref, _, err := t.ref(args)
	if err != nil {
		return err
	}
	return t.Suspend(ctx, ref, t.suspendOptions())
}

func clearTable(ctx context.Context, t *tool, args []string) error {
	ref, _, err := t.ref(args)
	if err != nil {
		return err
	}
	return t.Clear(ctx, ref)
}

func rename(ctx context.Context, t *tool, args []string) error {
	ref, rest, err := t.ref(args)
	if err != nil {
		return err
	}
	to, err := mangle(rest[0])
	if err != nil {
		return err
	}
	return t.Rename(ctx, ref, to, dm.RenameOptions{})
}

func setUUID(ctx context.Context, t *tool, args []string) error {
	ref, rest, err := t.ref(args)
	if err != nil {
		return err
	}
	to, err := dm.MangleUUID(rest[0], dm.MangleAuto)
	if err != nil {
		return err
	}
	return t.SetUUID(ctx, ref, to, dm.RenameOptions{})
}

// remove goes on after a device that can't be removed.
func remove(ctx context.Context, t *tool, args []string) error {
	refs, _, err := t.refs(ctx, args)
	if err != nil {
		return err
	}
	opts := dm.RemoveOptions{Force: t.force, Deferred: t.deferred}
	if t.retry {
		opts.Retries = 24 // as dmsetup: for five seconds
	}
	var failed []error
	for _, ref := range refs {
		if err := t.Remove(ctx, ref, opts); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func removeAll(ctx context.Context, t *tool, _ []string) error {
	return t.RemoveAll(ctx, dm.RemoveAllOptions{Force: t.force, Deferred: t.deferred})
}

func wipe(ctx context.Context, t *tool, args []string) error {
	ref, _, err := t.ref(args)
	if err != nil {
		return err
	}
	return t.Wipe(ctx, ref, dm.WipeOptions{Force: t.force, SuspendOptions: t.suspendOptions()})
}

// message sends a text. From stdin it is not seen in the list of processes,
// which matters for keys.
func message(ctx context.Context, t *tool, args []string) error {
	ref, rest, err := t.ref(args)
	if err != nil {
		return err
	}
	sector, err := strconv.ParseUint(rest[0], 10, 64)
	if err != nil {
		return usagef("message: %q is not a sector", rest[0])
	}
	text := strings.Join(rest[1:], " ")
	if len(rest) == 1 {
		b, err := io.ReadAll(t.in)
		if err != nil {
			return err
		}
		text = strings.TrimSpace(string(b))
	}
	answer, err := t.Message(ctx, ref, dm.Sectors(sector), text)
	if err != nil {
		return err
	}
	if answer != "" {
		fmt.Fprintln(t.out, strings.TrimSuffix(answer, "\n"))
	}
	return nil
}
