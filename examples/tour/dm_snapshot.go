// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/linuxblock/linuxblock/dm"
)

// chunk is the unit in which a snapshot copies: 8 KiB.
const chunk = dm.Sectors(16)

// snapshot puts tour-data on top of tour-real, which has its table from now
// on, as lvm does; and makes tour-snap, which shows tour-real as it is now.
func (c *dmChapter) snapshot(ctx context.Context) (string, error) {
	real, err := c.client.Create(ctx, "tour-real", c.table, dm.CreateOptions{UUID: "TOUR-real"})
	if err != nil {
		return "", err
	}
	origin := dm.Table{}.Append(dataSize, dm.SnapshotOrigin{Origin: real.Dev.String()})
	if c.info, err = c.client.Reload(ctx, c.info.Dev, origin, dm.ReloadOptions{}); err != nil {
		return "", err
	}
	c.s.say("tour-data: %v", origin)
	snap := dm.Table{}.Append(dataSize, dm.Snapshot{Origin: real.Dev.String(), COW: c.disks[3].path, ChunkSize: chunk})
	made, err := c.client.Create(ctx, "tour-snap", snap, dm.CreateOptions{UUID: "TOUR-snap"})
	if err != nil {
		return "", err
	}
	c.s.say("tour-snap: %v", snap)
	if err := c.runsOn(ctx, origin); err != nil {
		return "", err
	}
	if err := c.see(ctx, "created tour-snap"); err != nil {
		return "", err
	}
	if c.snap, err = c.s.open(made.Dev.Path()); err != nil {
		return "", err
	}
	st, err := c.snapStatus(ctx, made.Dev)
	if err == nil && (st.State != dm.SnapshotValid || st.Used != st.Metadata) {
		err = mismatch("status of a new snapshot: %v", st)
	}
	if err == nil {
		err = c.blocks.checkAll(c.snap)
	}
	return "the snapshot holds what the device holds, and no copy yet", err
}

func (c *dmChapter) snapStatus(ctx context.Context, dev dm.Dev) (dm.SnapshotStatus, error) {
	list, err := c.client.Status(ctx, dev, dm.StatusOptions{})
	if err != nil {
		return dm.SnapshotStatus{}, err
	}
	if len(list) != 1 {
		return dm.SnapshotStatus{}, mismatch("status %v", list)
	}
	return dm.ParseSnapshotStatus(list[0].Text)
}

func (c *dmChapter) overwrite(ctx context.Context) (string, error) {
	old, p := c.blocks.clone(), aligned(blockSize)
	for i := range c.blocks.written {
		if i%4 == 0 {
			if err := c.blocks.write(c.io, p, i); err != nil {
				return "", err
			}
		}
	}
	// The snapshot can be written too; the device does not see that.
	if err := old.write(c.snap, p, 1); err != nil {
		return "", err
	}
	for _, look := range []struct {
		what string
		b    *blocks
		dev  blockDevice
	}{{"the device", c.blocks, c.io}, {"the snapshot", old, c.snap}} {
		if err := look.b.checkAll(look.dev); err != nil {
			return "", fmt.Errorf("%s: %w", look.what, err)
		}
	}
	info, err := c.client.Info(ctx, dm.Name("tour-snap"))
	if err != nil {
		return "", err
	}
	st, err := c.snapStatus(ctx, info.Dev)
	if err != nil {
		return "", err
	}
	c.s.say("%d blocks overwritten; the snapshot uses %v of %v", len(c.blocks.written)/4, st.Used, st.Total)
	if st.State != dm.SnapshotValid || st.Used <= st.Metadata {
		return "", mismatch("no copies in %v", st)
	}
	return "the device shows the new data, the snapshot the old, block by block", nil
}

// overflow makes a snapshot with room for a few chunks only.
func (c *dmChapter) overflow(ctx context.Context) (string, error) {
	real, err := c.client.Info(ctx, dm.Name("tour-real"))
	if err != nil {
		return "", err
	}
	cow, err := c.client.Create(ctx, "tour-cow", dm.Table{}.Append(4*chunk, dm.Linear{Device: c.disks[2].path}), dm.CreateOptions{})
	if err != nil {
		return "", err
	}
	table := dm.Table{}.Append(dataSize, dm.Snapshot{Origin: real.Dev.String(), COW: cow.Dev.String(), ChunkSize: chunk})
	small, err := c.client.Create(ctx, "tour-small", table, dm.CreateOptions{})
	if err != nil {
		return "", err
	}
	if err := c.see(ctx, "created tour-small"); err != nil {
		return "", err
	}
	p := aligned(blockSize)
	for i := range 40 {
		if err := c.blocks.write(c.io, p, i); err != nil {
			return "", err
		}
	}
	// No event is missed: the number is of before the first write.
	_, status, err := c.client.WaitEvent(ctx, small.Dev, small.EventNr)
	if err != nil {
		return "", err
	}
	c.s.say("tour-small: %v", status[0])
	st, err := dm.ParseSnapshotStatus(status[0].Text)
	if err == nil && st.State != dm.SnapshotInvalid {
		err = mismatch("status %v of a full snapshot", st)
	}
	if err == nil {
		err = c.see(ctx, "triggered tour-small")
	}
	if err == nil {
		err = c.blocks.checkAll(c.io)
	}
	return "the full snapshot is invalid, the device lost nothing", err
}

func (c *dmChapter) rename(ctx context.Context) (string, error) {
	if err := c.client.Rename(ctx, dm.Name("tour-snap"), "tour-yesterday", dm.RenameOptions{}); err != nil {
		return "", err
	}
	info, err := c.client.Info(ctx, dm.UUID("TOUR-snap"))
	if err != nil {
		return "", err
	}
	c.s.say("tour-snap is now %s, still %v", info.Name, info.Dev)
	if info.Name != "tour-yesterday" || info.Open == 0 {
		return "", mismatch("%+v", info)
	}
	_, err = c.client.Info(ctx, dm.Name("tour-snap"))
	if err := wants(err, fs.ErrNotExist); err != nil {
		return "", err
	}
	err = c.client.Rename(ctx, info.Dev, "tour-data", dm.RenameOptions{})
	if err := wants(err, fs.ErrExist); err != nil {
		return "", err
	}
	c.s.say("a taken name: %v", err)
	return "found by its uuid under the new name; a taken name is refused", c.see(ctx, "renamed tour-yesterday")
}
