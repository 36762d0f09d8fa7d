// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/runfile"
	"github.com/linuxblock/linuxblock/internal/udev"
)

// UdevFlags tell udev's rules what to leave out for the events of a call.
// The flag DM_UDEV_PRIMARY_SOURCE_FLAG, without which the rules take an
// event for a spurious one, is always added.
type UdevFlags = udev.Flags

// The flags that a caller may set (libdm/libdevmapper.h, DM_UDEV_*).
const (
	UdevDisableDMRules        = udev.DisableDMRules
	UdevDisableSubsystemRules = udev.DisableSubsystemRules
	UdevDisableDiskRules      = udev.DisableDiskRules
	UdevDisableOtherRules     = udev.DisableOtherRules
	UdevLowPriority           = udev.LowPriority
	UdevSubsystem0            = udev.Subsystem0
)

// UdevOptions is the part of the options that concerns udev. Its zero value
// waits for udev's rules when udevd runs, bounded by the context alone.
type UdevOptions struct {
	Flags  UdevFlags
	NoSync bool // don't wait until udev's rules have run
}

// udevSync is the dealings of one call with udev: a cookie that counts its
// events, if anybody is there to count them down.
type udevSync struct {
	c      *Client
	flags  udev.Flags
	cookie *udev.Cookie
	note   *note
}

// startUdev makes a cookie when udevd runs and has the rules that end it:
// without the rules nobody would.
func (c *Client) startUdev(o UdevOptions) (*udevSync, error) {
	u := &udevSync{c: c, flags: o.Flags | udev.PrimarySource | udev.DisableLibraryFallback}
	h := &c.host
	if !h.live || h.noUdev || o.NoSync || !udev.Running(h.root) || !udev.HasNotifyRules(h.root) {
		return u, nil
	}
	cookie, err := udev.New(u.keep)
	switch {
	case errors.Is(err, udev.ErrLimit):
		c.log.Warn("no semaphore for udev, going on without waiting for it", "error", err)
		return u, nil
	case err != nil:
		return nil, &Error{Detail: "udev cookie", Err: opaque{err}}
	}
	u.cookie = cookie
	return u, nil
}

// keep notes in the run file how far the making of the cookie is.
func (u *udevSync) keep(stage udev.Stage, key uint32, semid int) error {
	switch stage {
	case udev.Intended:
		n, err := u.c.host.run.begin("cookie", runfile.F("key", fmt.Sprintf("%#x", key)))
		// A second key: the first was somebody else's, and nothing of ours has
		// it. That holds too when the second can't be noted.
		u.note.end()
		u.note = n
		return err
	case udev.Made:
		u.note.add(runfile.F("semid", strconv.Itoa(semid)))
	case udev.Dropped:
		u.note.end()
		u.note = nil
	}
	return nil
}

// ioctl makes a call that causes an event, and counts on the event if the
// kernel says that there will be one.
func (u *udevSync) ioctl(r request) (info Info, err error) {
	counted := u.cookie != nil && u.cookie.Add() == nil
	r.eventNr = udev.Value(u.flags, 0)
	if counted {
		r.eventNr = u.cookie.Value(u.flags)
	}
	generated := false
	err = u.c.explained(r, func(h *dmwire.Header, _ []byte) error {
		info, generated = infoOf(h), h.Flags&dmwire.UeventGenerated != 0
		return nil
	})
	if counted && !generated {
		u.cookie.Undo()
	}
	return info, err
}

// wait waits for the rules. The semaphore is gone when it returns.
func (u *udevSync) wait(ctx context.Context) error {
	if u.cookie == nil {
		return nil
	}
	_, err := u.cookie.Wait(ctx)
	u.note.end()
	u.cookie, u.note = nil, nil
	if err != nil && ctx.Err() != nil {
		return &Error{Detail: "udev was not waited for to the end", Err: ctx.Err()}
	}
	return err
}

// drop gives up waiting.
func (u *udevSync) drop() {
	if u.cookie != nil {
		u.cookie.Destroy()
		u.note.end()
		u.cookie, u.note = nil, nil
	}
}
