// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/linuxblock/linuxblock/internal/memlock"
)

// GuardOptions change WhileSuspended.
type GuardOptions struct {
	SuspendOptions
	// ReadOnly is for tables that were loaded read-only.
	ReadOnly bool
	// Paths are files and folders that the program needs while the devices
	// are suspended, beside its own code and the swap: its log, its locks.
	Paths []string
	Udev  UdevOptions
}

// WhileSuspended suspends devices, runs fn, and resumes them whatever fn
// does, in reverse order; a device whose inactive slot fn filled with Load
// runs on the new table then. Name the devices from the top of a stack to
// its bottom, so that no I/O is caught between two.
//
// The devices may carry what this program itself needs: its binary, its
// log, its swap. So its memory is locked first, records for the logger are
// kept back, and nothing is written to files from the first suspend to the
// last resume. If memory can't be locked and a device carries something of
// that, nothing is suspended and the error matches ErrRefused.
//
// fn must keep to that too: calls of this client that go to the kernel
// alone (Load, Clear, Info, Table, Status, Message), no files, no locks
// that another goroutine may hold while it writes to one. The context it
// gets is not cancelled. When ctx is cancelled before fn runs, the devices
// are resumed and fn is not run; once it runs, it is waited for.
//
// A device suspended before is left so by a failure and resumed otherwise.
// Should the program be killed meanwhile, [Client.Recover] finds the
// devices in the run file and resumes them.
func (c *Client) WhileSuspended(ctx context.Context, refs []Ref, opts GuardOptions, fn func(context.Context) error) error {
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.String()
	}
	object := strings.Join(names, " ")
	const op = "while suspended"
	if err := ctx.Err(); err != nil {
		return fail(op, object, err)
	}
	if err := c.begin(); err != nil {
		return fail(op, object, err)
	}
	g := &guard{c: c, opts: opts}
	done := make(chan error, 1)
	go func() {
		defer c.jobs.Done()
		done <- g.run(ctx, refs, fn)
	}()
	select {
	case err := <-done:
		return fail(op, object, err)
	case <-ctx.Done():
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return fail(op, object, err)
	case <-timer.C:
	}
	if g.state.CompareAndSwap(guardWaiting, guardGivenUp) {
		return &Error{Op: op, Object: object, Err: errors.Join(ErrPending, ctx.Err())}
	}
	return fail(op, object, <-done)
}

const (
	guardWaiting = iota
	guardRunning
	guardGivenUp
)

type guard struct {
	c     *Client
	opts  GuardOptions
	state atomic.Int32

	infos []Info
	notes []*note
}

func (g *guard) run(ctx context.Context, refs []Ref, fn func(context.Context) error) error {
	c := g.c
	for _, r := range refs {
		info, err := c.info(r)
		if err != nil {
			return fail("", nil, err)
		}
		g.infos = append(g.infos, info)
	}
	held, err := memlock.Lock()
	if err != nil {
		if err := g.conflict(err); err != nil {
			return err
		}
	}
	defer held.Unlock()
	u, err := c.startUdev(g.opts.Udev)
	if err != nil {
		return err
	}
	defer u.drop()
	// All notes are written before the first suspend: the run folder may be
	// on any device, for all we know.
	for _, info := range g.infos {
		n, err := c.host.run.begin("suspend", c.noteOf(info)...)
		if err != nil {
			g.endNotes()
			return err
		}
		g.notes = append(g.notes, n)
	}
	c.quiet.hold()
	err = g.hold(ctx, u, fn)
	c.quiet.release()
	g.endNotes()
	if werr := u.wait(ctx); err == nil {
		err = detail(werr, "the devices run")
	}
	return err
}

// hold is the part in which devices are suspended.
func (g *guard) hold(ctx context.Context, u *udevSync, fn func(context.Context) error) (err error) {
	suspended := 0
	defer func() {
		for i := suspended - 1; i >= 0; i-- {
			if g.infos[i].Suspended && err != nil {
				continue // it was before
			}
			_, rerr := g.c.resume(g.infos[i].Dev, SuspendOptions{}, g.opts.ReadOnly, u)
			if rerr != nil {
				err = errors.Join(err, detail(fail("resume", g.infos[i].Name, rerr), ""))
			}
		}
	}()
	for _, info := range g.infos {
		if err := g.c.suspend(info.Dev, g.opts.SuspendOptions); err != nil {
			return fail("suspend", info.Name, err)
		}
		suspended++
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if !g.state.CompareAndSwap(guardWaiting, guardRunning) {
		return ctx.Err()
	}
	return fn(context.WithoutCancel(ctx))
}

func (g *guard) endNotes() {
	for _, n := range g.notes {
		n.end()
	}
}

// conflict refuses when memory can't be locked and it matters.
func (g *guard) conflict(lockErr error) error {
	if !g.c.host.live {
		return nil // a double's devices carry nothing
	}
	var devs []memlock.Dev
	for _, i := range g.infos {
		devs = append(devs, memlock.Dev{Major: i.Dev.Major, Minor: i.Dev.Minor})
	}
	paths := g.opts.Paths
	if g.c.host.run.dir != "" {
		paths = append(paths, g.c.host.run.dir)
	}
	reasons, err := memlock.System{}.Conflict(devs, paths...)
	if err != nil {
		return &Error{Detail: "memory can't be locked (" + lockErr.Error() + "), and whether that matters can't be told", Err: errors.Join(ErrRefused, err)}
	}
	if len(reasons) > 0 {
		return &Error{Detail: "memory can't be locked (" + lockErr.Error() + "), and " + strings.Join(reasons, "; "), Err: ErrRefused}
	}
	return nil
}
