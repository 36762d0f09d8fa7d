// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/runfile"
	"github.com/linuxblock/linuxblock/internal/udev"
)

// ReloadOptions change Reload; the zero value flushes and freezes the file
// system, as the kernel does by itself.
type ReloadOptions struct {
	ReadOnly bool // the device becomes read-only
	SuspendOptions
	Udev UdevOptions
}

// Reload swaps the table of a running device: DM_TABLE_LOAD, then the resume
// that suspends, swaps and runs the device in one call to the kernel. A kill
// does not leave the device suspended, but for the moment after a swap that
// the kernel refuses; [Client.Recover] resumes it then.
//
// Before the kernel is asked, the table is checked with [Table.Validate],
// against the sizes of the devices it maps, and for mapping the device
// itself. Should the kernel still refuse the swap, which it does with the
// device suspended and the new table thrown away, the device is resumed on
// its old table. Once the swap is done it is not taken back: when ctx is
// cancelled while udev is waited for, the error says so and the new table is
// live.
//
// A device that was suspended before runs afterwards.
//
// The targets era, clone and raid read their metadata when a table is loaded,
// so that what the live table writes until the swap would be forgotten. A
// device with one of them is therefore suspended before the load, as in
// [Client.WhileSuspended].
func (c *Client) Reload(ctx context.Context, ref Ref, t Table, opts ReloadOptions) (Info, error) {
	if err := t.validFor(opts.ReadOnly); err != nil {
		return Info{}, fail("reload", ref, err)
	}
	return run(ctx, c, "reload", ref, func(ctx context.Context) (Info, error) {
		return c.reload(ctx, ref, t, opts)
	})
}

func (c *Client) reload(ctx context.Context, ref Ref, t Table, opts ReloadOptions) (Info, error) {
	before, err := c.info(ref)
	if err != nil {
		return Info{}, err
	}
	info, _, err := c.reloadDevice(ctx, before, t, opts)
	return info, err
}

// reloadDevice also reports whether the new table went live: an error may
// come after.
func (c *Client) reloadDevice(ctx context.Context, before Info, t Table, opts ReloadOptions) (info Info, swapped bool, err error) {
	if err := c.checkDevices(t, before.Dev); err != nil {
		return before, false, err
	}
	early, err := c.loadsEarly(before, t)
	if err != nil {
		return before, false, err
	}
	if early {
		return c.reloadHeld(ctx, before, t, opts)
	}
	u, err := c.startUdev(opts.Udev)
	if err != nil {
		return before, false, err
	}
	defer u.drop()
	info, err = c.swap(ctx, before, t, opts.ReadOnly, opts.SuspendOptions, u)
	if err != nil {
		return info, false, err
	}
	return info, true, detail(u.wait(ctx), "the new table is live")
}

// loadsEarly reports whether a table reads, when it is loaded, metadata that
// the live one may change until it is suspended: era_ctor and clone_ctor do
// (drivers/md/dm-era-target.c, dm-clone-target.c). What was written in
// between would be forgotten.
func (c *Client) loadsEarly(before Info, t Table) (bool, error) {
	if !before.ActiveTable || before.Suspended || !readsEarly(t) {
		return false, nil
	}
	live, err := c.rawTable(before, false)
	return readsEarly(live), err
}

func readsEarly(t Table) bool {
	return slices.ContainsFunc(t, func(s Segment) bool {
		name := s.Target.TargetType()
		return name == "era" || name == "clone" || name == "raid"
	})
}

// reloadHeld loads the table while the device is suspended.
func (c *Client) reloadHeld(ctx context.Context, before Info, t Table, opts ReloadOptions) (info Info, swapped bool, err error) {
	g := &guard{c: c, opts: GuardOptions{SuspendOptions: opts.SuspendOptions, Udev: opts.Udev}, done: make(chan struct{})}
	err = g.run(ctx, []Ref{before.Dev}, func(context.Context) error {
		_, err := c.load(before.Dev, t, opts.ReadOnly)
		return err
	})
	info, ierr := c.info(before.Dev)
	if err == nil {
		err = ierr
	}
	return info, g.swapped, err
}

// swap loads a table and makes it live, or leaves the device as it was.
func (c *Client) swap(ctx context.Context, before Info, t Table, readOnly bool, o SuspendOptions, u *udevSync) (Info, error) {
	// Some targets look at their devices only when the table is live already,
	// and the old one gone. Then it has to be loaded again.
	var old Table
	if failsLate(t) {
		var err error
		if old, err = c.rawTable(before, false); err != nil {
			return before, err
		}
	}
	fields := append(c.noteOf(before), runfile.F("shape", shape(t.specs())))
	if before.Suspended {
		fields = append(fields, runfile.F("suspended", "before"))
	}
	n, err := c.host.run.begin("reload", fields...)
	if err != nil {
		return before, err
	}
	// A change that could not be taken back stays listed for Recover. That
	// is for this call to say: what the device looks like at the end may be
	// another call's doing.
	left := false
	defer func() {
		if !left {
			n.end()
		}
	}()
	if _, err := c.load(before.Dev, t, readOnly); err != nil {
		return before, err
	}
	info := before
	if err = ctx.Err(); err == nil {
		if info, err = c.resumeOr(before.Dev, o, readOnly, u, fallback{old, before.ReadOnly}); err == nil {
			c.host.held.forget(info.Dev)
			return info, nil
		}
		left = info.Suspended && !before.Suspended
		if !info.InactiveTable && !info.Dev.IsZero() {
			return info, err // the kernel has thrown the new table away
		}
	}
	// The next resume must not make it live.
	if undo := c.clear(before.Dev); undo != nil {
		left = left || !gone(undo)
		err = detail(err, "the new table is still in the inactive slot: "+undo.Error())
	}
	return info, err
}

// latePlain are targets whose resume does not fail.
var latePlain = map[string]bool{
	"linear": true, "striped": true, "error": true, "zero": true, "delay": true, "flakey": true,
	"unstriped": true, "switch": true, "snapshot-origin": true, "verity": true, "dust": true, "ebs": true,
}

// failsLate reports whether a target of the table may have a preresume hook:
// thin-pool, cache, crypt without a key, and those that nobody knows.
func failsLate(t Table) bool {
	for _, s := range t {
		if !latePlain[s.Target.TargetType()] {
			return true
		}
	}
	return false
}

// noteOf is what the run file keeps of an existing device.
func (c *Client) noteOf(i Info) []runfile.Field {
	fields := []runfile.Field{runfile.F("name", string(i.Name)), runfile.F("uuid", string(i.UUID))}
	if !c.host.live {
		return append(fields, runfile.F("dev", i.Dev.String()))
	}
	return append(fields, c.host.identity(i.Dev)...)
}

// shape is what can be told of a table from outside whatever the kernel
// prints of its arguments: by it Recover knows an inactive table again.
func shape(specs []dmwire.Spec) string {
	var b strings.Builder
	for i, s := range specs {
		if i == 64 {
			b.WriteString("…")
			break
		}
		b.WriteString(strconv.FormatUint(s.Length, 10) + " " + s.Type + ",")
	}
	return b.String()
}

// ResumeOptions change Resume.
type ResumeOptions struct {
	SuspendOptions
	Udev UdevOptions
}

// Resume runs a suspended device, and makes the table in the inactive slot
// live if there is one. When the kernel refuses that table, the device is
// resumed on its old one and the error says so.
func (c *Client) Resume(ctx context.Context, ref Ref, opts ResumeOptions) (Info, error) {
	return run(ctx, c, "resume", ref, func(ctx context.Context) (Info, error) {
		u, err := c.startUdev(opts.Udev)
		if err != nil {
			return Info{}, err
		}
		defer u.drop()
		info, err := c.resume(ref, opts.SuspendOptions, false, u)
		if !info.Dev.IsZero() && !info.Suspended {
			c.host.held.forget(info.Dev)
		}
		if err != nil {
			return info, err
		}
		if c.host.ownNodes() && info.ActiveTable {
			if err := c.host.nodes.Create(string(info.Name), info.Dev.Major, info.Dev.Minor); err != nil {
				return info, &Error{Detail: "the device runs; its node", Err: opaque{err}}
			}
		}
		return info, detail(u.wait(ctx), "the device runs")
	})
}

// Suspend stops the I/O of a device until [Client.Resume]. It is noted in the
// run file, so that [Client.Recover] resumes a device whose suspender was killed. A
// suspend that is cancelled while the kernel waits for I/O answers
// ErrPending, and the device is resumed when the kernel is done with it. A
// table in its inactive slot is dropped then, because the kernel would make
// it live.
//
// The device must not carry what this program needs to go on: use
// [Client.WhileSuspended] for one that might.
func (c *Client) Suspend(ctx context.Context, ref Ref, opts SuspendOptions) error {
	return run0(ctx, c, "suspend", ref, func(ctx context.Context) error {
		before, err := c.info(ref)
		if err != nil {
			return err
		}
		if before.Suspended {
			return nil
		}
		n, err := c.host.run.begin("suspend", c.noteOf(before)...)
		if err != nil {
			return err
		}
		if err := c.suspend(before.Dev, opts); err != nil {
			n.end()
			return err
		}
		if err := ctx.Err(); err != nil {
			if before.InactiveTable {
				if undo := c.clear(before.Dev); undo == nil {
					err = detail(err, "the inactive table was dropped")
				}
			}
			if _, undo := c.resume(before.Dev, SuspendOptions{}, false, c.unsynced()); undo != nil {
				return detail(err, "could not be resumed: "+undo.Error())
			}
			n.end()
			return err
		}
		c.host.held.keep(before.Dev, n)
		return nil
	})
}

// unsynced is for events that nobody waits for.
func (c *Client) unsynced() *udevSync {
	return &udevSync{c: c, flags: udev.PrimarySource | udev.DisableLibraryFallback}
}
