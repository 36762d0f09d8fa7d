// SPDX-License-Identifier: MIT

// Package fault is the error type that the internal packages share. Each calls
// it its own Error and says in Area what it is about; errors.Is and errors.As
// see the cause, and so the errors of package fs behind an errno.
package fault

import (
	"errors"
	"strings"
	"syscall"
)

// Error is a call that failed.
type Error struct {
	Area   string // what the package is about: "udev", "run file"
	Op     string // the call: "semget", "begin"
	Object string // path, cookie or name; may be empty
	Code   int    // errno, 0 when there is none
	Detail string // what to do about it; may be empty
	Err    error  // the cause
}

// Error prints "area: op object: cause: detail".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Area + ": " + e.Op)
	if e.Object != "" {
		b.WriteString(" " + e.Object)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Wrap makes an *Error of a cause, with its errno; nil stays nil.
func Wrap(area, op, object string, err error, detail string) error {
	if err == nil {
		return nil
	}
	e := &Error{Area: area, Op: op, Object: object, Err: err, Detail: detail}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		e.Code = int(errno)
	}
	return e
}
