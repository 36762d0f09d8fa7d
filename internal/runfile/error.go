// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"
	"syscall"
)

var (
	// ErrUnsafe: the folder or a file in it could have been planted by
	// somebody else: a symbolic link, another owner, writable by others.
	ErrUnsafe = errors.New("not safe to use")
	// ErrEnded: the entry was ended already.
	ErrEnded = errors.New("entry was ended")
	// ErrClosed: the file was closed already.
	ErrClosed = errors.New("run file is closed")
	// ErrOpenEntries: Close left the file because entries are still open.
	ErrOpenEntries = errors.New("entries are still open")
	// ErrInvalid: a kind or field name has characters that are not allowed.
	ErrInvalid = errors.New("invalid name")
)

// Error is what every function here returns on failure; it matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and the sentinels
// above through errors.Is.
type Error struct {
	Op     string // "open", "begin", "scan", …
	Object string // path
	Code   int    // errno, 0 when there is none
	Detail string // may be empty
	Err    error
}

func (e *Error) Error() string {
	s := "run file: " + e.Op
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

func fail(op, object string, err error, detail string) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: object, Err: err, Detail: detail}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		e.Code = int(no)
	}
	return e
}
