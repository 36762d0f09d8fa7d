// SPDX-License-Identifier: MIT

package udev

import (
	"errors"
	"strings"
	"syscall"
)

var (
	// ErrLimit: a kernel limit for SysV semaphores is used up (kernel.sem,
	// semaphore sets or the greatest value of one semaphore).
	ErrLimit = errors.New("SysV semaphore limit reached")
	// ErrMismatch: the semaphore exists but is not the one that was meant.
	ErrMismatch = errors.New("not the same semaphore")
	// ErrDestroyed: the cookie was already destroyed, by us or by somebody else.
	ErrDestroyed = errors.New("cookie was destroyed")
)

// Error is what every function here returns on failure. It matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and the sentinels of
// this package through errors.Is.
type Error struct {
	Op     string // the call: "semget", "wait", …
	Object string // the cookie: "cookie 0xd4da5d4", or a path
	Code   int    // errno, 0 when there is none
	Detail string // what to do about it, may be empty
	Err    error  // the cause
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("udev: ")
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteString(" ")
		b.WriteString(e.Object)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// fail wraps err; nil stays nil.
func fail(op, object string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: object, Err: err}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		e.Code = int(no)
	}
	return e
}
