// SPDX-License-Identifier: MIT

package dm

import (
	"context"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/runfile"
	"github.com/linuxblock/linuxblock/internal/udev"
)

// CreateOptions change Create; the zero value makes a writable device
// without a uuid, at a minor number of the kernel's choice.
type CreateOptions struct {
	UUID     UUID
	Minor    *uint32 // wanted minor number; nil leaves it to the kernel
	ReadOnly bool
	// ReadAhead in sectors; 0 is the kernel's default.
	ReadAhead Sectors
	// AnyName takes a name and a uuid with bytes that are not mangled.
	AnyName bool
	Udev    UdevOptions
}

// Create makes a device, loads its table and runs it: DM_DEV_CREATE,
// DM_TABLE_LOAD, DM_DEV_SUSPEND. The nil table makes a device without a
// table. On return the device runs, udev's rules have run or, without
// udevd, the node /dev/mapper/NAME is there. When any step fails or ctx is
// cancelled, the device is removed again.
//
// The error matches fs.ErrExist when the name or the uuid is taken,
// ErrBadName and ErrBadTable when they can't be, and fs.ErrNotExist when the
// table maps a device that is not there.
func (c *Client) Create(ctx context.Context, name Name, t Table, opts CreateOptions) (Info, error) {
	err := validateCreate(name, t, opts)
	if err != nil {
		return Info{}, fail("create", name, err)
	}
	return run(ctx, c, "create", name, func(ctx context.Context) (Info, error) {
		return c.create(ctx, name, t, opts)
	})
}

// validateCreate makes the checks that need no device.
func validateCreate(name Name, t Table, opts CreateOptions) error {
	err := validateNew(string(name), MaxName, "name", opts.AnyName)
	if err == nil && opts.UUID != "" {
		err = validateNew(string(opts.UUID), MaxUUID, "uuid", opts.AnyName)
	}
	if err == nil && t != nil {
		err = t.validFor(opts.ReadOnly)
	}
	if err == nil && opts.Minor != nil && *opts.Minor > 0xfffff {
		err = badName(num(*opts.Minor), "minor number out of range")
	}
	return err
}

func (c *Client) create(ctx context.Context, name Name, t Table, opts CreateOptions) (Info, error) {
	if err := c.checkDevices(t, Dev{}); err != nil {
		return Info{}, err
	}
	n, err := c.host.run.begin("create", runfile.F("name", string(name)), runfile.F("uuid", string(opts.UUID)))
	if err != nil {
		return Info{}, err
	}
	info, err := c.devCreate(name, opts)
	if err != nil {
		n.end()
		return Info{}, err
	}
	if c.host.live {
		n.add(c.host.identity(info.Dev)...)
	}
	info, err = c.activate(ctx, info, t, opts)
	if err == nil {
		n.end()
		return info, nil
	}
	if undo := c.discard(info); undo != nil {
		// The note stays: Recover will find the device.
		return Info{}, detail(fail("", nil, err), "could not be removed again: "+undo.Error())
	}
	n.end()
	return Info{}, err
}

func (c *Client) devCreate(name Name, opts CreateOptions) (info Info, err error) {
	r := request{
		cmd: dmwire.CmdCreate, name: string(name), uuid: string(opts.UUID),
		eventNr: udev.Value(udev.DisableLibraryFallback, 0),
	}
	if opts.Minor != nil {
		r.flags |= dmwire.PersistentDev
		r.dev = Dev{Minor: *opts.Minor} // the kernel ignores the major number
	}
	err = c.explained(r, func(h *dmwire.Header, _ []byte) error {
		info = infoOf(h)
		return nil
	})
	if err == nil {
		return info, nil
	}
	e := fail("create", name, err).(*Error)
	switch {
	case e.Code == ebusy:
		e.Detail = "the name or the uuid"
		err = takes(e)
	case e.Code == enxio && opts.Minor != nil:
		// alloc_dev in drivers/md/dm.c has no other word for it.
		e.Detail = "minor number " + num(*opts.Minor)
		err = takes(e)
	}
	return info, err
}

// activate loads and runs the table of a device that was just made.
func (c *Client) activate(ctx context.Context, made Info, t Table, opts CreateOptions) (Info, error) {
	if t == nil {
		return made, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return made, err
	}
	if _, err := c.load(made.Dev, t, opts.ReadOnly); err != nil {
		return made, err
	}
	if err := ctx.Err(); err != nil {
		return made, err
	}
	u, err := c.startUdev(opts.Udev)
	if err != nil {
		return made, err
	}
	defer u.drop()
	info, err := c.resumeOr(made.Name, SuspendOptions{}, opts.ReadOnly, u, fallback{})
	if err != nil {
		return made, err
	}
	if opts.ReadAhead > 0 {
		if err := c.setReadAhead(info.Dev, opts.ReadAhead); err != nil {
			return made, err
		}
	}
	if c.host.ownNodes() {
		if err := c.host.nodes.Create(string(info.Name), info.Dev.Major, info.Dev.Minor); err != nil {
			return made, &Error{Detail: "node", Err: opaque{err}}
		}
	}
	if err := u.wait(ctx); err != nil {
		return made, err
	}
	return info, ctx.Err()
}

// discard removes a device that a failed call made. It does not wait for
// udev, and where udev has the device open right now, to look at it, the
// kernel removes it at that close.
func (c *Client) discard(info Info) error {
	if c.host.ownNodes() {
		c.host.nodes.Remove(string(info.Name), info.Dev.Major, info.Dev.Minor)
	}
	flags := udev.PrimarySource | udev.DisableLibraryFallback
	err := c.ioctl(request{
		cmd: dmwire.CmdRemove, ref: info.Dev,
		flags: dmwire.DeferredRemove, eventNr: udev.Value(flags, 0),
	}, nil)
	if err == error(enxio) {
		return nil // somebody else was quicker
	}
	return fail("remove", info.Name, err)
}
