// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

// refusal asks for two MiB that begin eight sectors before a disk's end.
func (c *dmChapter) refusal(ctx context.Context) (string, error) {
	d := c.disks[1]
	err := c.untouched(ctx, dm.Linear{Device: d.path, Offset: d.sectors - 8})
	if bad := wants(err, dm.ErrBadTable); bad != nil {
		return "", bad
	}
	if e := (*dm.Error)(nil); !errors.As(err, &e) || e.Code != 0 || e.Op != "reload" {
		return "", mismatch("%#v", err)
	}
	c.s.say("%v", err)
	return "the error is dm.ErrBadTable; device, table and data as before", nil
}

// reason sends the same table as raw text, which the library does not
// understand and so can't check.
func (c *dmChapter) reason(ctx context.Context) (string, error) {
	d := c.disks[1]
	err := c.untouched(ctx, dm.Raw{Type: "linear", Text: fmt.Sprintf("%s %d", d.path, d.sectors-8)})
	e := (*dm.Error)(nil)
	if !errors.As(err, &e) {
		return "", mismatch("error %v, want a *dm.Error", err)
	}
	c.s.say("%v", err)
	const einval = 22
	if e.Code != einval || !strings.Contains(e.Detail, "too small for target") {
		return "", mismatch("code %d, detail %q", e.Code, e.Detail)
	}
	return "EINVAL with the line of the kernel log; it runs on its old table", nil
}

// untouched has tour-data reloaded with a target that can't be, gives the
// error, and checks that nothing else happened.
func (c *dmChapter) untouched(ctx context.Context, bad dm.Target) error {
	before, err := c.client.Table(ctx, c.info.Dev, dm.StatusOptions{})
	if err != nil {
		return err
	}
	_, refused := c.client.Reload(ctx, c.info.Dev, dm.Table{}.Append(2*mib, bad), dm.ReloadOptions{})
	after, err := c.client.Table(ctx, c.info.Dev, dm.StatusOptions{})
	if err != nil {
		return err
	}
	info, err := c.client.Info(ctx, c.info.Dev)
	if err != nil {
		return err
	}
	if !after.Equal(before) || info.Suspended || info.InactiveTable {
		return mismatch("the device was changed: %v, %+v", after, info)
	}
	if err := c.blocks.checkAll(c.io); err != nil {
		return err
	}
	return refused
}

func (c *dmChapter) force(ctx context.Context) (string, error) {
	busy := dm.Name("tour-busy")
	info, err := c.client.Create(ctx, busy, dm.Table{}.Append(mib, dm.Linear{Device: c.disks[2].path}), dm.CreateOptions{})
	if err != nil {
		return "", err
	}
	user, err := c.s.open(info.Dev.Path())
	if err != nil {
		return "", err
	}
	defer user.Close()
	err = c.client.Remove(ctx, busy, dm.RemoveOptions{})
	if err := wants(err, dm.ErrBusy); err != nil {
		return "", err
	}
	c.s.say("%v", err)
	p := aligned(blockSize)
	if _, err := user.ReadAt(p, 0); err != nil {
		return "", fmt.Errorf("read behind a removal that was refused: %w", err)
	}
	err = c.client.Remove(ctx, busy, dm.RemoveOptions{Force: true})
	if err := wants(err, dm.ErrBusy); err != nil {
		return "", err
	}
	c.s.say("%v", err)
	if _, err := user.ReadAt(p, 0); err == nil {
		return "", mismatch("the device still reads")
	}
	user.Close()
	return "busy is dm.ErrBusy; forced, its I/O fails, and it goes when closed", c.client.Remove(ctx, busy, dm.RemoveOptions{Retries: 24})
}

func (c *dmChapter) remove(ctx context.Context) (string, error) {
	c.closeDevices()
	for _, name := range []dm.Name{"tour-yesterday", "tour-data", "tour-real"} {
		if err := c.client.Remove(ctx, name, dm.RemoveOptions{Retries: 24}); err != nil {
			return "", err
		}
		c.s.say("%s removed", name)
	}
	return "each was removed at once", nil
}

func (c *dmChapter) closeDevices() {
	for _, f := range []blockDevice{c.io, c.snap} {
		if f != nil {
			f.Close()
		}
	}
	c.io, c.snap = nil, nil
}

func (c *dmChapter) clean(ctx context.Context) (left []string, err error) {
	c.closeDevices()
	if c.stopWatch != nil {
		c.stopWatch()
	}
	return c.s.sweep(ctx, c.client, c.disks)
}
