// SPDX-License-Identifier: MIT

package dm

import (
	"context"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Info is the state of a device.
type Info struct {
	Name    Name
	UUID    UUID // empty when it has none
	Dev     Dev
	Open    int    // how often it is open: by programs, mounts, devices on top
	EventNr uint32 // counts the events of its targets, and renames
	Targets int    // segments of the live table

	Suspended       bool
	InternalSuspend bool // suspended by another target, such as a thin pool
	ReadOnly        bool
	ActiveTable     bool // has a live table
	InactiveTable   bool // has a table that the next resume makes live
	DeferredRemove  bool // goes away at the last close
}

func infoOf(h *dmwire.Header) Info {
	has := func(f dmwire.Flags) bool { return h.Flags&f != 0 }
	return Info{
		Name: Name(h.Name), UUID: UUID(h.UUID), Dev: devOf(h.Dev),
		Open: int(h.OpenCount), EventNr: h.EventNr, Targets: int(h.TargetCount),
		Suspended: has(dmwire.Suspend), InternalSuspend: has(dmwire.InternalSuspend),
		ReadOnly: has(dmwire.ReadOnly), ActiveTable: has(dmwire.ActivePresent),
		InactiveTable: has(dmwire.InactivePresent), DeferredRemove: has(dmwire.DeferredRemove),
	}
}

// Info asks for the state of a device (DM_DEV_STATUS). It does not block.
func (c *Client) Info(ctx context.Context, ref Ref) (Info, error) {
	if err := c.quick(ctx); err != nil {
		return Info{}, fail("info", ref, err)
	}
	defer c.jobs.Done()
	info, err := c.info(ref)
	return info, fail("info", ref, err)
}

// quick starts a call that never blocks in the kernel.
func (c *Client) quick(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.begin(ctx)
}

func (c *Client) info(ref Ref) (info Info, err error) {
	err = c.ioctl(request{cmd: dmwire.CmdStatus, ref: ref}, func(h *dmwire.Header, _ []byte) error {
		info = infoOf(h)
		return nil
	})
	return info, err
}

// Entry is a line of the list of devices.
type Entry struct {
	Name Name
	// UUID is empty when the device has none. Kernels before 5.13
	// (interface 4.45) do not list it; List asks for each then.
	UUID    UUID
	Dev     Dev
	EventNr uint32
}

// ListOptions narrow the list; the zero value lists all.
type ListOptions struct {
	NamePrefix string
	UUIDPrefix string
}

// List lists the devices by name (DM_LIST_DEVICES). The kernel sorts them
// bytewise since Linux 5.13; older ones are sorted here.
func (c *Client) List(ctx context.Context, opts ListOptions) ([]Entry, error) {
	if err := c.quick(ctx); err != nil {
		return nil, fail("list", nil, err)
	}
	defer c.jobs.Done()
	list, err := c.list(opts)
	return list, fail("list", nil, err)
}

// Versions lists the targets that the kernel has loaded, by name, with their
// versions (DM_LIST_VERSIONS). Targets in modules that are not loaded are
// not among them: see TargetVersion.
func (c *Client) Versions(ctx context.Context) (map[string]Version, error) {
	if err := c.quick(ctx); err != nil {
		return nil, fail("list versions", nil, err)
	}
	defer c.jobs.Done()
	m := map[string]Version{}
	err := c.ioctl(request{cmd: dmwire.CmdListVersions, reply: true}, func(_ *dmwire.Header, payload []byte) error {
		list, err := dmwire.ParseVersions(payload)
		for _, t := range list {
			m[t.Name] = t.Version
		}
		return err
	})
	return m, fail("list versions", nil, err)
}

// TargetVersion asks for the version of one target, and has the kernel load
// its module if need be (DM_GET_TARGET_VERSION, Linux 5.4). The error matches
// fs.ErrNotExist when the kernel has no such target.
func (c *Client) TargetVersion(ctx context.Context, target string) (Version, error) {
	if target == "" || len(target) >= dmwire.TypeLen {
		return Version{}, fail("target version", target, badName(target, "name of a target"))
	}
	return run(ctx, c, "target version", target, func(context.Context) (v Version, err error) {
		r := request{cmd: dmwire.CmdTargetVersion, name: target, reply: true}
		err = c.ioctl(r, func(_ *dmwire.Header, payload []byte) error {
			list, err := dmwire.ParseVersions(payload)
			if err == nil && len(list) == 1 {
				v = list[0].Version
			}
			return err
		})
		if err == error(einval) {
			// The kernel's only reason here.
			err = &Error{Code: enoent, Detail: "the kernel has no such target"}
		}
		return v, err
	})
}

// DepsOptions change Deps.
type DepsOptions struct {
	Inactive bool // ask about the table that is not live yet
}

// Deps lists the devices that the table of a device maps (DM_TABLE_DEPS), in
// the kernel's order: the most recently opened first.
func (c *Client) Deps(ctx context.Context, ref Ref, opts DepsOptions) ([]Dev, error) {
	if err := c.quick(ctx); err != nil {
		return nil, fail("deps", ref, err)
	}
	defer c.jobs.Done()
	devs, err := c.deps(ref, opts.Inactive)
	return devs, fail("deps", ref, err)
}

func (c *Client) deps(ref Ref, inactive bool) (devs []Dev, err error) {
	_, devs, err = c.infoDeps(ref, inactive)
	return devs, err
}

// infoDeps is deps with what the same answer tells of the device: the driver
// fills in its state, name and uuid too (drivers/md/dm-ioctl.c, table_deps).
func (c *Client) infoDeps(ref Ref, inactive bool) (info Info, devs []Dev, err error) {
	r := request{cmd: dmwire.CmdDeps, ref: ref, reply: true}
	if inactive {
		r.flags |= dmwire.QueryInactive
	}
	err = c.ioctl(r, func(h *dmwire.Header, payload []byte) error {
		list, err := dmwire.ParseDeps(payload)
		devs = make([]Dev, len(list))
		for i, n := range list {
			devs[i] = devOf(n)
		}
		info = infoOf(h)
		return err
	})
	return info, devs, err
}
