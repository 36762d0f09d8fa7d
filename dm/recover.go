// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/linuxblock/linuxblock/internal/devnode"
	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/runfile"
	"github.com/linuxblock/linuxblock/internal/udev"
)

// Leftover is something that a killed process left half done.
type Leftover struct {
	PID  int
	What string // "create", "reload", "suspend", "node", "cookie" or "damaged"
	Name Name   // of the device
	UUID UUID
	Dev  Dev    // zero when the process died before it learnt it
	Key  string // of a cookie's semaphore
	// Action is what was done, or would be done: "removed", "resumed",
	// "inactive table dropped", "destroyed", "node made", "node removed";
	// empty when nothing is left of it.
	Action string
	Err    error // why it could not be done; the entry is kept
}

// String says what was found and done.
func (l Leftover) String() string {
	s := l.What + " " + string(l.Name)
	if l.What == "cookie" {
		s = "cookie " + l.Key
	}
	s += " of process " + strconv.Itoa(l.PID)
	switch {
	case l.Err != nil:
		return s + ": " + l.Err.Error()
	case l.Action != "":
		return s + ": " + l.Action
	}
	return s + ": nothing left"
}

// RecoverOptions change Recover.
type RecoverOptions struct {
	DryRun bool // only list
	// Force also removes a bare device that can't be told for sure from one
	// that another program has made since: it has no uuid, and its maker died
	// before it could note its number, or the kernel is older than 5.15.
	Force bool
}

// grace is how long a device must look abandoned when the process that made
// it died before it could note which one it is. Others make a device and
// load its table within milliseconds.
const grace = time.Second

// Recover cleans up after processes of this library that were killed: it
// reads the run files whose process, told by its pid and its start time, is
// gone, and
//
//   - removes devices that were being made, unless somebody has them open;
//   - drops the table that a killed reload left in the inactive slot;
//   - resumes devices that were suspended, on the table they had;
//   - destroys the semaphores of udev cookies;
//   - puts the nodes right of devices that were being renamed or removed.
//
// Nothing else is touched: a device is taken for the one in the run file
// only if its number, its uuid and the kernel's disk sequence number (Linux
// 5.15) agree. One whose maker died before it could note the number is known
// by its name and its uuid, if nothing has become of it for a second; without
// a uuid it is only reported, unless forced. Run files of another pid
// namespace are left alone, because whether their process lives can't be told
// from here; those from before the last boot are deleted, and those with
// lines that can't be read are kept and reported.
func (c *Client) Recover(ctx context.Context, opts RecoverOptions) ([]Leftover, error) {
	if c.host.run == nil || c.host.run.dir == "" {
		return nil, nil
	}
	return run(ctx, c, "recover", nil, func(ctx context.Context) ([]Leftover, error) {
		found, err := runfile.Scan(c.host.run.dir, "dm")
		if err != nil {
			return nil, err
		}
		defer found.Close()
		if !opts.DryRun {
			c.host.nodes.Sweep() // nodes under temporary names, told by their age
		}
		var all []Leftover
		for _, dead := range found.Dead {
			failed := false
			for _, line := range dead.Damaged {
				failed = true
				all = append(all, Leftover{PID: dead.Owner.PID, What: "damaged", Err: &Error{Op: "recover", Object: dead.Path, Detail: line, Err: ErrCorrupt}})
			}
			passed := c.passed(dead.Open)
			for _, left := range slices.Clone(dead.Open) { // End takes entries out
				if dead.OtherBoot {
					break
				}
				if err := ctx.Err(); err != nil {
					return all, err
				}
				l := c.recoverOne(ctx, dead, left, passed[left.Get("group")], opts)
				all = append(all, l)
				if l.Err != nil {
					failed = true
				} else if !opts.DryRun {
					dead.End(left.ID)
				}
			}
			if !failed && !opts.DryRun {
				if err := dead.Remove(); err != nil {
					return all, err
				}
			}
		}
		return all, nil
	})
}

func (c *Client) recoverOne(ctx context.Context, dead *runfile.Dead, left runfile.Left, passed bool, opts RecoverOptions) Leftover {
	dry := opts.DryRun
	l := Leftover{
		PID: dead.Owner.PID, What: left.Get("what"),
		Name: Name(left.Get("name")), UUID: UUID(left.Get("uuid")), Key: left.Get("key"),
	}
	if s := left.Get("dev"); s != "" {
		l.Dev, l.Err = ParseDev(s)
	}
	if l.Err != nil {
		return l
	}
	switch l.What {
	case "cookie":
		c.recoverCookie(&l, left, dry)
		return l
	case "node":
		c.recoverNodes(&l, left, dry)
		return l
	}
	info, sure, err := c.identify(ctx, l, left)
	if err == nil && l.What == "create" && !sure && !opts.Force {
		err = &Error{Detail: "it may be another one's, made since; see Force", Err: ErrRefused}
	}
	if err != nil {
		if !errors.Is(err, errOther) {
			l.Err = fail("recover", l.Name, err)
		}
		return l
	}
	switch l.What {
	case "create":
		if c.staysOpen(ctx, &info) {
			// Whoever opened it took it for finished.
			l.Err = &Error{Op: "recover", Object: string(info.Name), Detail: "the device is open", Err: ErrBusy}
			return l
		}
		l.Action = "removed"
		if !dry {
			l.Err = c.remove(ctx, info.Dev, RemoveOptions{Retries: 5})
		}
	case "reload":
		c.recoverReload(ctx, &l, info, left, dry)
	case "suspend":
		c.recoverSuspend(ctx, &l, info, left, passed, dry)
	default:
		l.Err = &Error{Op: "recover", Object: l.What, Detail: "unknown entry"}
	}
	return l
}

// staysOpen reports whether somebody has the device open for longer than
// udev's rules do to look at it.
func (c *Client) staysOpen(ctx context.Context, info *Info) bool {
	for range 10 {
		if info.Open == 0 {
			return false
		}
		select {
		case <-ctx.Done():
			return true
		case <-time.After(retryInterval):
		}
		now, err := c.info(info.Dev)
		if err != nil {
			return false // it is gone; the removal will say so
		}
		*info = now
	}
	return info.Open > 0
}

// errOther says that the device of an entry is gone, or another one now.
var errOther = errors.New("not the device of the entry")

// identify finds the device of an entry, if it is still the same one; sure
// says that it can be no other.
func (c *Client) identify(ctx context.Context, l Leftover, left runfile.Left) (info Info, sure bool, err error) {
	if l.Dev.IsZero() {
		info, err = c.identifyUnborn(ctx, l)
		return info, l.UUID != "", err
	}
	info, err = c.info(l.Dev)
	if gone(err) {
		return info, false, errOther
	}
	if err != nil {
		return info, false, err
	}
	if info.UUID != l.UUID {
		return info, false, errOther
	}
	if want := left.Get("diskseq"); want != "" {
		seq, err := c.host.sysfs.DiskSeq(l.Dev.Major, l.Dev.Minor)
		if err != nil {
			return info, false, err
		}
		if strconv.FormatUint(seq, 10) != want {
			return info, false, errOther
		}
		return info, true, nil
	}
	// Before Linux 5.15 the name has to serve: a device that was renamed
	// since is left alone.
	if info.Name != l.Name {
		return info, false, errOther
	}
	return info, l.UUID != "", nil
}

// identifyUnborn looks for a device whose maker died between the creation
// and the note of its number. Another program may have made one of that
// name meanwhile; but few leave a device without any table for long.
func (c *Client) identifyUnborn(ctx context.Context, l Leftover) (Info, error) {
	bare := func() (Info, error) {
		info, err := c.info(l.Name)
		switch {
		case gone(err):
			return info, errOther
		case err != nil:
			return info, err
		case info.UUID != l.UUID || info.Open > 0 || info.EventNr > 0 || info.ActiveTable || info.InactiveTable:
			return info, errOther
		}
		return info, nil
	}
	first, err := bare()
	if err != nil {
		return first, err
	}
	select {
	case <-ctx.Done():
		return first, ctx.Err()
	case <-time.After(grace):
	}
	again, err := bare()
	if err == nil && again.Dev != first.Dev {
		err = errOther
	}
	return again, err
}

// passed tells of each guard of a dead process whether it had begun to resume
// its devices: then the swaps that are left must be done too, or a stack
// would be half on its new tables. It had if a device that came with a new
// table runs without it, or if one that got its table meanwhile is still
// suspended while another runs.
func (c *Client) passed(entries []runfile.Left) map[string]bool {
	type state struct{ running, swapped, filled bool }
	groups := map[string]*state{}
	for _, e := range entries {
		name := e.Get("group")
		if name == "" {
			continue
		}
		g := groups[name]
		if g == nil {
			g = &state{}
			groups[name] = g
		}
		dev, err := ParseDev(e.Get("dev"))
		if err != nil {
			continue
		}
		info, err := c.info(dev)
		if err != nil || info.UUID != UUID(e.Get("uuid")) {
			continue
		}
		preloaded := e.Get("preloaded") != ""
		g.running = g.running || !info.Suspended
		g.swapped = g.swapped || !info.Suspended && preloaded && !info.InactiveTable
		g.filled = g.filled || info.Suspended && !preloaded && info.InactiveTable
	}
	out := map[string]bool{}
	for name, g := range groups {
		out[name] = g.swapped || g.running && g.filled
	}
	return out
}

// recoverSuspend resumes a device: one of a guard with its new table when the
// guard was past the point of no return, and otherwise on the table it had. A
// table that a plain Suspend's process has not loaded is another one's.
func (c *Client) recoverSuspend(ctx context.Context, l *Leftover, info Info, left runfile.Left, passed, dry bool) {
	if !info.Suspended {
		return
	}
	if info.InactiveTable && left.Get("group") == "" {
		ours, err := c.inactiveIs(info, left.Get("shape"))
		if err != nil {
			l.Err = err
			return
		}
		if !ours {
			l.Err = &Error{Op: "recover", Object: string(info.Name), Detail: "somebody has loaded a table since", Err: ErrBusy}
			return
		}
	}
	l.Action = "resumed"
	if dry {
		return
	}
	if passed {
		l.Action = "resumed on its new table"
		l.Err = c.recoverResume(ctx, info)
		return
	}
	l.Err = c.recoverSuspended(ctx, info)
}

func (c *Client) recoverCookie(l *Leftover, left runfile.Left, dry bool) {
	key, err := strconv.ParseUint(l.Key, 0, 32)
	if err != nil || !udev.IsKey(uint32(key)) {
		l.Err = &Error{Op: "recover", Object: l.Key, Detail: "not a cookie"}
		return
	}
	semid := -1
	if s := left.Get("semid"); s != "" {
		if semid, err = strconv.Atoi(s); err != nil {
			l.Err = &Error{Op: "recover", Object: l.Key, Err: err}
			return
		}
	}
	if dry {
		if s, err := udev.Inspect(uint32(key)); err == nil && (semid < 0 || s.SemID == semid) {
			l.Action = "destroyed"
		}
		return
	}
	removed, err := udev.Recover(uint32(key), semid, l.PID)
	if removed {
		l.Action = "destroyed"
	}
	l.Err = err
}

// recoverNodes puts the nodes of a device right whose removal or rename was
// not finished: those of names that it does not have go.
func (c *Client) recoverNodes(l *Leftover, left runfile.Left, dry bool) {
	info, err := c.info(l.Dev)
	for _, name := range []Name{l.Name, Name(left.Get("to"))} {
		if name == "" {
			continue
		}
		if err != nil && !gone(err) {
			l.Err = fail("recover", name, err)
			return
		}
		has := err == nil && info.Name == name
		state, verr := c.host.nodes.Verify(string(name), l.Dev.Major, l.Dev.Minor)
		switch {
		case verr != nil:
			l.Err = fail("recover", name, verr)
		case has && state == devnode.Absent && c.host.ownNodes() && info.ActiveTable:
			l.Action = "node made"
			if !dry {
				l.Err = fail("recover", name, c.host.nodes.Create(string(name), l.Dev.Major, l.Dev.Minor))
			}
		case !has && state == devnode.Right:
			l.Action = "node removed"
			if !dry {
				l.Err = fail("recover", name, c.host.nodes.Remove(string(name), l.Dev.Major, l.Dev.Minor))
			}
		}
		if l.Err != nil {
			return
		}
	}
}

func (c *Client) recoverReload(ctx context.Context, l *Leftover, info Info, left runfile.Left, dry bool) {
	if info.InactiveTable {
		ours, err := c.inactiveIs(info, left.Get("shape"))
		if err != nil {
			l.Err = err
			return
		}
		if !ours {
			return
		}
		l.Action = "inactive table dropped"
		if !dry {
			if l.Err = fail("recover", info.Name, c.clear(info.Dev)); l.Err != nil {
				return
			}
		}
	}
	if info.Suspended && left.Get("suspended") == "" {
		l.Action = "resumed"
		if !dry {
			l.Err = c.recoverSuspended(ctx, info)
		}
	}
}

// inactiveIs reports whether the table in the inactive slot is the one that a
// dead process loaded.
func (c *Client) inactiveIs(info Info, want string) (bool, error) {
	specs, err := c.tableStatus(info.Dev, dmwire.StatusTable|dmwire.QueryInactive, true)
	return err == nil && shape(specs) == want, fail("recover", info.Name, err)
}

// recoverSuspended resumes a device on the table it had. A table that waits
// in the inactive slot belongs to a change that was not finished.
func (c *Client) recoverSuspended(ctx context.Context, info Info) error {
	if info.InactiveTable {
		if err := c.clear(info.Dev); err != nil {
			return fail("recover", info.Name, err)
		}
	}
	return c.recoverResume(ctx, info)
}

func (c *Client) recoverResume(ctx context.Context, info Info) error {
	u, err := c.startUdev(UdevOptions{})
	if err != nil {
		return fail("recover", info.Name, err)
	}
	defer u.drop()
	if _, err := c.resume(info.Dev, SuspendOptions{}, info.ReadOnly, u); err != nil {
		return fail("recover", info.Name, err)
	}
	return fail("recover", info.Name, u.wait(ctx))
}
