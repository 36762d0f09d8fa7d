// SPDX-License-Identifier: MIT

package memlock

import (
	"errors"
	"syscall"
)

// ErrLimit: the kernel refuses to lock this much memory. Without CAP_IPC_LOCK
// the whole address space counts against RLIMIT_MEMLOCK, also the gigabyte
// that the Go runtime reserves without using it.
var ErrLimit = errors.New("locked-memory limit")

// Error is what every function here returns on failure. It matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and ErrLimit through
// errors.Is.
type Error struct {
	Op     string // "lock", "unlock", "needs"
	Object string // path, may be empty
	Code   int    // errno, 0 when there is none
	Detail string
	Err    error
}

func (e *Error) Error() string {
	s := "memory lock: " + e.Op
	if e.Object != "" {
		s += " " + e.Object
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

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
