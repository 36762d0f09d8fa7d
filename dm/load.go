// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"io/fs"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/kmsg"
)

// explained makes a changing ioctl and adds the kernel's own reason from its
// log to an error, without the keys of the request.
func (c *Client) explained(r request, decode func(*dmwire.Header, []byte) error) error {
	reason := c.host.listen()
	release := c.host.pin()
	err := c.ioctl(r, decode)
	tid := release()
	var e *Error
	if err == nil || errors.As(err, &e) || errors.Is(err, ErrClosed) || errors.Is(err, ErrBadName) {
		reason(kmsg.Subject{})
		return err
	}
	s := kmsg.Subject{Name: r.name, TID: tid}
	switch ref := r.ref.(type) {
	case Dev:
		s.Dev = ref.String()
	case nil:
	default:
		// The log names devices by number. A device that is not there has
		// none, and no reason either.
		if info, err := c.info(ref); err == nil {
			s.Dev, s.Name = info.Dev.String(), info.Name.String()
		} else if n, ok := ref.(Name); ok {
			s.Name = string(n)
		}
	}
	out := fail("", nil, err).(*Error)
	out.Detail = redactText(reason(s), r.keys)
	return out
}

// checkDevices refuses a table that the kernel would take and then not be
// able to run: a device that is too small, one that is missing, or the
// device itself. On a running device the kernel checks sizes only when the
// table goes live, after the suspend; a table that maps its own device can
// never be removed.
func (c *Client) checkDevices(t Table, self Dev) error {
	if c.host.system == nil {
		return nil
	}
	seen := map[string]found{} // a long table often maps few devices
	for i, s := range t {
		m, ok := s.Target.(Mapper)
		if !ok {
			continue
		}
		for _, x := range m.Extents(s.Length) {
			f, known := seen[x.Device]
			if !known {
				f = c.find(x.Device, self)
				seen[x.Device] = f
			}
			size, err := f.size, f.err
			name := s.Target.TargetType()
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return &Error{Code: enodev, Detail: "segment " + num(i) + " (" + name + "): device " + x.Device, Err: err}
			case err != nil:
				// Not ours to judge: the kernel may see what we can't.
				continue
			}
			if f.self != "" {
				return badTable("segment %d (%s): %s %s", i, name, x.Device, f.self)
			}
			// The kernel skips a device of size 0: one without a table yet.
			if end := x.Start + x.Length; x.Length > 0 && size > 0 && (end > Sectors(size) || end < x.Start) && !c.growing(f.dev) {
				return badTable("segment %d (%s): wants sectors %d to %d of %s, which has %d",
					i, name, uint64(x.Start), uint64(end), x.Device, size)
			}
		}
	}
	return nil
}

// found is what is known of a device that a table maps.
type found struct {
	size uint64 // sectors
	self string // how it is the device whose table it is; empty when not
	dev  Dev
	err  error
}

// growing reports whether dev has a table in its inactive slot: it will have
// another size when it is resumed, which in a stack is before this one is.
func (c *Client) growing(dev Dev) bool {
	info, err := c.info(dev)
	return err == nil && info.InactiveTable
}

func (c *Client) find(name string, self Dev) (f found) {
	f.dev.Major, f.dev.Minor, f.size, f.err = c.host.system.BlockDevice(name)
	dev := f.dev
	switch {
	case f.err != nil || self.IsZero():
	case dev == self:
		f.self = "is the device itself"
	case dev.Major == self.Major && c.stands(dev, self, map[Dev]bool{}):
		f.self = "stands on the device itself"
	}
	return f
}

// stands reports whether dev maps base, through however many devices.
func (c *Client) stands(dev, base Dev, seen map[Dev]bool) bool {
	if seen[dev] {
		return false
	}
	seen[dev] = true
	deps, err := c.deps(dev, false)
	if err != nil {
		return false
	}
	for _, d := range deps {
		if d == base || d.Major == base.Major && c.stands(d, base, seen) {
			return true
		}
	}
	return false
}

// LoadOptions change Load; the zero value loads a writable table.
type LoadOptions struct {
	ReadOnly bool // the device becomes read-only when the table goes live
}

// Load puts a table into the inactive slot of a device (DM_TABLE_LOAD). It
// takes effect with Resume; [Client.Reload] does both, safely. The table is
// checked first, also against the sizes of the devices it maps.
func (c *Client) Load(ctx context.Context, ref Ref, t Table, opts LoadOptions) error {
	if err := t.validFor(opts.ReadOnly); err != nil {
		return fail("load", ref, err)
	}
	return run0(ctx, c, "load", ref, func(context.Context) error {
		info, err := c.info(ref)
		if err != nil {
			return err
		}
		if err := c.checkDevices(t, info.Dev); err != nil {
			return err
		}
		if _, err = c.load(ref, t, opts.ReadOnly); err == nil && c.host.held.any() {
			c.host.held.loaded(info.Dev, shape(t.specs()))
		}
		return err
	})
}

func (c *Client) load(ref Ref, t Table, readOnly bool) (info Info, err error) {
	specs := t.specs()
	r := request{
		cmd: dmwire.CmdLoad, ref: ref, targets: uint32(len(specs)),
		size: dmwire.SpecsSize(specs), keys: secretsOf(t),
		put: func(b []byte) error { return dmwire.PutLoad(b, specs) },
	}
	if readOnly {
		r.flags |= dmwire.ReadOnly
	}
	if r.size > dmwire.MaxBuffer-dmwire.HeaderSize {
		return info, badTable("%d bytes, the kernel takes %d", r.size, dmwire.MaxBuffer)
	}
	err = c.explained(r, func(h *dmwire.Header, _ []byte) error {
		info = infoOf(h)
		return nil
	})
	return info, err
}

// Clear drops the table in the inactive slot (DM_TABLE_CLEAR).
func (c *Client) Clear(ctx context.Context, ref Ref) error {
	return run0(ctx, c, "clear", ref, func(context.Context) error { return c.clear(ref) })
}

func (c *Client) clear(ref Ref) error {
	return c.explained(request{cmd: dmwire.CmdClear, ref: ref}, nil)
}

// SuspendOptions change how a device is suspended.
type SuspendOptions struct {
	NoFlush    bool // leave queued I/O where it is instead of writing it out
	SkipLockFS bool // don't freeze the file system on the device
}

func (o SuspendOptions) flags() (f dmwire.Flags) {
	if o.NoFlush {
		f |= dmwire.NoFlush
	}
	if o.SkipLockFS {
		f |= dmwire.SkipLockFS
	}
	return f
}

func (c *Client) suspend(ref Ref, o SuspendOptions) error {
	return c.explained(request{
		cmd: dmwire.CmdSuspend, ref: ref, retries: true,
		flags: dmwire.Suspend | o.flags(),
	}, nil)
}

// resume runs the device, with the inactive table if there is one. When the
// kernel refuses that table it throws it away and leaves the device
// suspended on the old one: then it is resumed again on that.
func (c *Client) resume(ref Ref, o SuspendOptions, readOnly bool, u *udevSync) (Info, error) {
	var old fallback
	if now, err := c.info(ref); err == nil && now.ActiveTable && now.InactiveTable {
		// What can't be read can't be put back; the resume is tried all the same.
		if next, err := c.rawTable(now, true); err == nil && failsLate(next) {
			old.readOnly = now.ReadOnly
			old.table, _ = c.rawTable(now, false)
		}
	}
	return c.resumeOr(ref, o, readOnly, u, old)
}

// fallback is the table to go back to when a target refuses to run and the
// one before is gone: dm_resume in drivers/md/dm.c asks the targets when it
// has swapped.
type fallback struct {
	table    Table
	readOnly bool
}

// resumeOr is resume with a table to fall back to.
//
// The user's trace waits: between the calls the device stands still.
func (c *Client) resumeOr(ref Ref, o SuspendOptions, readOnly bool, u *udevSync, old fallback) (Info, error) {
	c.quiet.hold()
	defer c.quiet.release()
	info, err := c.resumeOnce(ref, o, readOnly, u)
	if err == nil {
		return info, nil
	}
	now, ierr := c.info(ref)
	if ierr != nil || !now.Suspended || !now.ActiveTable || now.InactiveTable {
		// With its new table still there nothing has happened, and another
		// resume would make that table live after all.
		return now, err
	}
	info, again := c.resumeOnce(now.Dev, SuspendOptions{}, false, u)
	if again == nil {
		return info, detail(err, "the device runs on its old table")
	}
	if len(old.table) == 0 {
		return now, detail(err, "the device is left suspended: "+short(again))
	}
	if _, again = c.load(now.Dev, old.table, old.readOnly); again == nil {
		if info, again = c.resumeOnce(now.Dev, SuspendOptions{}, old.readOnly, u); again == nil {
			return info, detail(err, "the device runs on its old table again")
		}
	}
	return now, detail(err, "the device is left suspended, its old table can't be put back: "+short(again))
}

// resumeOnce is DM_DEV_SUSPEND without the flag that makes it a suspend.
func (c *Client) resumeOnce(ref Ref, o SuspendOptions, readOnly bool, u *udevSync) (Info, error) {
	r := request{cmd: dmwire.CmdSuspend, ref: ref, retries: true, flags: o.flags()}
	if readOnly {
		r.flags |= dmwire.ReadOnly
	}
	return u.ioctl(r)
}
