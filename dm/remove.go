// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// RemoveOptions change Remove; the zero value tries once.
type RemoveOptions struct {
	// Retries is how often a busy device is tried again, 200 ms apart:
	// udev's rules open devices for a moment. dmsetup's --retry is 24.
	Retries int
	// Deferred leaves a busy device to the kernel, which removes it at the
	// last close. Remove succeeds then; Info shows DeferredRemove.
	Deferred bool
	// Force first replaces the table by one that fails all I/O, without
	// waiting for I/O in flight, so that whoever waits for the device gets
	// an error and lets go. What is still open after that stays, failing
	// all I/O, and Remove answers ErrBusy. DATA NOT YET WRITTEN IS LOST.
	Force bool
	Udev  UdevOptions
}

// retryInterval is that of dmsetup --retry.
const retryInterval = 200 * time.Millisecond

// Remove removes a device (DM_DEV_REMOVE) and its node. The error matches
// fs.ErrNotExist when there is none, and ErrBusy when it is open.
func (c *Client) Remove(ctx context.Context, ref Ref, opts RemoveOptions) error {
	return run0(ctx, c, "remove", ref, func(ctx context.Context) error {
		return c.remove(ctx, ref, opts)
	})
}

func (c *Client) remove(ctx context.Context, ref Ref, opts RemoveOptions) error {
	_, err := c.removeDevice(ctx, ref, opts)
	return err
}

// removeDevice also reports whether the device went: an error may come after.
func (c *Client) removeDevice(ctx context.Context, ref Ref, opts RemoveOptions) (removed bool, err error) {
	var info Info
	own := c.host.ownNodes()
	if own || opts.Force || c.host.held.any() {
		if info, err = c.info(ref); err != nil {
			return false, err
		}
	}
	if opts.Force {
		if err := c.wipe(info, SuspendOptions{NoFlush: true, SkipLockFS: true}); err != nil && !errors.Is(err, errNoTable) {
			return false, err
		}
	}
	u, err := c.startUdev(opts.Udev)
	if err != nil {
		return false, err
	}
	defer u.drop()
	if own {
		n, err := c.host.run.begin("node", c.noteOf(info)...)
		if err != nil {
			return false, err
		}
		defer n.end()
	}
	r := request{cmd: dmwire.CmdRemove, ref: ref}
	if opts.Deferred {
		r.flags |= dmwire.DeferredRemove
	}
	for try := 0; ; try++ {
		_, err = u.ioctl(r)
		err = fail("remove", ref, err)
		if err == nil || try >= opts.Retries || !errors.Is(err, ErrBusy) {
			break
		}
		if try == 0 {
			c.log.Debug("device is busy, trying again", "device", ref.String(), "retries", opts.Retries)
		}
		select {
		case <-ctx.Done():
			return false, errors.Join(ctx.Err(), err)
		case <-time.After(retryInterval):
		}
	}
	if err != nil {
		if opts.Force && errors.Is(err, ErrBusy) {
			err = detail(err, "the device stays, failing all I/O")
		}
		return false, err
	}
	c.host.held.forget(info.Dev)
	if own {
		// A device whose removal was deferred keeps its node till then;
		// nobody tells when, so it goes now, as with dmsetup.
		if err := c.host.nodes.Remove(string(info.Name), info.Dev.Major, info.Dev.Minor); err != nil {
			return true, &Error{Detail: "the device is removed; its node", Err: opaque{err}}
		}
	}
	return true, detail(u.wait(ctx), "the device is removed")
}

// Wipe replaces the table of a device by one of the same size that fails all
// I/O, and leaves the device: dmsetup wipe_table. It must be forced.
// SuspendOptions say what becomes of I/O in flight.
func (c *Client) Wipe(ctx context.Context, ref Ref, opts WipeOptions) error {
	if !opts.Force {
		return fail("wipe", ref, refuse("all I/O to the device will fail; set Force"))
	}
	return run0(ctx, c, "wipe", ref, func(context.Context) error {
		info, err := c.info(ref)
		if err != nil {
			return err
		}
		return c.wipe(info, opts.SuspendOptions)
	})
}

// WipeOptions change Wipe.
type WipeOptions struct {
	Force bool
	SuspendOptions
}

func (c *Client) wipe(info Info, o SuspendOptions) error {
	specs, err := c.tableStatus(info.Dev, dmwire.StatusTable, true)
	if err != nil {
		return err
	}
	if len(specs) == 0 {
		return fail("", nil, errNoTable)
	}
	last := specs[len(specs)-1]
	t := Table{}.Append(Sectors(last.Start+last.Length), ErrorTarget{})
	_, err = c.swap(context.Background(), info, t, info.ReadOnly, o, c.unsynced())
	return err
}

// RemoveAllOptions change RemoveAll.
type RemoveAllOptions struct {
	Force    bool // must be set: devices of everybody are removed
	Deferred bool // open devices go at their last close
}

// RemoveAll removes every device of the machine that is not open
// (DM_REMOVE_ALL), whoever made it. It is for rescue systems and tests. It
// does not wait for udev.
func (c *Client) RemoveAll(ctx context.Context, opts RemoveAllOptions) error {
	if !opts.Force {
		return fail("remove all", nil, refuse("every device of the machine that is not open would go; set Force"))
	}
	return run0(ctx, c, "remove all", nil, func(context.Context) error {
		var before []Entry
		if c.host.ownNodes() {
			var err error
			if before, err = c.list(ListOptions{}); err != nil {
				return err
			}
		}
		r := request{cmd: dmwire.CmdRemoveAll}
		if opts.Deferred {
			r.flags |= dmwire.DeferredRemove
		}
		if err := c.explained(r, nil); err != nil {
			return err
		}
		for _, e := range before {
			if _, err := c.info(e.Dev); err == error(enxio) {
				c.host.nodes.Remove(string(e.Name), e.Dev.Major, e.Dev.Minor)
			}
		}
		return nil
	})
}
