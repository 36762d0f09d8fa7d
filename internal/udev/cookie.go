// SPDX-License-Identifier: MIT

package udev

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// Stage tells the note callback of New how far the making of a cookie is.
type Stage uint8

const (
	// Intended: semget with this key is the next thing to happen; semid is -1.
	// A kill from now on may leave a semaphore with this key. It comes again
	// with another key when the first is taken; nothing of ours has the first.
	Intended Stage = iota + 1
	// Made: the semaphore exists under this semid.
	Made
	// Dropped: nothing of ours with the key last intended exists any more,
	// because making it failed; semid is -1.
	Dropped
)

func (s Stage) String() string {
	switch s {
	case Intended:
		return "intended"
	case Made:
		return "made"
	case Dropped:
		return "dropped"
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// Outcome tells how a wait ended when it was not cancelled.
type Outcome uint8

const (
	// Completed: udev has finished every event.
	Completed Outcome = iota + 1
	// Destroyed: somebody removed the semaphore ("dmsetup udevcomplete_all"),
	// which means: do not wait any longer. Links may not have settled.
	Destroyed
)

func (o Outcome) String() string {
	switch o {
	case Completed:
		return "completed"
	case Destroyed:
		return "destroyed"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// tries bounds the search for a free base. With the kernel's default limit of
// 32000 sets at most half of the 65535 keys can be taken, so 64 misses in a row
// do not happen by chance.
const tries = 64

// slice is the longest time a thread stays in the kernel while it waits.
var slice = 50 * time.Millisecond

// Cookie is one semaphore. Its methods are safe for concurrent use, but Add
// and Undo must have returned before Wait is called.
type Cookie struct {
	base  uint16
	semid int

	mu   sync.Mutex
	gone bool // destroyed by us
}

// New makes a cookie with the value 1: the caller's own share, which Wait gives
// back. note may be nil; it is called right before and right after the
// semaphore is made so that the caller can write both into its run file. When
// note returns an error New undoes what it did and returns that error.
func New(note func(stage Stage, key uint32, semid int) error) (*Cookie, error) {
	if note == nil {
		note = func(Stage, uint32, int) error { return nil }
	}
	var key uint32
	for range tries {
		base := pick()
		key = Key(base)
		if err := note(Intended, key, -1); err != nil {
			return nil, err
		}
		semid, err := semget(key, ipcCreat|ipcExcl|0o600)
		if errors.Is(err, syscall.EEXIST) {
			continue // someone else's cookie, not to be touched
		}
		if err != nil {
			return nil, errors.Join(makeError(key, err), note(Dropped, key, -1))
		}
		err = note(Made, key, semid)
		if err == nil {
			if err = semsetval(semid, 1); err != nil {
				err = fail("setval", object(key), err)
			}
		}
		if err != nil {
			if removed := semrmid(semid); removed == nil || isGone(removed) {
				err = errors.Join(err, note(Dropped, key, -1))
			}
			return nil, err
		}
		return &Cookie{base: base, semid: semid}, nil
	}
	return nil, errors.Join(&Error{Area: area, Op: "semget", Err: ErrLimit,
		Detail: fmt.Sprintf("no free cookie in %d tries; see dmsetup udevcookies", tries)}, note(Dropped, key, -1))
}

// pick chooses a base; tests make it choose a taken one.
var pick = randomBase

func randomBase() uint16 {
	var b [2]byte
	for {
		rand.Read(b[:]) // never fails since Go 1.24
		if n := binary.NativeEndian.Uint16(b[:]); n != 0 {
			return n
		}
	}
}

func makeError(key uint32, err error) error {
	e := &Error{Area: area, Op: "semget", Object: object(key), Err: err}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		e.Code = int(no)
		if no == syscall.ENOSPC {
			e.Err = fmt.Errorf("%w: %w", ErrLimit, err)
			e.Detail = "raise the fourth value of sysctl kernel.sem or clear leaked cookies (dmsetup udevcookies)"
		}
	}
	return e
}

func object(key uint32) string { return fmt.Sprintf("cookie %#x", key) }

// Base is the cookie's random part, never 0.
func (c *Cookie) Base() uint16 { return c.base }

// Key is the semaphore's SysV key.
func (c *Cookie) Key() uint32 { return Key(c.base) }

// SemID is the kernel's id of the semaphore.
func (c *Cookie) SemID() int { return c.semid }

// Value is the number for event_nr of struct dm_ioctl, which the kernel hands
// to udev as DM_COOKIE.
func (c *Cookie) Value(flags Flags) uint32 { return Value(flags, c.base) }

// Add counts one more uevent to come. Call it before the ioctl.
func (c *Cookie) Add() error { return c.change("add", 1) }

// Undo takes one Add back: the ioctl failed or its answer had no
// DM_UEVENT_GENERATED_FLAG, so no udev rule will count it down.
// When the semaphore is gone there is nothing to take back and Undo succeeds.
func (c *Cookie) Undo() error {
	err := c.change("undo", -1)
	if errors.Is(err, ErrDestroyed) {
		return nil
	}
	return err
}

func (c *Cookie) change(op string, by int16) error {
	if c.destroyed() {
		return &Error{Area: area, Op: op, Object: object(c.Key()), Err: ErrDestroyed}
	}
	err := semop(c.semid, by, ipcNoWait)
	switch {
	case err == nil:
		return nil
	case isGone(err):
		return &Error{Area: area, Op: op, Object: object(c.Key()), Code: code(err), Err: fmt.Errorf("%w: %w", ErrDestroyed, err)}
	case by < 0 && errors.Is(err, syscall.EAGAIN):
		// Already zero: somebody counted down more often than there were events.
		return nil
	case errors.Is(err, syscall.ERANGE):
		return &Error{Area: area, Op: op, Object: object(c.Key()), Code: code(err), Err: fmt.Errorf("%w: %w", ErrLimit, err),
			Detail: "one cookie counts at most 32767 events"}
	}
	return fail(op, object(c.Key()), err)
}

func (c *Cookie) destroyed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// Wait gives the caller's own share back, waits until udev has counted the
// rest down, and destroys the semaphore in every case, also when ctx ends
// first (then the error is ctx's). It returns as soon as ctx ends and leaves
// no thread behind.
func (c *Cookie) Wait(ctx context.Context) (Outcome, error) {
	// A thread that sleeps in the kernel can't see ctx; without the semaphore
	// it wakes.
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		c.Destroy()
	})
	outcome, err := c.wait(ctx)
	if !stop() {
		<-done
	}
	if derr := c.Destroy(); err == nil && derr != nil {
		return 0, derr
	}
	return outcome, err
}

func (c *Cookie) wait(ctx context.Context) (Outcome, error) {
	// Gone may mean that ctx's end removed it, so ctx is asked first.
	ended := func() bool { return ctx.Err() != nil }
	cancelled := func() (Outcome, error) { return 0, fail("wait", object(c.Key()), context.Cause(ctx)) }
	err := c.change("wait", -1)
	switch {
	case err != nil && ended():
		return cancelled()
	case errors.Is(err, ErrDestroyed):
		return Destroyed, nil
	case err != nil:
		return 0, err
	}
	for {
		if ended() {
			return cancelled()
		}
		err := c.waitSlice(ctx)
		switch {
		case err != nil && ended():
			return cancelled()
		case err == nil:
			return Completed, nil
		case isGone(err):
			return Destroyed, nil
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
			// The slice ended, or one of the Go runtime's own signals arrived:
			// semtimedop is never restarted after a signal handler (signal(7)).
		default:
			return 0, fail("wait", object(c.Key()), err)
		}
	}
}

// slots bounds the threads that sit in the kernel for waits; whoever gets
// no slot polls instead. It only limits, it remembers nothing.
var slots = make(chan struct{}, 32)

// waitSlice waits for zero for at most one slice.
func (c *Cookie) waitSlice(ctx context.Context) error {
	left := slice
	if end, ok := ctx.Deadline(); ok {
		left = max(min(left, time.Until(end)), time.Millisecond)
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
		return semtimedop(c.semid, 0, 0, left)
	default:
	}
	t := time.NewTimer(min(left, 2*time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return semop(c.semid, 0, ipcNoWait)
}

// Destroy removes the semaphore. It is idempotent, and a semaphore that
// somebody else removed first is no error.
func (c *Cookie) Destroy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil
	}
	err := semrmid(c.semid)
	if err != nil && !isGone(err) {
		return fail("destroy", object(c.Key()), err)
	}
	c.gone = true
	return nil
}

// isGone tells whether an errno means that the semaphore does not exist any
// more. EIDRM wakes a sleeper, EINVAL answers a call with an old semid (the
// upper bits of a semid are a sequence number, so it is not soon reused;
// Linux ipc/util.c).
func isGone(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errIDRM)
}

func code(err error) int {
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return int(no)
	}
	return 0
}
