// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/runfile"
)

// RenameOptions change Rename.
type RenameOptions struct {
	AnyName bool // take a name with bytes that are not mangled
	Udev    UdevOptions
}

// Rename gives a device another name (DM_DEV_RENAME), and its node too. The
// error matches fs.ErrExist when the name is taken.
func (c *Client) Rename(ctx context.Context, ref Ref, to Name, opts RenameOptions) error {
	if err := validateNew(string(to), MaxName, "name", opts.AnyName); err != nil {
		return fail("rename", ref, err)
	}
	return run0(ctx, c, "rename", ref, func(ctx context.Context) error {
		return c.rename(ctx, ref, string(to), 0, opts.Udev)
	})
}

// SetUUID gives a device without a uuid one, for good: the kernel lets it be
// set once.
func (c *Client) SetUUID(ctx context.Context, ref Ref, to UUID, opts RenameOptions) error {
	if err := validateNew(string(to), MaxUUID, "uuid", opts.AnyName); err != nil {
		return fail("set uuid", ref, err)
	}
	return run0(ctx, c, "set uuid", ref, func(ctx context.Context) error {
		return c.rename(ctx, ref, string(to), dmwire.UUIDFlag, opts.Udev)
	})
}

func (c *Client) rename(ctx context.Context, ref Ref, to string, kind dmwire.Flags, o UdevOptions) error {
	// The kernel finds the device by its name alone.
	name, named := ref.(Name)
	own := c.host.ownNodes() && kind == 0
	var info Info
	if !named || own {
		var err error
		if info, err = c.info(ref); err != nil {
			return err
		}
		name = info.Name
	}
	u, err := c.startUdev(o)
	if err != nil {
		return err
	}
	defer u.drop()
	if own {
		n, err := c.host.run.begin("node", append(c.noteOf(info), runfile.F("to", to))...)
		if err != nil {
			return err
		}
		defer n.end()
	}
	_, err = u.ioctl(request{
		cmd: dmwire.CmdRename, ref: name, flags: kind, size: len(to) + 1,
		put: func(b []byte) error { copy(b, to); return nil },
	})
	if errors.Is(err, ErrBusy) || err == error(ebusy) {
		return takes(err)
	}
	if err != nil {
		return err
	}
	if own {
		if err := c.host.nodes.Rename(string(name), to, info.Dev.Major, info.Dev.Minor); err != nil {
			return &Error{Detail: "the device is renamed; its node", Err: opaque{err}}
		}
	}
	return detail(u.wait(ctx), "the device is renamed")
}
