// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/linuxblock/linuxblock/internal/memlock"
	"github.com/linuxblock/linuxblock/internal/runfile"
)

// GuardOptions change WhileSuspended.
type GuardOptions struct {
	SuspendOptions
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
// When fn fails, or does not run because ctx was cancelled or a device could
// not be suspended, all inactive tables of the devices are dropped, those
// too that were loaded before the call: either all swaps happen or none.
//
// The devices may carry what this program itself needs: its binary, its
// log, its swap. So its memory is locked first, records for the logger and
// the trace are kept back, and nothing is written to files from the first
// suspend to the last resume. If memory can't be locked and a device carries
// something of that, nothing is suspended and the error matches ErrRefused.
//
// fn must keep to that too: calls of this client that go to the kernel
// alone (Load, Clear, Info, Table, Status, Message), with the context it
// gets; no files, no locks that another goroutine may hold while it writes
// to one, and no Close of this client, which would wait for fn. The context
// is not cancelled. When ctx is cancelled before fn runs, the devices are
// resumed and fn is not run; once it runs, it is waited for. A panic in fn
// goes on in the caller when the devices run again.
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
	if err := c.begin(ctx); err != nil {
		return fail(op, object, err)
	}
	g := &guard{c: c, opts: opts, done: make(chan struct{})}
	go func() {
		defer c.jobs.Done()
		defer close(g.done) // also when fn ends the goroutine
		g.err = errGoexit
		g.err = g.run(ctx, refs, fn)
	}()
	if !patiently(ctx, g.done) && g.state.CompareAndSwap(guardWaiting, guardGivenUp) {
		return pending(ctx, op, object)
	}
	<-g.done
	if g.panicked != nil {
		panic(g.panicked)
	}
	return fail(op, object, g.err)
}

const (
	guardWaiting = iota
	guardRunning
	guardGivenUp
)

// guardKey marks the context of fn with its client.
type guardKey struct{}

var errGoexit = errors.New("the function ended its goroutine")

type guard struct {
	c     *Client
	opts  GuardOptions
	state atomic.Int32

	infos []Info  // as they were before
	notes []*note // one for each info; nil where there is none to keep
	stuck []bool  // which could not be resumed

	swapped  bool          // all went well but the wait for udev
	done     chan struct{} // closed at the end, after which the rest may be read
	err      error
	panicked any
}

func (g *guard) run(ctx context.Context, refs []Ref, fn func(context.Context) error) error {
	c := g.c
	for _, r := range refs {
		info, err := c.info(r)
		if err != nil {
			return fail("info", r, err)
		}
		g.infos = append(g.infos, info)
	}
	if c.host.live { // a double's devices carry nothing
		held, err := memlock.Lock()
		if err != nil {
			if err := g.conflict(err); err != nil {
				return err
			}
		}
		defer held.Unlock()
	}
	u, err := c.startUdev(g.opts.Udev)
	if err != nil {
		return err
	}
	defer u.drop()
	// All notes are written before the first suspend: the run folder may be
	// on any device, for all we know.
	defer g.endNotes()
	if err := g.note(); err != nil {
		return err
	}
	if err := g.quietly(ctx, u, fn); err != nil {
		return err
	}
	g.swapped = true
	return detail(u.wait(ctx), "the devices run")
}

// quietly holds the log back for as long as a device stands still.
func (g *guard) quietly(ctx context.Context, u *udevSync, fn func(context.Context) error) error {
	g.c.quiet.hold()
	defer g.c.quiet.release()
	return g.hold(ctx, u, fn)
}

// note lists the devices for Recover, with what it needs to tell how far the
// swaps had come. A device that others suspended is theirs to resume.
func (g *guard) note() error {
	group := strconv.FormatUint(g.c.guards.Add(1), 10)
	for _, info := range g.infos {
		if info.Suspended {
			g.notes = append(g.notes, nil)
			continue
		}
		fields := append(g.c.noteOf(info), runfile.F("group", group))
		if info.InactiveTable {
			fields = append(fields, runfile.F("preloaded", "1"))
		}
		n, err := g.c.host.run.begin("suspend", fields...)
		if err != nil {
			return err
		}
		g.notes = append(g.notes, n)
	}
	return nil
}

// hold is the part in which devices are suspended.
func (g *guard) hold(ctx context.Context, u *udevSync, fn func(context.Context) error) (err error) {
	suspended, finished := 0, false
	g.stuck = make([]bool, len(g.infos))
	defer func() {
		failed := err != nil || !finished
		if !finished {
			g.panicked = recover() // nil when fn ended its goroutine
		}
		for i := suspended - 1; i >= 0; i-- {
			if g.infos[i].Suspended && failed {
				continue // it was before
			}
			if rerr := g.release(i, failed, u); rerr != nil {
				err = errors.Join(err, rerr)
			}
		}
	}()
	for _, info := range g.infos {
		if err := g.c.suspend(info.Dev, g.opts.SuspendOptions); err != nil {
			finished = true
			return fail("suspend", info.Name, err)
		}
		suspended++
		if err := ctx.Err(); err != nil {
			finished = true
			return err
		}
	}
	if !g.state.CompareAndSwap(guardWaiting, guardRunning) {
		finished = true
		return ctx.Err()
	}
	err = fn(context.WithValue(context.WithoutCancel(ctx), guardKey{}, g.c))
	finished = true
	return err
}

// release resumes one device, without the table that waits when the guard
// failed.
func (g *guard) release(i int, failed bool, u *udevSync) error {
	info := g.infos[i]
	var cleared error
	if failed {
		// Should this fail, the device still runs, if on the new table.
		cleared = fail("clear", info.Name, g.c.clear(info.Dev))
	}
	now, err := g.c.resume(info.Dev, SuspendOptions{}, false, u)
	g.stuck[i] = err != nil && (now.Suspended || now.Dev.IsZero())
	return errors.Join(cleared, fail("resume", info.Name, err))
}

// endNotes ends the notes of the devices that run again; the others stay
// listed for Recover.
func (g *guard) endNotes() {
	for i, n := range g.notes {
		if g.stuck != nil && g.stuck[i] {
			continue
		}
		n.end()
		g.c.host.held.forget(g.infos[i].Dev)
	}
}

// conflict refuses when memory can't be locked and it matters.
func (g *guard) conflict(lockErr error) error {
	var devs []memlock.Dev
	for _, i := range g.infos {
		devs = append(devs, memlock.Dev{Major: i.Dev.Major, Minor: i.Dev.Minor})
	}
	paths := slices.Clone(g.opts.Paths)
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
